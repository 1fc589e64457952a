"""What a call leaves behind: its record, its key, its run, its leaf. Decides nothing, and does no effect."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from control_plane.commands import Command
from control_plane.domain.call import Call
from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json, plain
from control_plane.domain.outcome import Outcome
from control_plane.domain.record import Record
from control_plane.domain.run import RUN_ACTIVE
from control_plane.domain.run_record import Run
from control_plane.errors import Conflict, Failed, Refused
from control_plane.facts.load import approvals_waiting, run_row
from control_plane.handlers.freezes import Frozen, is_frozen
from control_plane.handlers.handler import Change, Lifecycle, Ports, View
from control_plane.ports import RowGate
from control_plane.store import rows, tables
from graphs.outcomes import of_run
from graphs.passage import Asked, Passage


class Key(Record):
    """A stored idempotency key: which call it stands for, and an HMAC of its arguments."""

    principal: str
    actor: str
    tool: str
    key: str
    arguments_hmac: str
    call_id: str


class Raced(Failed):
    """Another call was a moment earlier."""

    code = "raced"

    def __init__(self) -> None:
        super().__init__(retryable=True)


class Ledger:
    """Writes and reads the rows that make a call repeatable and accountable."""

    def __init__(
        self,
        ports: Ports,
        changes: Mapping[str, Change],
        lifecycles: Mapping[str, Lifecycle],
        rows_for: Callable[[Caller], RowGate],
    ) -> None:
        self._ports = ports
        self._rows_for = rows_for
        self._changes = changes
        self._lifecycles = lifecycles

    # keys ------------------------------------------------------------------------------------

    def replay(self, connection: Connection, asked: Asked, may: frozenset[str]) -> Outcome | None:
        """The present outcome of the call that this key stands for; None when it stands for none.

        Refused with code ``idempotency_key_reused`` when the arguments are others.
        """
        if asked.idempotency_key is None or asked.dry_run:
            return None
        table = tables.idempotency
        where = (
            (table.c.principal == asked.caller.principal)
            & (table.c.actor == asked.caller.actor)
            & (table.c.tool == asked.tool)
            & (table.c.key == asked.idempotency_key)
        )
        key = rows.first(connection, table, Key, where)
        if key is None:
            return None
        if key.arguments_hmac != asked.arguments_hmac:
            raise Refused(
                "This idempotency key was used with other arguments.",
                code="idempotency_key_reused",
                rule="idempotency",
                fact="idempotency_key",
            )
        call = rows.first(connection, tables.call, Call, tables.call.c.id == key.call_id)
        assert call is not None, "a key is written with its call"
        return self._present(connection, asked, call, may)

    def _present(
        self, connection: Connection, asked: Asked, call: Call, may: frozenset[str]
    ) -> Outcome:
        view = View(connection, asked.caller, self._ports, self._rows_for(asked.caller))
        if call.run_id is not None:
            run = run_row(connection, call.run_id)
            assert run is not None, "a run is written with its call"
            return self.run_outcome(run, view).model_copy(update={"replayed": True})
        if not call.settled:
            return Outcome(
                outcome="unknown",
                message="The call is being carried out, or is reconciled soon; repeat it.",
                code="in_flight",
                replayed=True,
            )
        result = self._changes[asked.command.name].answer(call.effect, asked.command, view, may)
        return Outcome(outcome="done", result=result, replayed=True)

    def run_outcome(self, run: Run, view: View) -> Outcome:
        """What a run amounts to now, for its requester."""
        done: dict[str, Json] | None = None
        if run.state == "applied":
            lifecycle = next(one for one in self._lifecycles.values() if one.kind == run.kind)
            done = lifecycle.answer(run, view)
        return of_run(run, done)

    # calls -----------------------------------------------------------------------------------

    def keep(
        self, connection: Connection, passage: Passage, *, effect: Json, settled: bool = True
    ) -> None:
        """Write the call record with its key, in the transaction of the change or the intent."""
        asked = passage.asked
        tenant = passage.subject.tenant if passage.subject else ""
        call = passage.call.model_copy(
            update={"effect": effect, "tenant": tenant, "settled": settled}
        )
        rows.put(connection, tables.call, call)
        if asked.idempotency_key is None or asked.dry_run:
            return
        key = Key(
            principal=asked.caller.principal,
            actor=asked.caller.actor,
            tool=asked.tool,
            key=asked.idempotency_key,
            arguments_hmac=asked.arguments_hmac,
            call_id=call.id,
        )
        with _raced_at_most():
            rows.put(connection, tables.idempotency, key)

    def settle(self, connection: Connection, call_id: str, effect: Json) -> None:
        """Write what an outside effect made."""
        table = tables.call
        rows.change(connection, table, table.c.id == call_id, effect=effect, settled=True)

    def abandon(self, connection: Connection, call_id: str) -> None:
        """Close a call of which nothing remained, and free its key: it may be made again."""
        table = tables.idempotency
        connection.execute(table.delete().where(table.c.call_id == call_id))
        self.settle(connection, call_id, None)

    # runs ------------------------------------------------------------------------------------

    def propose(
        self, connection: Connection, passage: Passage, lifecycle: Lifecycle, command: Command
    ) -> Outcome:
        """Commit a run in ``pending`` with its job; its tenant is held by none, as ``hold`` has seen.

        Refused (`frozen`) whatever policy said: a change that is to be asked about was not decided
        as a proposal.
        """
        asked, call = passage.asked, passage.call
        tenant = command.target()
        if is_frozen(connection, tenant, str(getattr(command, "proposed_cloud", ""))):
            raise Frozen
        self._not_too_many(connection, asked)
        run = Run(
            id=call.derive_id("run"),
            call_id=call.id,
            principal=asked.caller.principal,
            actor=asked.caller.actor,
            grant_id=asked.caller.grant_id,
            tenant=tenant,
            kind=lifecycle.kind,
            tool=asked.tool,
            holds=lifecycle.holds,
            command=command.model_dump(mode="json"),
            state="pending",
            as_of=call.as_of,
            seed=call.seed,
            dry_run=asked.dry_run,
            created_at=call.as_of,
            updated_at=call.as_of,
            reason="" if asked.cause is None else asked.cause.reason,
            detail="" if asked.cause is None else asked.cause.told,
        )
        with _raced_at_most():
            rows.put(connection, tables.run, run)
        passage.call = call.model_copy(update={"run_id": run.id})
        self.keep(connection, passage, effect=None)
        self.wake(connection, run, call.derive_id("job"), call.as_of)
        return of_run(run, None)

    def wake(self, connection: Connection, run: Run, job_id: str, now: str) -> None:
        """Ask the worker to take a run up."""
        connection.execute(
            tables.job.insert().values(
                id=job_id,
                routine="run",
                run_id=run.id,
                tenant=run.tenant,
                state="pending",
                created_at=now,
            )
        )

    def _not_too_many(self, connection: Connection, asked: Asked) -> None:
        # An approver worn out by questions says yes: how many may wait is bounded for each caller.
        waiting = approvals_waiting(connection, asked.caller.principal, asked.caller.actor)
        if waiting >= self._ports.limits.pending_approvals_max:
            raise Refused(
                "Too many of your approvals are waiting.",
                code="too_many_approvals",
                rule="limits",
                fact="pending_approvals_max",
            )

    def hold(self, connection: Connection, tenant: str) -> None:
        """See that no run holds the tenant, and that its fence stands. Raises Conflict."""
        table = tables.run
        active = (table.c.tenant == tenant) & table.c.holds & table.c.state.in_(sorted(RUN_ACTIVE))
        holder = rows.first(connection, table, Run, active)
        if holder is not None:
            raise Conflict(run_id=holder.id)
        fence = tables.fence
        held = connection.execute(fence.select().where(fence.c.tenant == tenant)).first()
        if held is None:
            connection.execute(fence.insert().values(tenant=tenant, epoch=0, run_id=None))

    # leaves ----------------------------------------------------------------------------------

    def leaf(
        self, connection: Connection, kind: str, passage: Passage, *, permit_id: str = ""
    ) -> None:
        """Write the audit leaf of this passage, in the transaction of what it did."""
        payload = _payload(passage, permit_id)
        self._ports.recorder.record(connection, kind, _tenant(passage), payload)

    def note(self, kind: str, passage: Passage) -> None:
        """Write the audit leaf of a passage that changed nothing."""
        # What is not found must cost the same whether a tenant of that name is there or not.
        own_key = kind != "not_found"
        self._ports.notes.note(kind, _tenant(passage), _payload(passage, ""), own_key=own_key)


def _tenant(passage: Passage) -> str:
    return passage.subject.tenant if passage.subject else passage.asked.command.target()


def _payload(passage: Passage, permit_id: str) -> dict[str, Json]:
    """Who, what, on which facts, decided how, with what end."""
    asked, call = passage.asked, passage.call
    return {
        "call_id": call.id,
        "as_of": call.as_of,
        "seed": call.seed,
        "principal": asked.caller.principal,
        "actor": asked.caller.actor,
        "grant_id": asked.caller.grant_id,
        "tool": asked.tool,
        "command": asked.command.name,
        "arguments": plain(asked.command),
        "dry_run": asked.dry_run,
        "evidence": passage.evidence.as_json() if passage.evidence else None,
        "row_evidence": [one.as_json() for one in passage.row_evidence],
        "seen": passage.seen,
        "decision_id": passage.verdict.decision_id if passage.verdict else None,
        "catalog": call.catalog,
        "bundle": call.bundle,
        "plan_digest": passage.plan_digest or None,
        "permit_id": permit_id or None,
        "outcome": passage.outcome.outcome if passage.outcome else None,
        "code": passage.outcome.code if passage.outcome else None,
        "run_id": passage.outcome.run_id if passage.outcome else None,
    }


@contextmanager
def _raced_at_most() -> Generator[None]:
    try:
        yield
    except IntegrityError:
        raise Raced from None
