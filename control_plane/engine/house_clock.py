"""Asks, as the house, for the runs that money and dates call for. Decides none, and carries none out.

What it has asked for stands in the rows of runs, and that it was refused in a leaf: so a worker that
comes after one that died, or works beside it, asks for nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from control_plane.domain.canonical import Json, digest, instant
from control_plane.domain.house import BILLING_HOUSE
from control_plane.domain.outcome import Outcome
from control_plane.domain.run_record import Run
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.house_databases import database_wishes
from control_plane.engine.house_due import AGAIN, Wish, wishes
from control_plane.engine.postponed import PASSING
from control_plane.errors import PaybillError, Unavailable
from control_plane.facts.load import approvals_waiting
from control_plane.handlers.freezes import any_holds, cloud_of, freezes
from control_plane.handlers.handler import Ports
from control_plane.ports import Proposal, Proposer
from control_plane.store import rows, tables

_LOG = logging.getLogger("paybill.house")
BATCH_MAX: Final = 50
REPAIR: Final = "drift_repair"
# What always, or often, comes to ask a human.
_MAY_ASK: Final = ("offboard", REPAIR)
_AFTER_FAULT: Final = timedelta(minutes=1)
# Of the house's runs, those that may still come to ask a human.
_UNDECIDED: Final = ("pending", "planning", "planned", "policy_checking")

_COLUMNS: Final = (
    tables.run.c.id,
    tables.run.c.tenant,
    tables.run.c.principal,
    tables.run.c.kind,
    tables.run.c.state,
)
# By the index of runs that hold a tenant: those that are over grow without end.
HELD: Final = select(*_COLUMNS).where(tables.HOLDING)


class _Held(NamedTuple):
    """A run that holds its tenant; each of the house's does."""

    id: str
    tenant: str
    principal: str
    kind: str
    state: str


