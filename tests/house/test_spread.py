"""How tests are spread over processes: what is named stands, and a part goes to one of them whole. Runs none of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.support.spread import HEAVY, LONGEST, ONE_BY_ONE, TOGETHER, in_order, part_of


def ordered(*nodeids: str) -> list[str]:
    # Of a test only its name counts.
    items = [cast("pytest.Item", SimpleNamespace(nodeid=one)) for one in nodeids]
    return [item.nodeid for item in in_order(items)]


def test_every_part_that_is_named_stands_and_once(root: Path) -> None:
    named = {*LONGEST, *TOGETHER, *ONE_BY_ONE} - {HEAVY}
    assert [part for part in named if not (root / part).exists()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_a_scene_is_one_part_and_everything_else_goes_by_file() -> None:
    assert part_of("tests/roles/test_table.py::test_a[x/y::z]") == "tests/roles"
    assert {part_of(f"{file}::test_a") for file in ONE_BY_ONE} == {HEAVY}
    assert part_of("tests/stdio/test_wire.py::test_a") == "tests/stdio/test_wire.py"


def test_the_longest_come_first_and_then_those_with_most_tests() -> None:
    few, many = "tests/a/test_few.py::a", ("tests/b/test_many.py::b", "tests/b/test_many.py::a")
    long, role = f"{LONGEST[1]}::z", "tests/roles/test_lists.py::a"
    told = ordered(few, many[0], role, many[1], long)
    assert told == [long, role, *many, few]
