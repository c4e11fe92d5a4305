"""The checker finds what it is for, in histories made up."""

import pytest
from checker import OK, REFUSED, UNKNOWN, Write, judge


def test_all_is_well() -> None:
    writes = [
        Write("a", OK, True),
        Write("b", OK),
        Write("c", REFUSED),
        Write("d", UNKNOWN),
        Write("e", UNKNOWN),
    ]
    verdict = judge(writes, ["a", "b", "d"])
    assert verdict.good
    assert (verdict.written, verdict.unknown) == (5, ["d", "e"])


@pytest.mark.parametrize(
    "writes, there, name, found",
    [
        ([Write("a", OK)], [], "lost", ["a"]),
        ([Write("a", OK), Write("b", OK)], ["b", "a", "b"], "doubled", ["b"]),
        ([Write("a", UNKNOWN)], ["a", "a"], "doubled", ["a"]),
        ([Write("a", REFUSED)], ["a"], "unexpected", ["a"]),
        ([], ["a"], "unexpected", ["a"]),
        ([Write("a", OK, False)], ["a"], "vanished", ["a"]),
    ],
)
def test_what_is_wrong(writes: list[Write], there: list[str], name: str, found: list[str]) -> None:
    verdict = judge(writes, there)
    assert not verdict.good
    assert getattr(verdict, name) == found
