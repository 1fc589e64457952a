"""The steps of a campaign: begin it, then carry it from tenant to tenant until it rests. Not its plan.

What a tenant has is told by its own database, and every part of this is done again after a kill:
who stands already is found so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from control_plane.domain.campaign import (
    Campaign,
    FleetReceipt,
    in_order,
    place_of,
    stage_sizes,
)
from control_plane.domain.canonical import Json, digest, instant
from control_plane.domain.home import Home
from control_plane.engine.runbook import Fenced
from control_plane.errors import Failed, NotFound, PaybillError, Refused
from control_plane.facts.load import run_row
from control_plane.fleet import campaigns
from control_plane.fleet.campaigns import Member
from control_plane.fleet.migration_file import Dialect
from control_plane.fleet_commands import StartFleetMigration
from control_plane.handlers.catalog_in_force import AT_WORK, WorkerLeaves
from control_plane.handlers.fleet_bring_up import settle_receipts
from control_plane.handlers.fleet_plan import AT_ONCE, members, planned
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.tenant_moves import inside_of
from control_plane.store import tables

if TYPE_CHECKING:
    from control_plane.fleet.bringing import Bringing
    from control_plane.fleet.checker import Ready

CHUNK: Final = 32
"""How many tenants are in hand at most when somebody asks for a pause."""
_ROUNDS_MAX: Final = 10_000
_PAUSE_S: Final = 0.2
# Of one database, where its writers or its server are in the way.
_BUSY_S_MAX: Final = 30.0
# Of tenants that other runs have in hand.
_TRANSIT_S_MAX: Final = 900.0
# `fenced`: another run has taken the tenant a step on since its epoch was read.
_PASSING: Final = frozenset({"fenced", "database_busy", "database_unavailable", "commit_unknown"})
_STAGES: Final = ("canary", "wave", "rest")


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Write the campaign, or take up the one that rests."""
    inside, command = inside_of(connection), work.command
    assert isinstance(command, StartFleetMigration)
    plan = planned(inside, work.ports, command.through)
    now = instant(work.ports.clock.now())
    found = plan.resumed
    if found is None:
        found = Campaign(
            id=digest({"campaign": work.run.id})[:32],
            first=plan.first,
            last=plan.last,
            state="pending",
            digest=plan.digest,
            catalog=work.ports.catalog.digest,
            run_id=work.run.id,
            failures_max=command.failures_max,
            created_at=now,
            changed_at=now,
        )
        campaigns.put_campaign(inside, found)
        _move(work, inside, found, "begin")
    else:
        campaigns.retry_failed(inside, found.id)
        # Whoever carried it before has left it in the middle of a stage.
        if found.state in _STAGES:
            found = _move(work, inside, found, "pause")
        said = {"run_id": work.run.id, "failures_max": command.failures_max, "asked": ""}
        _move(work, inside, found, "resume", reason="", **said)
    return {"campaign": found.id, "databases": len(plan.members)}


def call_off(work: Work, connection: Connection | None) -> None:
    """Leave it, where nothing was carried out: one that was taken up rests again."""
    inside = inside_of(connection)
    found = campaigns.campaign_of_run(inside, work.run.id)
    if found is None or found.state not in _STAGES:
        return
    event = "cancel" if not campaigns.counts(inside, found.id) else "pause"
    _move(work, inside, found, event)


