"""The steps of a call and the one enforcement point: load, decide, plan, act, record. Knows no tool by name."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection

from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json
from control_plane.domain.outcome import Outcome
from control_plane.domain.permit import Permit
from control_plane.domain.plan import Plan
from control_plane.errors import Failed, PaybillError, Unknown
from control_plane.facts.tool import ToolFacts
from control_plane.handlers.catalog_in_force import require_in_force
from control_plane.handlers.handler import Change, Lifecycle, Ports, Query, Subject, View
from control_plane.handlers.moving_calls import is_of_a_move, told_of_move
from control_plane.plane import Plane
from control_plane.ports import RowGate
from graphs.gatekeeper import Gatekeeper, Witness, require, require_now, unwitnessed
from graphs.ledger import Ledger, Raced
from graphs.outcomes import of_error
from graphs.passage import Passage, Verdict
from graphs.rows import KeptRows
from graphs.run_steps import RunSteps
from policies.decision import ActionDecision


class Steps:
    """What the nodes of the machines call, in order."""

    def __init__(
        self,
        ports: Ports,
        keeper: Gatekeeper,
        plane: Plane,
        queries: Mapping[str, Query],
        changes: Mapping[str, Change],
        lifecycles: Mapping[str, Lifecycle],
        tools: Mapping[str, ToolFacts],
    ) -> None:
        self.ports = ports
        self.keeper = keeper
        self.plane = plane
        self.queries = queries
        self.changes = changes
        self.lifecycles = lifecycles
        self.runs = RunSteps(ports, keeper, plane, lifecycles, tools)
        self.ledger = Ledger(ports, changes, lifecycles, self._rows)

    # query -----------------------------------------------------------------------------------

    def query(self, passage: Passage) -> None:
        """load → decide → filter → read → mask → record, in one transaction that reads one state."""
        asked = passage.asked
        handler = self.queries[asked.command.name]
        with self.ports.store.read() as connection:
            view = self._view(connection, asked.caller)
            subject = handler.subject(asked.command, view)
            verdict = self._decide(passage, subject)
            page = self.keeper.readable(asked.caller, handler.page(asked.command, view))
            result = handler.answer(asked.command, view, subject, page, verdict.may)
        passage.outcome = Outcome(outcome="done", result=result)
        self.ledger.note("read", passage)

    # change ----------------------------------------------------------------------------------

    def load_change(self, passage: Passage) -> None:
        """load → decide, or the present outcome of the call that this one repeats."""
        handler = self.changes[passage.asked.command.name]
        with self.ports.store.read() as connection:
            subject = handler.subject(
                passage.asked.command, self._view(connection, passage.asked.caller)
            )
            actions = self._decide_or_replay(passage, subject, connection)
        if passage.outcome is None:
            passage.must_ask = self._must_ask(subject, actions, handler)

    def plan_change(self, passage: Passage) -> None:
        """Make the plan and its digest; a dry run ends here."""
        subject = _subject(passage)
        handler = self.changes[passage.asked.command.name]
        command, caller = passage.asked.command, passage.asked.caller
        rows, may = self._rows(caller, passage.witness_rows), _verdict(passage).may
        passage.seen = handler.look(command, subject, self.ports, rows, may)
        self._weigh(passage, handler)
        parts = handler.parts(command, passage.call, subject, self.ports, passage.seen)
        plan = self._plan(passage, subject, parts)
        passage.parts, passage.plan_digest = parts, plan.digest
        if passage.asked.dry_run:
            told = "It would wait for a human's approval." if passage.must_ask else ""
            passage.outcome = Outcome(
                outcome="planned", result=parts, plan_digest=plan.digest, message=told
            )
            self.ledger.note("planned", passage)

    def _weigh(self, passage: Passage, handler: Change) -> None:
        # What it weighs is known only now that the rows were seen: then it is decided once more.
        subject, asked = _subject(passage), passage.asked
        weighed = handler.weighed(subject, passage.seen)
        if weighed is None:
            return
        passage.verdict, actions = self.keeper.decide(
            asked.caller, asked.tool, asked.tool_facts, weighed, passage.witness
        )
        passage.must_ask = self._must_ask(weighed, actions, handler)

    def _must_ask(
        self, subject: Subject, actions: dict[str, ActionDecision], handler: Change
    ) -> bool:
        if require(subject.acts, actions):
            return False
        if not handler.can_wait:
            raise Failed("This call cannot wait for an approval.", code="approval_not_possible")
        return True

    def ask_first(self, passage: Passage) -> None:
        """Commit the change as a run, which waits for its approval: nothing is done here."""
        asked = passage.asked
        command = self.changes[asked.command.name].as_run(asked.command, passage.call, passage.seen)
        handler = self.lifecycles[command.name]
        with (
            self._replayed_if_raced(passage),
            self.ports.store.write(_scope(passage)) as connection,
        ):
            if self._replayed_meanwhile(passage, connection):
                return
            self._same_as_decided(
                connection,
                passage,
                self.changes[asked.command.name].subject(
                    asked.command, self._view(connection, asked.caller)
                ),
            )
            passage.outcome = self.ledger.propose(connection, passage, handler, command)
            # The plan that counts is the worker's: it is what the approval is bound to.
            passage.plan_digest = ""
            self.ledger.leaf(connection, "run.proposed", passage)

    def act_change(self, passage: Passage) -> None:
        """act → verify → record. The permit is consumed with the change or with its intent."""
        handler = self.changes[passage.asked.command.name]
        with self._replayed_if_raced(passage):
            if handler.outside:
                self._act_outside(passage, handler)
            else:
                self._act_inside(passage, handler)

    def _act_inside(self, passage: Passage, handler: Change) -> None:
        asked = passage.asked
        with self.ports.store.write(_scope(passage)) as connection:
            if self._replayed_meanwhile(passage, connection):
                return
            subject = self._same_as_decided(
                connection,
                passage,
                handler.subject(asked.command, self._view(connection, asked.caller)),
            )
            permit = self._permit(connection, passage)
            effect = self.plane.execute(
                connection, permit, asked.command, passage.call, subject, handler
            )
            self.ledger.keep(connection, passage, effect=effect)
            passage.outcome = self._done(passage, handler, connection, effect)
            self.ledger.leaf(connection, "changed", passage, permit_id=permit.id)

    def _act_outside(self, passage: Passage, handler: Change) -> None:
        asked, scope = passage.asked, _scope(passage)
        with self.ports.store.write(scope) as connection:
            if self._replayed_meanwhile(passage, connection):
                return
            subject = self._same_as_decided(
                connection,
                passage,
                handler.subject(asked.command, self._view(connection, asked.caller)),
            )
            permit = self._permit(connection, passage)
            self.plane.consume(connection, permit, asked.command)
            self.ledger.keep(connection, passage, effect=None, settled=False)
            self.ledger.leaf(connection, "intent", passage, permit_id=permit.id)
        try:
            effect = handler.affect(asked.command, passage.call, subject, self.ports, None)
        except Unknown:
            # It may have committed: the intent stays, and the worker looks.
            raise
        except PaybillError:
            with self.ports.store.write(scope) as connection:
                self.ledger.abandon(connection, passage.call.id)
            raise
        try:
            with self.ports.store.write(scope) as connection:
                self.ledger.settle(connection, passage.call.id, effect)
                passage.outcome = self._done(passage, handler, connection, effect)
                self.ledger.leaf(connection, "outcome", passage, permit_id=permit.id)
        except PaybillError as error:
            # The effect stands, and only its record is missing: the worker looks and writes it.
            raise Unknown("It was done, and could not be recorded yet.", code=error.code) from error

    # lifecycle -------------------------------------------------------------------------------

    def load_lifecycle(self, passage: Passage) -> None:
        """load → decide ``propose``, or the present outcome of the call that this one repeats."""
        handler = self.lifecycles[passage.asked.command.name]
        asked = passage.asked
        with self.ports.store.read() as connection:
            view = self._view(connection, asked.caller)
            subject = handler.subject(asked.command, view, None, None)
            actions = self._decide_or_replay(passage, subject, connection)
        if passage.outcome is None:
            # First what the catalog says: the policy's refusal would name a consequence of it.
            handler.guard(asked.command, subject, self.ports)
            require_now(subject, actions)
            self._look_first(passage, handler, subject)

    def _look_first(self, passage: Passage, handler: Lifecycle, subject: Subject) -> None:
        asked, may = passage.asked, _verdict(passage).may
        with self.ports.store.read() as connection:
            view = self._view(connection, asked.caller)
            shown = handler.look(asked.command, view, subject, may)
        if asked.dry_run and shown is not None:
            passage.outcome = Outcome(outcome="planned", result=shown)
            self.ledger.note("planned", passage)

    def commit_run(self, passage: Passage) -> None:
        """Commit the run, its job, its key and its leaf: from here on it is the worker's."""
        handler = self.lifecycles[passage.asked.command.name]
        asked = passage.asked
        with (
            self._replayed_if_raced(passage),
            self.ports.store.write(asked.command.target() or None) as connection,
        ):
            if self._replayed_meanwhile(passage, connection):
                return
            # First whether another run holds the tenant: that one has moved the facts.
            if handler.holds:
                self.ledger.hold(connection, asked.command.target())
            view = self._view(connection, asked.caller)
            again = handler.subject(asked.command, view, None, None)
            self._same_as_decided(connection, passage, again)
            passage.outcome = self.ledger.propose(connection, passage, handler, asked.command)
            self.ledger.leaf(connection, "run.proposed", passage)

    # refusals --------------------------------------------------------------------------------

    def refuse(self, passage: Passage, error: PaybillError) -> Outcome:
        """Turn an error into an outcome and record it; where even that fails, say so."""
        passage.outcome = of_error(self._as_told(passage, error))
        try:
            self.ledger.note(passage.outcome.outcome, passage)
        except PaybillError as unwritten:
            # A refusal that cannot be recorded is still a refusal, and what may stand may still
            # stand; anything else must not pass.
            if passage.outcome.outcome not in ("refused", "unknown"):
                passage.outcome = of_error(unwritten)
        return passage.outcome

    def _as_told(self, passage: Passage, error: PaybillError) -> PaybillError:
        if not is_of_a_move(error):
            return error
        try:
            with self.ports.store.read() as connection:
                return told_of_move(connection, passage.subject, error)
        except PaybillError:
            return error

    # shared ----------------------------------------------------------------------------------

    def _rows(self, caller: Caller, witness: Witness = unwitnessed) -> RowGate:
        return KeptRows(self.keeper, caller, self.ports.catalog.row_rules, witness)

    def _view(self, connection: Connection, caller: Caller) -> View:
        return View(connection, caller, self.ports, self._rows(caller))

    def _decide(self, passage: Passage, subject: Subject) -> Verdict:
        asked = passage.asked
        passage.subject = subject
        verdict, actions = self.keeper.decide(
            asked.caller, asked.tool, asked.tool_facts, subject, passage.witness
        )
        passage.verdict = verdict
        require_now(subject, actions)
        return verdict

    def _decide_or_replay(
        self, passage: Passage, subject: Subject, connection: Connection
    ) -> dict[str, ActionDecision]:
        asked = passage.asked
        passage.subject = subject
        verdict, actions = self.keeper.decide(
            asked.caller, asked.tool, asked.tool_facts, subject, passage.witness
        )
        passage.verdict = verdict
        passage.outcome = self.ledger.replay(connection, asked, verdict.may)
        return actions

    @contextmanager
    def _replayed_if_raced(self, passage: Passage) -> Generator[None]:
        # A key is its caller's, whatever the tenant: two calls about two tenants do not wait for
        # each other, and only the row tells the second of the first. Nothing of it remains.
        try:
            yield
        except Raced:
            with self.ports.store.read() as connection:
                if not self._replayed_meanwhile(passage, connection):
                    raise

    def _replayed_meanwhile(self, passage: Passage, connection: Connection) -> bool:
        # The same call twice at once: the second finds the first's key under the write lock.
        verdict = _verdict(passage)
        passage.outcome = self.ledger.replay(connection, passage.asked, verdict.may)
        return passage.outcome is not None

    def _same_as_decided(self, connection: Connection, passage: Passage, again: Subject) -> Subject:
        require_in_force(connection, passage.call.catalog)
        if again.facts.values_digest() != _verdict(passage).facts_digest:
            raise Failed(
                "The facts changed between decision and effect.", code="facts_moved", retryable=True
            )
        return again

    def _plan(self, passage: Passage, subject: Subject, parts: dict[str, Json]) -> Plan:
        call = passage.call
        return Plan.model_validate(
            {
                "command": passage.asked.command.name,
                "tenant": subject.tenant,
                "as_of": call.as_of,
                "catalog": call.catalog,
                "bundle": call.bundle,
                "facts": {subject.facts.kind: _verdict(passage).facts_digest},
                "parts": parts,
            }
        )

    def _permit(self, connection: Connection, passage: Passage) -> Permit:
        return self.plane.issue(
            connection,
            permit_id=passage.call.derive_id("permit"),
            command=passage.asked.command,
            tenant=_subject(passage).tenant,
            run_id=passage.call.id,
            step="change",
            decision_id=_verdict(passage).decision_id,
            facts_digest=_verdict(passage).facts_digest,
        )

    def _done(
        self, passage: Passage, handler: Change, connection: Connection, effect: Json
    ) -> Outcome:
        view = self._view(connection, passage.asked.caller)
        may = _verdict(passage).may
        result = handler.answer(effect, passage.asked.command, view, may)
        return Outcome(outcome="done", result=result, plan_digest=passage.plan_digest or None)


def _scope(passage: Passage) -> str | None:
    return _subject(passage).tenant or None


def _subject(passage: Passage) -> Subject:
    assert passage.subject is not None, "the subject is loaded first"
    return passage.subject


def _verdict(passage: Passage) -> Verdict:
    assert passage.verdict is not None, "nothing is done before it is decided"
    return passage.verdict
