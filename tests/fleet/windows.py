"""What was asked around a change, and apart from any, and how much of it failed: a pure function."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from people import Request

# Seconds in which a site may be at a change: within those after it all is to be well again; and who asked in
# those before it may wait for their answer yet.
AFTER, BEFORE = 10.0, 1.0


@dataclass
class Share:
    """:ivar asked: how many requests, and how many of them failed."""

    asked: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.failed} of {self.asked:,}"

    @property
    def percent(self) -> float:
        return round(100 * self.failed / self.asked, 1) if self.asked else 0.0


def around(requests: Iterable[Request], changes: Collection[float]) -> tuple[Share, Share]:
    """:param changes: their moments, by the requests' clock.
    :return: of what was asked at a change, and of all else.
    """
    near, other = Share(), Share()
    for request in requests:
        at_one = any(-BEFORE <= request.began - change <= AFTER for change in changes)
        share = near if at_one else other
        share.asked += 1
        share.failed += request.failed
    return near, other
