"""What of a test's cases the default run has, and what is left to `-m long` and `-m sweep`. Holds no case."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import pytest


def sliced(cases: Iterable[Any], *, every: int = 12) -> list[Any]:
    """Each case once; of `every` so many one is always run, the first one among them."""
    return [
        case if not number % every else pytest.param(case, marks=pytest.mark.sweep)
        for number, case in enumerate(cases)
    ]


def slice_items(items: Iterable[pytest.Item]) -> None:
    """Of each test in a module that is marked `slice_of(n)`, leave one in n to the default run.

    Which one differs from test to test, so that over the module every parameter has its turn.
    """
    counts: dict[str, int] = {}
    for item in items:
        marker = item.get_closest_marker("slice_of")
        if marker is None:
            continue
        name = item.nodeid.partition("[")[0]
        number = counts[name] = counts.get(name, -1) + 1
        if (number + zlib.crc32(name.encode())) % int(marker.args[0]) and "[" in item.nodeid:
            item.add_marker(pytest.mark.sweep)


def leave_one(items: Iterable[pytest.Item]) -> None:
    """Of each test that is marked `long_but_one`, leave the last case to the default run; the others are long."""
    last: dict[str, pytest.Item] = {}
    for item in items:
        if item.get_closest_marker("long_but_one") is None or item.get_closest_marker("sweep"):
            continue
        name = item.nodeid.partition("[")[0]
        if (before := last.get(name)) is not None:
            before.add_marker(pytest.mark.long)
        last[name] = item
