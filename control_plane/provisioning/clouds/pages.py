"""Pages of a cloud's list, read up to a bound of items, pages and time. Not how a page is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, TypeVar

from control_plane.provisioning.clouds.faults import too_long

T = TypeVar("T")

ITEMS_MAX: Final = 10_000
PAGES_MAX: Final = 400
WHOLE_S_MAX: Final = 120.0


def read_all(cloud: str, pages: Iterable[Iterable[T]]) -> tuple[T, ...]:
    """Every item of every page. Raises Unavailable(`cloud_list_too_long`) beyond a bound."""
    found: list[T] = []
    end_s = time.monotonic() + WHOLE_S_MAX
    for number, page in enumerate(pages, 1):
        found.extend(page)
        if len(found) > ITEMS_MAX:
            raise too_long(cloud, f"a list has more than {ITEMS_MAX} entries")
        if number >= PAGES_MAX:
            raise too_long(cloud, f"a list has {PAGES_MAX} pages or more")
        if time.monotonic() >= end_s:
            raise too_long(cloud, f"a list was not read in {WHOLE_S_MAX:g} s")
    return tuple(found)