class HouseClock:
    """Looks at what is to be asked for; each boundary is a failpoint."""

    def __init__(
        self, ports: Ports, proposer: Proposer, failpoints: Failpoints, *, repairs: bool = False
    ) -> None:
        self._ports = ports
        self._proposer = proposer
        self._failpoints = failpoints
        # Whether what has drifted is to be put right without a person's asking.
        self._repairs = repairs
        self._put_off: dict[str, datetime] = {}

    def step(self) -> int:
        """Ask for what is due, for at most 50 tenants; how many it was.

        And wake each run that waits for an answer to a question that is over.
        """
        now = self._ports.clock.now()
        self._put_off = {name: until for name, until in self._put_off.items() if until > now}
        with self._ports.store.read() as connection:
            plans = self._ports.catalog.plans
            wanted = [*wishes(connection, now), *database_wishes(connection, now, plans)]
            running = [_Held(*row) for row in connection.execute(HELD)]
            tenants = {one.tenant for one in wanted}.union(one.tenant for one in running)
            still = self._frozen(connection, tenants)
            asked = self._askable(connection, wanted, running, still, now)
        self._wake([one for one in running if one.tenant not in still], wanted, now)
        for proposal, wish in asked:
            self._ask(proposal, wish, now)
        return len(asked)

    # what is due -----------------------------------------------------------------------------

    def _askable(
        self,
        connection: Connection,
        wanted: Iterable[Wish],
        running: Sequence[_Held],
        still: frozenset[str],
        now: datetime,
    ) -> list[tuple[Proposal, Wish]]:
        busy = still.union(one.tenant for one in running)
        places = self._places(connection, running)
        found: list[tuple[str, Proposal, Wish]] = []
        for wish in self._first_each(wanted, running):
            if wish.early or wish.tenant in busy or wish.tenant in self._put_off:
                continue
            last, count = _last(connection, wish)
            if self._rests(connection, wish, last, now):
                continue
            key = f"{wish.kind}:{wish.tenant}:{wish.since}:{count}"
            proposal = Proposal(wish.tool, wish.command, key, wish.cause)
            found.append(("" if last is None else last.updated_at, proposal, wish))
        # Who has waited longest first: only so many questions may stand before humans at a time.
        found.sort(key=lambda one: (one[0], one[2].tenant))
        asked: list[tuple[Proposal, Wish]] = []
        repairing = False
        for _, proposal, wish in found[:BATCH_MAX]:
            if wish.kind in _MAY_ASK:
                if places <= 0 or (repairing and wish.kind == REPAIR):
                    continue
                places -= 1
                repairing = repairing or wish.kind == REPAIR
            asked.append((proposal, wish))
        return asked

    def _frozen(self, connection: Connection, tenants: Iterable[str]) -> frozenset[str]:
        """Those about whom nothing begins: they are asked nothing, and a question waits with them."""
        known = freezes(connection)
        if not known:
            return frozenset()
        places = ((one, cloud_of(connection, one)) for one in tenants)
        return frozenset(tenant for tenant, cloud in places if any_holds(known, tenant, cloud))

    def _first_each(self, wanted: Iterable[Wish], running: Iterable[_Held]) -> list[Wish]:
        """One thing a tenant. Of repairs none while one is under way, or waits for a human."""
        repairing = any(_is_ours(one) and one.kind == REPAIR for one in running)
        may_repair = self._repairs and not repairing
        first: dict[str, Wish] = {}
        for wish in wanted:
            if wish.kind != REPAIR or may_repair:
                first.setdefault(wish.tenant, wish)
        return list(first.values())

    def _places(self, connection: Connection, running: Iterable[_Held]) -> int:
        waiting = approvals_waiting(connection, BILLING_HOUSE.principal, BILLING_HOUSE.actor)
        coming = sum(_is_ours(one) and one.state in _UNDECIDED for one in running)
        return self._ports.limits.pending_approvals_max - waiting - coming

    def _rests(self, connection: Connection, wish: Wish, last: Run | None, now: datetime) -> bool:
        since = instant(now - AGAIN[wish.kind])
        if last is not None and last.state != "applied" and last.updated_at > since:
            # Another plan by now is another matter.
            return last.command == wish.command.model_dump(mode="json")
        leaf = tables.audit_leaf
        refused = (
            (leaf.c.tenant == wish.tenant)
            & (leaf.c.recorded_at > since)
            & (leaf.c.kind == _refused_kind(wish))
        )
        return connection.execute(select(leaf.c.id).where(refused).limit(1)).first() is not None

    # asking ----------------------------------------------------------------------------------

    def _ask(self, proposal: Proposal, wish: Wish, now: datetime) -> None:
        self._failpoints.reach("house.due")
        try:
            outcome = self._proposer.propose(proposal)
            self._failpoints.reach("house.proposed")
            self._heed(wish, outcome, now)
        except Unavailable:
            # The store itself: whoever comes next would fail the same way.
            raise
        except PaybillError as error:
            self._later(wish, error.code, now)

    def _heed(self, wish: Wish, outcome: Outcome, now: datetime) -> None:
        code = outcome.code or ""
        if outcome.outcome != "refused" or code in PASSING:
            if outcome.run_id is None or outcome.outcome == "conflict":
                self._later(wish, code, now)
            return
        _LOG.warning("the house was refused %s of %s: %s", wish.kind, wish.tenant, code)
        payload: dict[str, Json] = {
            "principal": BILLING_HOUSE.principal,
            "tool": wish.tool,
            "reason": wish.cause.reason,
            "told": wish.cause.told,
            "code": code,
            "again_at": instant(now + AGAIN[wish.kind]),
        }
        self._ports.notes.note(_refused_kind(wish), wish.tenant, payload)

    def _later(self, wish: Wish, code: str, now: datetime) -> None:
        _LOG.info("the house asks for %s of %s later: %s", wish.kind, wish.tenant, code)
        self._put_off[wish.tenant] = now + _AFTER_FAULT

    # what is over ----------------------------------------------------------------------------

    def _wake(self, running: Iterable[_Held], wanted: Iterable[Wish], now: datetime) -> None:
        """Have runs looked at that wait for an answer, and are not to be asked for any more."""
        standing = _standing(wanted)
        for run in running:
            over = (run.tenant, run.kind) not in standing
            if _is_ours(run) and run.state == "awaiting_approval" and over:
                self._take_up(run, now)

    def _take_up(self, run: _Held, now: datetime) -> None:
        job = tables.job
        waiting = (job.c.run_id == run.id) & (job.c.state != "finished")
        values: Mapping[str, object] = {
            "id": digest({"over": run.id, "at": instant(now)})[:32],
            "routine": "run",
            "run_id": run.id,
            "tenant": run.tenant,
            "state": "pending",
            "created_at": instant(now),
        }
        with self._ports.store.write(run.tenant) as connection:
            if connection.execute(select(job.c.id).where(waiting)).first() is None:
                connection.execute(job.insert().values(**values))


def _standing(wanted: Iterable[Wish]) -> set[tuple[str, str]]:
    """Tenant and kind of what is still to be asked for: of a tenant the most urgent.

    Besides, each repair: that a stack is to be looked at again does not take its question back.
    """
    first: dict[str, str] = {}
    repairs: set[tuple[str, str]] = set()
    for wish in wanted:
        if wish.kind == REPAIR:
            repairs.add((wish.tenant, wish.kind))
        else:
            first.setdefault(wish.tenant, wish.kind)
    return repairs | set(first.items())


def _is_ours(run: _Held) -> bool:
    return run.principal == BILLING_HOUSE.principal


def _last(connection: Connection, wish: Wish) -> tuple[Run | None, int]:
    """The newest run of the kind that the house asked for about the tenant, and how many there were."""
    table = tables.run
    mine = (
        (table.c.tenant == wish.tenant)
        & (table.c.principal == BILLING_HOUSE.principal)
        & (table.c.kind == wish.kind)
    )
    newest = rows.every(connection, table, Run, mine, order_by=table.c.created_at.desc(), limit=1)
    count = connection.execute(select(func.count()).select_from(table).where(mine)).scalar_one()
    return (newest[0] if newest else None), int(count)


def _refused_kind(wish: Wish) -> str:
    return f"house.{wish.kind}_refused"
