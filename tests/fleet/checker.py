"""What became of posts, by what their writers were told: a pure function.

What was acknowledged must be there, once; what was refused must not; of what nobody knows, both is right,
but not twice. And who writes sees it in their next page.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# What a writer was told: it is there; it is not; nothing, or that nobody knows.
OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"


@dataclass(frozen=True)
class Write:
    """A post that was sent.

    :ivar body: like no other's.
    :ivar told: see above.
    :ivar seen: whether its writer's next page showed it; None: there was no such page.
    """

    body: str
    told: str
    seen: "bool | None" = None


@dataclass
class Verdict:
    """:ivar errors: requests that ended with an error, which may be none of the above."""

    written: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unexpected or self.vanished)

    def row(self) -> dict[str, object]:
        """For a table."""
        return {
            "posts": self.written,
            "errors": len(self.unknown),
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "not asked for": len(self.unexpected),
            "not shown to their writer": len(self.vanished),
        }


def judge(writes: Iterable[Write], there: Iterable[str]) -> Verdict:
    """:param there: the posts that are in the database at the end."""
    verdict, count, known = Verdict(), Counter(there), set()
    for write in writes:
        verdict.written += 1
        known.add(write.body)
        if write.told == OK and not count[write.body]:
            verdict.lost.append(write.body)
        if write.told == OK and write.seen is False:
            verdict.vanished.append(write.body)
        if write.told == REFUSED and count[write.body]:
            verdict.unexpected.append(write.body)
        if write.told == UNKNOWN:
            verdict.unknown.append(write.body)
    verdict.doubled = sorted(body for body, times in count.items() if times > 1)
    verdict.unexpected += sorted(set(count) - known)
    return verdict
