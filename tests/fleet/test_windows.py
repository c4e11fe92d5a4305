"""A request belongs to a change by when it was asked, whenever it is answered."""

import pytest
from people import Request
from windows import Share, around


def asked(began: float, status: int = 200, took: float = 0.0) -> Request:
    return Request(began + took, took, status)


@pytest.mark.parametrize(
    "began, near", [(98.9, False), (99.0, True), (100.0, True), (110.0, True), (110.1, False), (300.0, True)]
)
def test_what_was_asked_at_a_change(began: float, near: bool) -> None:
    one, none = Share(asked=1), Share()
    assert around([asked(began)], [100.0, 300.0]) == ((one, none) if near else (none, one))


def test_who_waits_long_asked_when_they_asked() -> None:
    requests = [asked(105, 0, took=15), asked(105), asked(90, 503, took=5), asked(90, 404), asked(90, 302)]
    assert around(requests, [100.0]) == (Share(2, 1), Share(3, 2))


def test_the_share_in_percent() -> None:
    assert str(Share(1000, 1)) == "1 of 1,000"
    assert [Share(0, 0).percent, Share(3, 1).percent, Share(1000, 1).percent] == [0.0, 33.3, 0.1]
