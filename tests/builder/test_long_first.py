"""The order in which a suite's tests are given to its processes."""

import pytest

from tests import conftest


class Item:
    """A test, as far as its order is concerned."""

    def __init__(self, name, minutes=None):
        self.name, self.minutes = name, minutes

    def get_closest_marker(self, name):
        assert name == "minutes"
        return self.minutes and pytest.mark.minutes(self.minutes).mark

    def __repr__(self):
        return self.name


SHORT = [Item(name) for name in "abcdefg"]
LONG = [Item("one", 1), Item("three", 3), Item("two", 2)]


def ordered(items, workers):
    return " ".join(map(str, conftest.long_first(items, workers)))


def test_each_process_begins_with_its_long_tests():
    # pytest-xdist: 10 tests are 3, 3 and 4
    assert ordered([*SHORT, *LONG], 3) == "three a b two c d one e f g"
    assert ordered([*SHORT, *LONG], 2) == "three one a b c two d e f g"
    assert ordered([*SHORT, *LONG], 1) == "three two one a b c d e f g"


def test_what_is_not_long_stays_where_it_is():
    assert ordered(SHORT, 3) == "a b c d e f g"


def test_no_test_is_lost_or_run_twice():
    for short in range(8):
        for long in range(4):
            for workers in range(1, 6):
                items = [*SHORT[:short], *LONG[:long]]
                assert sorted(ordered(items, workers).split()) == sorted(map(str, items))
