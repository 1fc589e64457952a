"""Tenants that errands start from, each with the ledger of its records: what an earlier errand left there, else newly made. Not the cases."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from control_plane.domain.home import MAIN, Home
from control_plane.domain.isolation import Isolation
from control_plane.handlers.database_rows import standing
from control_plane.handlers.move_rows import move_that_left
from control_plane.store import tables
from tests.support.house import fresh_key
from tests.support.workers import RunningWorker, running_worker
from tests.unwind.errands import LEGS, Errand, Stop
from tests.unwind.estate import served
from tests.unwind.ledger import Ledger, Told, write_by_call
from tests.unwind.lifecycles import DESCRIBED, Asked

if TYPE_CHECKING:
    from tests.unwind.site import Site

_RECORDS: Final = 3
# One that has more goes no further: there are only so many places.
_STANDS_MAX: Final = 6
# Something must have been done with the tenant before.
_LED: Final = ("database_restore", "database_clone_drop", "finalise_move")


@dataclass(frozen=True)
class Backup:
    """A backup, and the rows that are in it."""

    id: str
    told: Told
    ledger: Ledger


@dataclass
class Traveller:
    """A tenant that nobody else uses, and what its records are."""

    site: Site
    tenant: str
    ledger: Ledger = field(default_factory=Ledger)
    backup: Backup | None = None
    kept: dict[Home, Ledger] = field(default_factory=dict[Home, Ledger])
    """What its records were, by the place that a restore has left."""

    @property
    def home(self) -> Home:
        """Where it stands."""
        found = self.site.tenant(self.tenant)
        assert found is not None
        return found.home

    @property
    def purposes(self) -> list[tuple[str, Home]]:
        """What each of its databases is for, and where it stands."""
        found = self.site.tenant(self.tenant)
        assert found is not None
        with self.site.store.read() as connection:
            return [(one.purpose, one.home) for one in standing(connection, found)]

    @property
    def left(self) -> list[Home]:
        """The places that moves have left, and that are kept."""
        found = self.site.tenant(self.tenant)
        assert found is not None
        with self.site.store.read() as connection:
            every = standing(connection, found)
            return [one.home for one in every if move_that_left(connection, one.id) is not None]

    def database_at(self, home: Home) -> str:
        """The id of the database that stands there."""
        found = self.site.tenant(self.tenant)
        assert found is not None
        with self.site.store.read() as connection:
            (mine,) = (one.id for one in standing(connection, found) if one.home == home)
        return mine

    def way_back(self, start: Stop) -> Home:
        """The place of that model that a restore has left last."""
        return next(one for one in reversed(self.kept) if one[:2] == start)

    def stands_again(self, left: Home, goes_back: bool) -> None:
        """Its records are those of its backup, or of where it goes back to, and it has left a place."""
        was = self.ledger
        if goes_back:
            self.ledger = self.kept.pop(self.way_back(Stop(*left[:2])))
        else:
            assert self.backup is not None
            self.ledger = self.backup.ledger.copy()
        self.kept[left] = was


class Travellers:
    """Hands out each tenant to one errand at a time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._waiting: list[Traveller] = []
        self._made = 0

    def take(self, errand: Errand) -> Traveller:
        """A tenant from which the errand can start."""
        found = next((one for one in self._waiting if _fits(errand, one)), None)
        if found is not None:
            self._waiting.remove(found)
            return found
        with self._worker():
            if errand.kind in _LED:
                return self._led_to(errand)
            return self._new(errand.start)

    def give(self, traveller: Traveller) -> None:
        """Take back the tenant of an errand that went well."""
        self._waiting.append(traveller)

    def _worker(self) -> AbstractContextManager[RunningWorker]:
        return running_worker(self._site.house, *self._site.worker_options())

    def _led_to(self, errand: Errand) -> Traveller:
        start = errand.start
        found = next((one for one in self._waiting if _is_plain(one, start)), None)
        if found is None:
            found = self._new(start)
        else:
            self._waiting.remove(found)
        if errand.kind == "finalise_move":
            leg = next(one for one in LEGS if one.startswith(f"{start.model}-"))
            self._do(found, "tenant_move", isolation=leg.partition("-")[2])
        elif errand.kind == "database_clone_drop":
            self._do(found, "database_clone")
        else:
            self._back_up(found)
            if errand.goes_back:
                self._bring_back(found)
        return found

    def _back_up(self, traveller: Traveller) -> None:
        site, tenant = self._site, traveller.tenant
        self._do(traveller, "database_backup")
        table = tables.backup.c
        mine = select(table.id).where(table.tenant == tenant).order_by(table.made_at.desc())
        with site.store.read() as connection:
            known = connection.execute(mine).scalars().first()
        assert known is not None
        traveller.backup = Backup(known, served(site, tenant), traveller.ledger.copy())
        write_by_call(site, tenant, traveller.ledger)

    def _bring_back(self, traveller: Traveller) -> None:
        left, backup = traveller.home, traveller.backup
        assert backup is not None
        self._do(traveller, "database_restore", backup=backup.id)
        traveller.stands_again(left, goes_back=False)
        write_by_call(self._site, traveller.tenant, traveller.ledger)

    def _do(self, traveller: Traveller, tool: str, **given: str) -> None:
        asked = {"tenant": traveller.tenant, "idempotency_key": fresh_key(), **given}
        self._site.carry_out([Asked(tool, asked)])

    def _new(self, start: Stop) -> Traveller:
        self._made += 1
        made = Traveller(self._site, f"traveller-{self._made:04d}")
        isolation: Isolation = start.model  # type: ignore[assignment]
        self._site.carry_out([DESCRIBED["onboard"].asked(made.tenant, isolation)])
        for _ in range(_RECORDS):
            write_by_call(self._site, made.tenant, made.ledger)
        if start.server != MAIN:
            self._do(made, "tenant_move", isolation=start.model, server=start.server)
        return made


def _has_room(traveller: Traveller, start: Stop) -> bool:
    return traveller.home[:2] == start and len(traveller.purposes) < _STANDS_MAX


def _is_plain(traveller: Traveller, start: Stop) -> bool:
    return _has_room(traveller, start) and "clone" not in dict(traveller.purposes)


def _fits(errand: Errand, traveller: Traveller) -> bool:
    clones = [home for purpose, home in traveller.purposes if purpose == "clone"]
    if errand.kind == "finalise_move":
        # What a copy still stands beside is not finalised.
        return not clones and any(home[:2] == errand.start for home in traveller.left)
    if not _has_room(traveller, errand.start):
        return False
    if errand.kind == "database_clone_drop":
        return len(clones) == 1
    if errand.kind == "database_clone":
        return not clones
    if errand.goes_back:
        return any(home[:2] == errand.start for home in traveller.kept)
    return errand.kind != "database_restore" or traveller.backup is not None