def carry(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Carry it on until it is done or rests. Failed (`fleet_halted`) where too many have failed."""
    carrier = Carrier(work)
    for _ in range(_ROUNDS_MAX):
        found = carrier.campaign()
        if found.state not in _STAGES:
            break
        carrier.stage(found)
    found = carrier.campaign()
    if found.state == "halted":
        raise Failed(f"The campaign has halted: {found.reason}.", code="fleet_halted")
    with work.ports.store.read() as inside:
        counted = campaigns.counts(inside, found.id)
    return {"campaign": found.id, "state": found.state, "receipts": dict(counted)}


def probe_carried(work: Work) -> Probe:
    """Whether the campaign of this run has come to rest."""
    with work.ports.store.read() as inside:
        found = campaigns.campaign_of_run(inside, work.run.id)
    if found is None or found.state in _STAGES:
        return "absent"
    return "absent" if found.state == "halted" else "present"


class Carrier:
    """One worker's hand on the campaign that its run has begun."""

    def __init__(self, work: Work) -> None:
        from control_plane.fleet.checker import texts

        self._work = work
        self._ports = work.ports
        catalog = work.ports.catalog
        self._collections = tuple(catalog.collections.values())
        self._texts = texts(catalog.migrations, set(catalog.collections))
        # Who turned out to have no database: who comes later, comes with every migration.
        self._absent: set[Member] = set()
        self._ends_at_s = time.monotonic() + _TRANSIT_S_MAX

    def campaign(self) -> Campaign:
        """The campaign as it stands, with what is asked of it."""
        with self._ports.store.read() as inside:
            found = campaigns.campaign_of_run(inside, self._work.run.id)
        if found is None:
            # Another run has taken it up.
            raise Fenced
        return found

    def stage(self, found: Campaign) -> None:
        """Bring tenants of the campaign's stage there, then lead it to the next, or to rest."""
        due, left = self._due(found)
        for start in range(0, len(due), CHUNK):
            self._carry_out(found, due[start : start + CHUNK])
            if self._heed(found):
                return
        if left and not due:
            self._wait(found)
        elif not due:
            self._proceed(found)

    # who ------------------------------------------------------------------------------------

    def _due(self, found: Campaign) -> tuple[list[tuple[str, Home]], int]:
        """Whose turn it is, and how many of the stage are still without the last migration.

        Whom another run has in hand is taken later; whom it has failed for, not again.
        """
        with self._ports.store.read() as inside:
            known = campaigns.standing_members(inside, found.last)
            everybody = in_order(found.digest, members(inside))
            held, moving = _held(inside), _held(inside, "move")
            failed = campaigns.failed_members(inside, found.id)
        present = [one for one in everybody if _key(one) not in self._absent]
        missing = [one for one in present if _key(one) not in known | failed]
        canary, wave, _ = stage_sizes(len(present))
        sizes = {"canary": canary, "wave": canary + wave, "rest": len(present)}
        left = max(0, sizes[found.state] - (len(present) - len(missing)))
        # Tables that somebody moves out of or into stay as they are meanwhile, whoever shares them.
        still = {_shared(home) for tenant, home in everybody if tenant in moving} - {None}
        free = [one for one in missing if one[0] not in held and _shared(one[1]) not in still]
        return free[:left], left

    # one chunk ------------------------------------------------------------------------------

    def _carry_out(self, found: Campaign, due: Sequence[tuple[str, Home]]) -> None:
        from control_plane.fleet.bringing import Bringing

        wanted: dict[Dialect, Sequence[Ready]] = {
            one: every[: found.last] for one, every in self._texts.items()
        }
        now = self._ports.clock.now()
        bringing = Bringing(found.id, wanted, self._collections, now, found.first)
        with self._ports.store.write() as whole:
            self._require_ours(whole)
            intended = [bringing.intended(tenant, home)[-1] for tenant, home in due]
            campaigns.intend(whole, intended)

        def one(member: tuple[str, Home]) -> None:
            self._bring(bringing, *member)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fleet") as pool:
            for _ in pool.map(one, due):
                # A sign of life; who is in hand comes to an end.
                self._work.should_stop()

    def _bring(self, bringing: Bringing, tenant: str, home: Home) -> None:
        engine, end_s = self._ports.databases.at(home), time.monotonic() + _BUSY_S_MAX
        while True:
            try:
                brought = bringing.bring(engine, tenant, home, self._epoch(tenant))
            except NotFound:
                self._absent.add(_key((tenant, home)))
                return
            except PaybillError as error:
                if error.code not in _PASSING or isinstance(error, Fenced):
                    raise
                if time.monotonic() >= end_s:
                    self._settle(tenant, _unreached(bringing, tenant, home, error))
                    return
            else:
                last = brought.error
                passing = last is not None and last.code in _PASSING
                if not passing or time.monotonic() >= end_s:
                    self._settle(tenant, brought.receipts)
                    return
            time.sleep(_PAUSE_S)

    def _settle(self, tenant: str, receipts: Sequence[FleetReceipt]) -> None:
        with self._ports.store.write(tenant) as inside:
            settle_receipts(inside, self._ports, tenant, receipts)

    # between two chunks ---------------------------------------------------------------------

    def _heed(self, found: Campaign) -> bool:
        """Whether it rests now: somebody has asked for it, or too many have failed."""
        now = self.campaign()
        if now.asked:
            event = "pause" if now.asked == "pause" else "cancel"
            self._moved(now, event, reason=f"{now.asked} asked")
            return True
        with self._ports.store.read() as inside:
            failed = len(campaigns.failed_members(inside, found.id))
        spent = failed > (0 if now.state == "canary" else now.failures_max)
        if spent:
            self._moved(now, "halt", reason=f"{failed} failed")
            return True
        if self._work.should_stop():
            self._moved(now, "pause", reason="run asked to stop")
            return True
        if self._ports.catalogs is not None and self._ports.catalogs.leaving():
            raise WorkerLeaves
        return False

    def _wait(self, found: Campaign) -> None:
        """Until another run lets go of a tenant; in the end the campaign rests, and is taken up."""
        if self._heed(found):
            return
        if time.monotonic() >= self._ends_at_s:
            self._moved(self.campaign(), "pause", reason="tenants are in other runs' hands")
        else:
            time.sleep(_PAUSE_S)

    def _proceed(self, found: Campaign) -> None:
        if self._heed(found):
            return
        now = self.campaign()
        with self._ports.store.read() as inside:
            failed = len(campaigns.failed_members(inside, now.id))
        if now.state != "rest":
            self._moved(now, "proceed")
        elif failed:
            # Within the budget, so the others have gone on; but it does not stand everywhere.
            self._moved(now, "halt", reason=f"{failed} failed")
        else:
            self._finish(now)

    def _finish(self, now: Campaign) -> None:
        # Nobody is let in beside this: whoever comes behind it reads that it is in force.
        with self._ports.store.write() as whole:
            self._require_ours(whole)
            lacking = set(map(_key, members(whole))) - campaigns.standing_members(whole, now.last)
            if lacking <= self._absent:
                campaigns.forget_pending(whole, now.id)
                _move(self._work, whole, now, "finish")

    # means ----------------------------------------------------------------------------------

    def _moved(self, found: Campaign, event: str, **values: object) -> None:
        with self._ports.store.write() as whole:
            self._require_ours(whole)
            asked = {} if event == "proceed" else {"asked": ""}
            _move(self._work, whole, found, event, **asked, **values)

    def _require_ours(self, connection: Connection) -> None:
        run = run_row(connection, self._work.run.id)
        if run is None or (run.attempts, run.state) != (self._work.epoch, "applying"):
            raise Refused("Another worker has taken this run.", code="fenced")

    def _epoch(self, tenant: str) -> int:
        """The epoch that the tenant's database stands at: where it opened, else its last run's."""
        table = tables.fence
        with self._ports.store.read() as inside:
            run = run_row(inside, self._work.run.id)
            if run is None or run.attempts != self._work.epoch:
                raise Fenced
            held = inside.execute(
                select(table.c.data_epoch, table.c.epoch).where(table.c.tenant == tenant)
            ).one()
        return int(held.data_epoch or held.epoch)


def _shared(home: Home) -> str | None:
    return place_of(home) if home.isolation == "pooled" else None


def _key(member: tuple[str, Home]) -> Member:
    return member[0], place_of(member[1])


def _unreached(
    bringing: Bringing, tenant: str, home: Home, error: PaybillError
) -> list[FleetReceipt]:
    last = bringing.intended(tenant, home)[-1]
    said = {"state": "failed", "attempts": 1, "code": error.code[:40]}
    return [last.model_copy(update=said)]


def _held(connection: Connection, kind: str | None = None) -> set[str]:
    """Tenants that another run, or one of that kind, has in hand just now."""
    fence, run = tables.fence, tables.run
    kinds = [] if kind is None else [run.c.kind == kind]
    found = (
        select(fence.c.tenant)
        .join(run, run.c.id == fence.c.run_id)
        .where(run.c.state.in_(AT_WORK), run.c.tenant == fence.c.tenant, *kinds)
    )
    return set(connection.execute(found).scalars())


def _move(
    work: Work, connection: Connection, found: Campaign, event: str, **values: object
) -> Campaign:
    now = instant(work.ports.clock.now())
    return campaigns.move_campaign(connection, work.ports.recorder, found, event, now, **values)


STEPS: tuple[Step, ...] = (
    Step("begin", do=begin, undo=call_off),
    Step("carry", do=carry, probe=probe_carried, outside=True, irreversible=True),
)
