"""Tenants at the start of a lifecycle: what an earlier case left there, else newly made. Not the cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from control_plane.domain.isolation import Isolation
from tests.support.workers import running_worker
from tests.unwind.cases import Case
from tests.unwind.lifecycles import DESCRIBED
from tests.unwind.site import Site
from tests.unwind.standing import data_of

# Where a case leaves its tenant another may start, unless that tenant went through it before.
_NEXT = {
    ("onboard", False): "change_records",
    ("change_records", False): "suspend",
    ("change_records", True): "suspend",
    ("suspend", False): "resume",
    ("suspend", True): "offboard",
    ("resume", False): "drift_check",
    ("drift_check", False): "offboard",
    ("drift_check", True): "offboard",
    ("offboard", False): "restore",
}
# One caller may have five questions before humans at a time.
_AT_ONCE_MAX = 4
_RECORDS = 2

Place: TypeAlias = tuple[str, Isolation]
RUNNING: Final[Place] = ("suspend", "pooled")
"""Where a tenant that is open and pooled waits."""


@dataclass(frozen=True)
class Prepared:
    """A tenant that nobody else uses, and its data as it was."""

    tenant: str
    data: tuple[Any, ...]


class Stock:
    """Hands out each tenant to one case at a time."""

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
        self._wanted[place] -= 1
        return self._waiting[place].pop()

    def name(self, stem: str) -> str:
        """A name that no tenant of the session's has."""
        return self._name((stem, "pooled"))

    def give(self, case: Case, prepared: Prepared) -> None:
        """Take back the tenant of a case that went well; a healthy worker runs."""
        kind = _NEXT.get((case.kind, case.undoes))
        if kind is None:
            return
        if case.kind == "onboard":
            prepared = Prepared(prepared.tenant, self._with_records(prepared.tenant, case.model))
        if case.kind == "change_records":
            prepared = Prepared(prepared.tenant, data_of(self._site, prepared.tenant, case.model))
        self._keep((kind, case.model), prepared)

    def _keep(self, place: Place, prepared: Prepared) -> None:
        if place[0] == "offboard":
            self._site.unprotect(prepared.tenant)
        self._waiting[place].append(prepared)

    def _with_records(self, tenant: str, model: Isolation) -> tuple[Any, ...]:
        for _ in range(_RECORDS):
            self._site.add_record(tenant)
        return data_of(self._site, tenant, model)

    def _fill(self, place: Place) -> None:
        """Make what the session will want of this place, some at a time."""
        count = max(1, min(self._wanted[place], _AT_ONCE_MAX))
        with running_worker(self._site.house, *self._site.worker_options()):
            self._prepare([(place, self._name(place)) for _ in range(count)])

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
                    data[tenant] = self._with_records(tenant, models[tenant])
        for place, tenant in fresh:
            self._keep(place, Prepared(tenant, data[tenant]))

    def _name(self, place: Place) -> str:
        # Of one width: no name is part of another.
        self._made += 1
        return f"{place[0].replace('_', '-')}-{place[1]}-{self._made:04d}"


def _way(kind: str) -> list[str]:
    """The lifecycles that lead to where this one starts, the first one first."""
    way: list[str] = []
    before = DESCRIBED[kind].before
    while before is not None:
        way.insert(0, before)
        before = DESCRIBED[before].before
    return way
