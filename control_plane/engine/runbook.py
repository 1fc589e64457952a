"""The rows of one run in the worker's hands: fenced moves, steps, leaves. Knows no step's meaning."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property

from sqlalchemy import Connection, select

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.domain.canonical import Json, instant
from control_plane.domain.run import RUN
from control_plane.domain.run_record import Run, RunStep
from control_plane.errors import PaybillError
from control_plane.facts.load import run_row
from control_plane.handlers.handler import Ports, Step
from control_plane.store import rows, tables


class Fenced(PaybillError):
    """Another worker has taken this run: this one must not write."""

    code = "fenced"


class Runbook:
    """Every write asserts the epoch under which this worker took the run."""

    def __init__(self, ports: Ports, run_id: str) -> None:
        self._ports = ports
        self.run_id = run_id
        self.epoch = 0
        self._vouched: dict[tuple[str, str], Guard] = {}
        self._named: list[tuple[str, str]] = []

    @cached_property
    def scope(self) -> str | None:
        """The tenant whose rows the run is about; a run never changes it."""
        return self.read().tenant or None

    # the fence -------------------------------------------------------------------------------

    def take(self) -> Run:
        """Take the run over: a new epoch, and one more attempt."""
        with self._ports.store.write(self.scope) as connection:
            run = self._read(connection)
            self.epoch = self._held(connection, run)[0] + 1
            if run.holds:
                fence = tables.fence
                mine = fence.c.tenant == run.tenant
                rows.change(connection, fence, mine, epoch=self.epoch, run_id=run.id)
            rows.change(
                connection, tables.run, tables.run.c.id == run.id, attempts=run.attempts + 1
            )
            return self._read(connection)

    @contextmanager
    def writing(self, *, alone: bool = False) -> Generator[Connection]:
        """A transaction in which this worker still holds the fence; Fenced where it does not.

        ``alone`` excludes writers for other tenants too.
        """
        with self._ports.store.write(None if alone else self.scope) as connection:
            run = self._read(connection)
            if self._held(connection, run) != (self.epoch, self.run_id):
                raise Fenced
            self._named.clear()
            self._vouched = self._guards(connection, run)
            yield connection

    def _held(self, connection: Connection, run: Run) -> tuple[int, str | None]:
        """The epoch that is in force, and whose; a run that leaves its tenant free counts its own."""
        if not run.holds:
            return run.attempts, run.id
        fence = tables.fence
        statement = select(fence.c.epoch, fence.c.run_id).where(fence.c.tenant == run.tenant)
        held = connection.execute(statement).one()
        return int(held.epoch), held.run_id

    def read(self) -> Run:
        """The run as it stands."""
        with self._ports.store.read() as connection:
            return self._read(connection)

    def _read(self, connection: Connection) -> Run:
        run = run_row(connection, self.run_id)
        assert run is not None, "runs are never deleted"
        return run

    # moves -----------------------------------------------------------------------------------

    def move(
        self,
        connection: Connection,
        event: str,
        told: Mapping[str, Json] | None = None,
        /,
        **values: object,
    ) -> Run:
        """Make one legal move of the run's machine, with its leaf; Refused where it is not legal.

        ``told`` is what the leaf says besides.
        """
        run = self._read(connection)
        state = RUN.next(run.state, event)
        now = self._ports.clock.now()
        transient = RUN.transient.get(state)
        deadline = None if transient is None else now + timedelta(seconds=transient.deadline_s)
        table = tables.run
        rows.change(
            connection,
            table,
            (table.c.id == run.id) & (table.c.state == run.state),
            state=state,
            updated_at=instant(now),
            heartbeat_at=instant(now),
            deadline_at=None if deadline is None else instant(deadline),
            **values,
        )
        moved = self._read(connection)
        self.leaf(connection, f"run.{state}", moved, told=told)
        return moved

    def advance(self, event: str, **values: object) -> Run:
        """The same in a transaction of its own."""
        with self.writing() as connection:
            return self.move(connection, event, **values)

    # steps -----------------------------------------------------------------------------------

    def step(self, connection: Connection, name: str) -> RunStep | None:
        """The step's row, or None when it has not begun."""
        table = tables.run_step
        where = (table.c.run_id == self.run_id) & (table.c.name == name)
        return rows.first(connection, table, RunStep, where)

    def write_step(
        self,
        connection: Connection,
        step: Step,
        position: int,
        state: str,
        *,
        permit_id: str | None = None,
        observed: Mapping[str, Json] | None = None,
    ) -> None:
        """Put a step into a state, with its leaf."""
        now = instant(self._ports.clock.now())
        known = self.step(connection, step.name)
        values: dict[str, object] = {"state": state}
        if permit_id is not None:
            values["permit_id"] = permit_id
        if state == "dispatched":
            # Begun again after a kill, it has been under way since the first time.
            if known is None or known.dispatched_at is None:
                values["dispatched_at"] = now
        else:
            values["ended_at"] = now
            values["observed"] = None if observed is None else dict(observed)
        table = tables.run_step
        if known is None:
            connection.execute(
                table.insert().values(
                    run_id=self.run_id, name=step.name, position=position, **values
                )
            )
        else:
            where = (table.c.run_id == self.run_id) & (table.c.name == step.name)
            rows.change(connection, table, where, **values)
        self.leaf(connection, f"step.{state}", self._read(connection), step=step.name)

    def leaf(
        self,
        connection: Connection,
        kind: str,
        run: Run,
        *,
        step: str = "",
        told: Mapping[str, Json] | None = None,
    ) -> None:
        """A leaf about the run. It vouches for the guarded rows that this transaction has changed.

        For no other: a leaf that repeated what stands would make an alteration from outside true.
        """
        payload: dict[str, Json] = {
            "run_id": run.id,
            "call_id": run.call_id,
            "principal": run.principal,
            "actor": run.actor,
            "kind": run.kind,
            "state": run.state,
            "step": step or None,
            "epoch": self.epoch,
            "plan_digest": run.plan_digest or None,
            "approval_id": run.approval_id,
            "reason": run.reason or None,
            **(told or {}),
        }
        stands = self._guards(connection, run)
        changed = tuple(row for row, now in stands.items() if self._vouched.get(row) != now)
        found = tuple(self._vouched.values())
        self._vouched = stands
        self._ports.recorder.record(connection, kind, run.tenant, payload, changed, found)

    def vouch(self, connection: Connection, table: str, key: str) -> None:
        """Name a guarded row that this transaction is about to change, beside those of its tenant."""
        row = (table, key)
        if row not in self._vouched:
            self._vouched[row] = guard(connection, table, key)
            self._named.append(row)

    def _guards(self, connection: Connection, run: Run) -> dict[tuple[str, str], Guard]:
        named = [("tenant", run.tenant), ("subscription", run.tenant)] if run.tenant else []
        if run.approval_id is not None:
            named.append(("approval", run.approval_id))
        return {row: guard(connection, *row) for row in (*named, *self._named)}
