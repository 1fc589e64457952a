"""Drives a run from state to state, generic: re-decide, fence, do, record. Knows neither Cerbos nor LangGraph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.run import DiscardReason
from control_plane.domain.run_record import Run
from control_plane.engine.ends import DETAIL_CHARS_MAX, Ends, detail_of
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.lapsed import lapsed
from control_plane.engine.postponed import Postponed, is_put_off, postpone, require_beginning
from control_plane.engine.pulse import Pulse
from control_plane.engine.questions import Questions
from control_plane.engine.runbook import Fenced, Runbook
from control_plane.engine.saved_plans import SavedPlans
from control_plane.engine.stepping import Stepping
from control_plane.engine.telling import Telling
from control_plane.engine.unseen import reconciled
from control_plane.errors import Failed, NotFound, PaybillError, Refused, Unknown
from control_plane.handlers.handler import Lifecycle, Ports, Work
from control_plane.handlers.run_waits import looks_in_vain
from control_plane.ports import Regate, Settled
from control_plane.store import rows, tables

_LOG = logging.getLogger(__name__)
ATTEMPTS_MAX = 10
_MOVES_MAX = 64
_AT_REST = frozenset(
    {
        "awaiting_approval",
        "applied",
        "discarded",
        "canceled",
        "failed",
        "compensated",
        "compensation_failed",
    }
)


class Executor:
    """The routine ``run``: called again from the top after a crash, it finds in the rows what is done."""

    def __init__(
        self,
        ports: Ports,
        lifecycles: Mapping[str, Lifecycle],
        regate: Regate,
        failpoints: Failpoints,
    ) -> None:
        self._ports = ports
        self._lifecycles = {one.kind: one for one in lifecycles.values()}
        self._regate = regate
        self._failpoints = failpoints
        self._questions = Questions(ports)
        self._ends = Ends(self._questions)
        self._saved = SavedPlans(ports)

    def work(self, job_id: str) -> str:
        """Carry out the job's run until it rests; returns the state it rests in."""
        with self._ports.store.read() as connection:
            table = tables.job
            run_id = connection.execute(
                table.select().with_only_columns(table.c.run_id).where(table.c.id == job_id)
            ).scalar_one()
        book = Runbook(self._ports, run_id)
        try:
            state = self._driven(book)
        except Fenced:
            return "fenced"
        with self._ports.store.write(book.scope) as connection:
            rows.change(connection, table, table.c.id == job_id, state="finished")
        return state

    def _driven(self, book: Runbook) -> str:
        # A fault at a boundary leaves the run where it stands: it is taken up again from its rows,
        # as after a crash, and given up when it comes back too often.
        for _ in range(ATTEMPTS_MAX):
            try:
                return self._drive(book)
            except Fenced:
                raise
            except Postponed:
                # The worker's clock takes it up again: to hurry would only use up its attempts.
                return book.read().state
            except PaybillError as error:
                _LOG.warning("run %s was interrupted: %s", book.run_id, error.code)
        return book.read().state

    def _drive(self, book: Runbook) -> str:
        run = book.read()
        if run.state in _AT_REST and not self._awaits(run):
            return run.state
        with self._ports.store.read() as connection:
            if is_put_off(connection, run, self._ports.clock.now()):
                return run.state
        run = book.take()
        self._failpoints.reach("run.taken")
        moves: Mapping[str, Callable[[Runbook, Run], Run]] = {
            "pending": self._plan,
            "planning": self._plan_again,
            "planned": self._settle,
            "policy_checking": self._settle,
            "awaiting_approval": self._resume,
            "approved": self._start,
            "applying": self._apply,
            "verifying": self._finish,
            "errored": self._errored,
            "unknown": self._reconcile,
            "reconciling": self._reconcile,
            "compensating": self._compensate,
        }
        if run.state in ("planning", "applying") and self._too_often(run):
            run = self._exhausted(book, run)
        for _ in range(_MOVES_MAX):
            if run.state in _AT_REST and not self._awaits(run):
                break
            run = moves[run.state](book, run)
        return run.state

    def _awaits(self, run: Run) -> bool:
        # A parked run is taken up only when there is something to do about it.
        if run.state != "awaiting_approval":
            return False
        approval = self._questions.of(run)
        now = instant(self._ports.clock.now())
        return (
            run.cancel_requested
            or self._planned_before(run)
            or approval is None
            or approval.state != "pending"
            or approval.expires_at <= now
            or lapsed(self._ports, self._regate, run) is not None
        )

    def _planned_before(self, run: Run) -> bool:
        """Whether its plan holds no more: it was made by another catalog than the one in force."""
        return (run.plan or {}).get("catalog") != self._ports.catalog.digest

    # planning --------------------------------------------------------------------------------

    def _plan(self, book: Runbook, run: Run) -> Run:
        if run.cancel_requested:
            return self._ends.cancel(book)
        return self._plan_again(book, book.advance("plan"))

    def _plan_again(self, book: Runbook, run: Run) -> Run:
        if run.cancel_requested:
            return self._ends.cancel(book)
        self._failpoints.reach("run.planning")
        lifecycle = self._lifecycles[run.kind]
        try:
            observed = lifecycle.observe(self._work(book, run))
        except PaybillError as error:
            if book.read().cancel_requested:
                return self._ends.cancel(book)
            return self._ends.fail(book, error)
        self._failpoints.reach("run.observed")
        with book.writing() as connection:
            kept = self._saved.keep(connection, run, observed.artifact)
            run = book.move(
                connection,
                "planned",
                # In the digest too: what was approved is this artifact and no other, and the
                # approver is shown these facts and no others.
                plan={
                    "catalog": self._ports.catalog.digest,
                    "parts": {**observed.parts, **kept, "facts": observed.facts},
                },
                plan_facts=observed.facts,
                artifact=kept.get("artifact"),
            )
        self._failpoints.reach("run.planned")
        return run

    # deciding --------------------------------------------------------------------------------

    def _settle(self, book: Runbook, run: Run) -> Run:
        if run.cancel_requested:
            return self._ends.cancel(book)
        with self._ports.store.read() as connection:
            require_beginning(connection, run)
        if self._planned_before(run):
            # What was observed, weights for the gate among it, is the other one's.
            return self._ends.outdated(book)
        if run.state == "planned":
            run = book.advance("evaluate")
        try:
            with self._ports.store.read() as connection:
                settled = self._regate.settle(connection, run)
        except (Refused, NotFound) as error:
            postpone(error)
            return self._ends.discard(book, "refused", error)
        except PaybillError as error:
            postpone(error)
            return self._ends.fail(book, error)
        try:
            moved = self._record(book, run, settled)
        except Refused as error:
            return self._ends.discard(book, "refused", error)
        self._failpoints.reach("run.settled")
        return moved

    def _record(self, book: Runbook, run: Run, settled: Settled) -> Run:
        plan = plain(settled.plan)
        plan_digest = settled.plan.digest
        # In the leaf whole: who replays it needs what was observed, and what the gate was told.
        told: dict[str, Json] = {
            "plan": plan,
            "arguments": run.command,
            "evidence": settled.evidence,
        }
        # Alone where a human is asked: how many questions wait is counted over all tenants.
        with book.writing(alone=not settled.allowed) as connection:
            if run.dry_run:
                moved = book.move(
                    connection,
                    "discard",
                    told,
                    reason="dry_run",
                    plan=plan,
                    plan_digest=plan_digest,
                )
            elif settled.allowed:
                moved = book.move(connection, "allow", told, plan=plan, plan_digest=plan_digest)
            else:
                approval = self._questions.ask(connection, run, settled)
                moved = book.move(
                    connection,
                    "require_approval",
                    told,
                    plan=plan,
                    plan_digest=plan_digest,
                    approval_id=approval.id,
                )
        return moved

    def _resume(self, book: Runbook, run: Run) -> Run:
        if run.cancel_requested:
            return self._ends.cancel(book)
        if self._planned_before(run):
            return self._ends.outdated(book)
        if (over := lapsed(self._ports, self._regate, run)) is not None:
            return self._ends.discard(book, "refused", over)
        approval = self._questions.of(run)
        now = instant(self._ports.clock.now())
        if approval is not None and approval.state == "approved" and approval.expires_at > now:
            return book.advance("approve")
        if approval is None or approval.state in ("pending", "approved", "expired"):
            return self._ends.discard(book, "expired", Refused("The approval has expired."))
        return self._ends.discard(book, "refused", Refused("The approver said no.", code="denied"))

    def _start(self, book: Runbook, run: Run) -> Run:
        """Decide again from the top; the approval is consumed in the transaction that starts."""
        if run.cancel_requested:
            return self._ends.cancel(book)
        try:
            self._saved.require(run)
            with book.writing() as connection:
                require_beginning(connection, run)
                settled = self._regate.settle(connection, run)
                if settled.plan.digest != run.plan_digest:
                    raise Refused("The facts behind the plan have changed.", code="digest_changed")
                if not settled.allowed:
                    raise Refused("The approval no longer holds.", code="approval_void")
                self._questions.consume(connection, run)
                run = book.move(connection, "start")
        except (Refused, NotFound) as error:
            postpone(error)
            reason: DiscardReason = (
                "digest_changed" if error.code == "digest_changed" else "refused"
            )
            return self._ends.discard(book, reason, error)
        except Fenced:
            raise
        except PaybillError as error:
            postpone(error)
            return self._ends.discard(book, "refused", error)
        self._failpoints.reach("run.started")
        return run

    # applying --------------------------------------------------------------------------------

    def _apply(self, book: Runbook, run: Run) -> Run:
        stepping = self._stepping(book, run)
        try:
            stepping.perform_all()
        except Unknown as error:
            return book.advance("lose", reason=error.code, detail=detail_of(error))
        except Fenced:
            raise
        except PaybillError as error:
            postpone(error)
            if stepping.finished():
                return book.advance("verify")
            if book.read().cancel_requested and not stepping.irreversible_begun():
                return book.advance("cancel", reason="canceled")
            return self._ends.fail(book, error)
        return book.advance("verify")

    def _too_often(self, run: Run) -> bool:
        if run.attempts <= ATTEMPTS_MAX:
            return False
        with self._ports.store.read() as connection:
            return run.attempts > ATTEMPTS_MAX + looks_in_vain(connection, run.id)

    def _exhausted(self, book: Runbook, run: Run) -> Run:
        # Whatever came after its last step, a run that has done them all is not undone: its
        # tenant is open, or gone. With only some done beyond undoing, its residue is named.
        if run.state == "applying" and self._stepping(book, run).finished():
            return book.advance("verify")
        return self._ends.fail(book, Failed("It was tried too often.", code="attempts_exhausted"))

    def _finish(self, book: Runbook, run: Run) -> Run:
        self._failpoints.reach("run.verified")
        with book.writing() as connection:
            self._saved.drop(connection, run)
            return book.move(connection, "succeed")

    def _reconcile(self, book: Runbook, run: Run) -> Run:
        if run.state == "unknown":
            run = book.advance("reconcile")
        return reconciled(book, self._stepping(book, run))

    def _errored(self, book: Runbook, run: Run) -> Run:
        stepping = self._stepping(book, run)
        canceled = run.cancel_requested and not stepping.irreversible_begun()
        reason = "canceled" if canceled else run.reason
        if stepping.remains():
            return book.advance("compensate", reason=reason)
        return book.advance("fail", reason=reason)

    def _compensate(self, book: Runbook, run: Run) -> Run:
        self._failpoints.reach("run.compensating")
        stepping = self._stepping(book, run)
        try:
            stepping.undo_all()
        except Fenced:
            raise
        except PaybillError as error:
            return book.advance("compensation_fail", detail=detail_of(error))
        residue = stepping.residue()
        if residue:
            told = f"{residue} {run.reason}: {run.detail}"[:DETAIL_CHARS_MAX]
            return book.advance("give_up", reason="residue", detail=told)
        return book.advance("compensated")

    # means -----------------------------------------------------------------------------------

    def _stepping(self, book: Runbook, run: Run) -> Stepping:
        lifecycle = self._lifecycles[run.kind]
        return Stepping(
            book, self._ports, self._regate, self._failpoints, lifecycle, self._work(book, run)
        )

    def _work(self, book: Runbook, run: Run) -> Work:
        lifecycle = self._lifecycles[run.kind]
        pulse = Pulse(self._ports.store, self._ports.clock, run)
        return Work(
            run=run,
            command=lifecycle.command_type.restored(run.command),
            ports=self._ports,
            epoch=book.epoch,
            should_stop=pulse.should_stop,
            asker=lambda: self._regate.asker(run),
            vouch=book.vouch,
            tell=Telling(self._ports.store, self._ports.clock, run),
        )
