"""Tenants at the start of a lifecycle, several made by one healthy worker; each is taken once. Not the cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from control_plane.domain.isolation import Isolation
from tests.support.workers import running_worker
from tests.unwind.lifecycles import DESCRIBED
from tests.unwind.site import Site
from tests.unwind.standing import data_of

BATCH_MAX = 12
# One caller may have five questions before humans at a time.
_AT_ONCE_MAX = 4
_RECORDS = 2

Place: TypeAlias = tuple[str, Isolation]


@dataclass(frozen=True)
class Prepared:
    """A tenant that nobody else uses, and its data as it was."""

    tenant: str
    data: tuple[Any, ...]


class Stock:
    """Makes what a session will want: all at once where that is little, else one kind at a time."""

    def __init__(self, site: Site, wanted: Mapping[Place, int]) -> None:
        self._site = site
        self._wanted = Counter(wanted)
        self._waiting: defaultdict[Place, list[Prepared]] = defaultdict(list)
        self._made = 0

    def take(self, kind: str, model: Isolation) -> Prepared:
        """A tenant from which a lifecycle of that kind starts."""
        place = (kind, model)
        if DESCRIBED[kind].before is None:
            return Prepared(self._name(place), ())
        if not self._waiting[place]:
            self._fill(place)
        return self._waiting[place].pop()

    def _fill(self, place: Place) -> None:
        wanted = {one: n for one, n in self._wanted.items() if DESCRIBED[one[0]].before and n > 0}
        if sum(wanted.values()) > BATCH_MAX or place not in wanted:
            wanted = {place: min(wanted.get(place, 1), BATCH_MAX)}
        self._wanted.subtract(wanted)
        fresh = [(one, self._name(one)) for one, count in wanted.items() for _ in range(count)]
        with running_worker(self._site.house, *self._site.worker_options()):
            for start in range(0, len(fresh), _AT_ONCE_MAX):
                self._prepare(fresh[start : start + _AT_ONCE_MAX])

    def _prepare(self, fresh: Sequence[tuple[Place, str]]) -> None:
        ways = {tenant: _way(kind) for (kind, _), tenant in fresh}
        models: dict[str, Isolation] = {tenant: model for (_, model), tenant in fresh}
        data: dict[str, tuple[Any, ...]] = {}
        for turn in range(max(len(way) for way in ways.values())):
            due = {tenant: way[turn] for tenant, way in ways.items() if turn < len(way)}
            for tenant, kind in due.items():
                if kind == "offboard":
                    self._site.unprotect(tenant)
            self._site.carry_out([DESCRIBED[due[one]].asked(one, models[one]) for one in due])
            if turn == 0:
                for tenant in due:
                    for _ in range(_RECORDS):
                        self._site.add_record(tenant)
                    data[tenant] = data_of(self._site, tenant, models[tenant])
        for (kind, model), tenant in fresh:
            if kind == "offboard":
                self._site.unprotect(tenant)
            self._waiting[kind, model].append(Prepared(tenant, data[tenant]))

    def _name(self, place: Place) -> str:
        # Of one width: no name is part of another.
        self._made += 1
        return f"{place[0]}-{place[1]}-{self._made:04d}"


def _way(kind: str) -> list[str]:
    """The lifecycles that lead to where this one starts, the first one first."""
    way: list[str] = []
    before = DESCRIBED[kind].before
    while before is not None:
        way.insert(0, before)
        before = DESCRIBED[before].before
    return way
