"""What a worker asks of the enforcement point about a run: who asks, whether its plan may be carried out, whether a step. Not the run's execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from control_plane.domain.caller import Caller
from control_plane.domain.canonical import digest
from control_plane.domain.house import is_house
from control_plane.domain.permit import Permit
from control_plane.domain.plan import Plan
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.facts.tool import ToolFacts
from control_plane.handlers.catalog_in_force import require_in_force
from control_plane.handlers.handler import Lifecycle, Ports, Subject, View
from control_plane.handlers.settings import approval_rule
from control_plane.plane import Plane
from control_plane.ports import Asker, RowGate, Settled
from graphs.approvals import Approvals
from graphs.errors import Unlisted
from graphs.evidence import Evidence
from graphs.gatekeeper import Gatekeeper, Witness, require, require_now, unwitnessed
from graphs.passage import Settling, Verdict
from graphs.requests import Requests
from graphs.rows import KeptRows
from policies.decision import ActionDecision


class RunSteps:
    """The second entry of the lifecycle machine, and the port Regate."""

    def __init__(
        self,
        ports: Ports,
        keeper: Gatekeeper,
        plane: Plane,
        lifecycles: Mapping[str, Lifecycle],
        tools: Mapping[str, ToolFacts],
    ) -> None:
        self._ports = ports
        self._keeper = keeper
        self._plane = plane
        self._tools = tools
        self._requests = Requests(ports, lifecycles, Approvals(ports, keeper))

    def settle(self, connection: Connection, run: Run) -> Settled:
        """Plan again over fresh facts, then decide ``apply``: the port Regate, for a whole plan."""
        require_in_force(connection, self._ports.catalog.digest)
        caller, handler, command = self._requests.of(connection, run)
        view = View(connection, caller, self._ports, self._rows(caller))
        approval = self._requests.approval(connection, run)
        subject = handler.subject(command, view, run, approval)
        handler.guard(command, subject, self._ports)
        self._requests.young_enough(run)
        observed = (run.plan or {}).get("parts")
        assert isinstance(observed, Mapping), "a run is planned before it is settled"
        parts = {**observed, **handler.pure_parts(command, self._ports)}
        plan = Plan.model_validate(
            {
                "command": command.name,
                "tenant": run.tenant,
                "as_of": run.as_of,
                "catalog": self._ports.catalog.digest,
                "bundle": self._keeper.bundle,
                "facts": {subject.facts.kind: subject.facts.values_digest()},
                "parts": parts,
            }
        )
        planned = run.model_copy(update={"plan_digest": plan.digest})
        subject = handler.subject(command, view, planned, approval)
        seen: list[Evidence] = []
        _, actions = self._decide_run(caller, run, subject, seen.append)
        allowed = require(subject.acts, actions)
        evidence = seen[0].as_json()
        # Nobody answers what the house asks with the house's own hand: another one must.
        rule = "two_people" if is_house(run.principal) else approval_rule(connection)
        return Settled(plan, allowed, rule, evidence)

    def settle_run(self, settling: Settling) -> None:
        """The node of the worker's entry."""
        settling.settled = self.settle(settling.connection, settling.run)

    def release(self, settling: Settling) -> None:
        """The plan may be carried out as it is."""
        settling.parked = False

    def park(self, settling: Settling) -> None:
        """Only an approval is missing: the worker asks for it, and the run waits."""
        settling.parked = True

    def asker(self, run: Run) -> Asker:
        """Decide again whether it may be asked for: the port Regate, for who looks at rows."""
        with self._ports.store.read() as connection:
            caller, handler, command = self._requests.of(connection, run)
            subject = handler.subject(
                command, View(connection, caller, self._ports, self._rows(caller)), None, None
            )
        # Whether it may begin is no question any more: a freeze does not stop what has begun.
        subject = replace(subject, facts=subject.facts.model_copy(update={"frozen": False}))
        verdict, actions = self._decide_run(caller, run, subject)
        require_now(subject, actions)
        return Asker(self._rows(caller), verdict.may)

    def permit(self, run: Run, step: str, epoch: int) -> Permit:
        """Decide again for one step, over fresh facts: the port Regate, for one effect."""
        with self._ports.store.write(run.tenant or None) as connection:
            require_in_force(connection, self._ports.catalog.digest)
            caller, handler, command = self._requests.of(connection, run)
            view = View(connection, caller, self._ports, self._rows(caller))
            subject = handler.subject(
                command, view, run, self._requests.approval(connection, run), step
            )
            verdict, actions = self._decide_run(caller, run, subject)
            if not require(subject.acts, actions):
                raise Refused("The approval no longer holds.", code="approval_void")
            return self._plane.issue(
                connection,
                permit_id=digest({"run": run.id, "step": step, "epoch": epoch})[:32],
                command=command,
                tenant=run.tenant,
                run_id=run.id,
                step=step,
                decision_id=verdict.decision_id,
                facts_digest=verdict.facts_digest,
            )

    def _decide_run(
        self, caller: Caller, run: Run, subject: Subject, witness: Witness = unwitnessed
    ) -> tuple[Verdict, dict[str, ActionDecision]]:
        try:
            # Under the name by which it was asked for; a catalog may have taken that away since.
            tool_facts = self._tools.get(run.tool)
            if tool_facts is None:
                raise Unlisted
            return self._keeper.decide(caller, run.tool, tool_facts, subject, witness)
        except Unlisted:
            raise Refused(
                "The requester may no longer use this tool.", code="tool_not_allowed", fact="roles"
            ) from None

    def _rows(self, caller: Caller) -> RowGate:
        return KeptRows(self._keeper, caller, self._ports.catalog.row_rules, unwitnessed)
