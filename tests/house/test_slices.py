"""Which cases of a test the default run has: a slice, or the last one. Not which tests are long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.support.slices import leave_one, slice_items


@dataclass
class Case:
    """As much of a collected test as the slices look at."""

    nodeid: str
    marks: list[pytest.Mark] = field(default_factory=list[pytest.Mark])

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next((one for one in self.marks if one.name == name), None)

    def add_marker(self, marker: pytest.MarkDecorator) -> None:
        self.marks.append(marker.mark)


def cases(test: str, count: int, *marks: pytest.MarkDecorator) -> list[Case]:
    return [Case(f"t.py::{test}[{n}]", [one.mark for one in marks]) for n in range(count)]


def marked(items: list[Case], name: str) -> list[str]:
    return [one.nodeid for one in items if one.get_closest_marker(name)]


def test_of_a_tests_cases_the_last_is_left_to_the_default_run() -> None:
    first, second = (cases(name, 3, pytest.mark.long_but_one) for name in ("a", "b"))
    other = cases("c", 2)
    leave_one(cast("Any", [*first, *other, *second]))
    assert marked([*first, *second, *other], "long") == [
        "t.py::a[0]",
        "t.py::a[1]",
        "t.py::b[0]",
        "t.py::b[1]",
    ]


def test_a_case_that_is_swept_is_not_the_one_that_is_left() -> None:
    items = cases("a", 2, pytest.mark.long_but_one)
    items += cases("a", 1, pytest.mark.long_but_one, pytest.mark.sweep)
    leave_one(cast("Any", items))
    assert marked(items, "long") == ["t.py::a[0]"]


def test_one_case_in_so_many_always_runs() -> None:
    items = cases("a", 9, pytest.mark.slice_of(3))
    slice_items(cast("Any", items))
    assert len(marked(items, "sweep")) == 6
