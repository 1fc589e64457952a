"""The states of a run and its machine. Not its plan, its effects or who executes it.

`applying` takes as many steps as the plan has; an effect of unknown standing moves the run to
`unknown`, and only reconciling leads on. A run whose plan is pure goes the same way: it has nothing
to observe, and no artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from control_plane.domain.machine import Machine, Transient, Transition

RunState: TypeAlias = Literal[
    "pending",
    "planning",
    "planned",
    "policy_checking",
    "awaiting_approval",
    "approved",
    "applying",
    "verifying",
    "applied",
    "discarded",
    "canceled",
    "errored",
    "unknown",
    "reconciling",
    "compensating",
    "compensated",
    "compensation_failed",
    "failed",
]
DiscardReason: TypeAlias = Literal["dry_run", "refused", "expired", "digest_changed", "no_changes"]

RUN = Machine(
    name="run",
    initial="pending",
    states=get_args(RunState),
    stable=frozenset(
        {
            "pending",
            "planned",
            "awaiting_approval",
            "approved",
            "errored",
            "unknown",
            "compensation_failed",
        }
    ),
    transient={
        "planning": Transient(900, ("planned",)),
        "policy_checking": Transient(60, ("allow", "require_approval", "refuse")),
        "applying": Transient(7_200, ("verify",), lapse="lose"),
        "verifying": Transient(900, ("succeed",), lapse="lose", cancel=""),
        "reconciling": Transient(900, ("settle_present", "settle_absent"), cancel=""),
        "compensating": Transient(
            7_200,
            ("compensated",),
            failure="compensation_fail",
            lapse="compensation_fail",
            cancel="",
        ),
    },
    terminal=frozenset({"applied", "discarded", "canceled", "compensated", "failed"}),
    transitions=(
        Transition("pending", "plan", "planning", guard="head_of_tenant_queue"),
        Transition("planning", "planned", "planned", guard="plan_complete"),
        Transition("planning", "fail", "errored", guard="cause_recorded"),
        Transition("planned", "evaluate", "policy_checking"),
        Transition("policy_checking", "allow", "approved", guard="no_approval_obliged"),
        Transition("policy_checking", "require_approval", "awaiting_approval"),
        Transition("policy_checking", "fail", "errored", guard="cause_recorded"),
        Transition("awaiting_approval", "approve", "approved", guard="approval_signed"),
        # A refusal by policy, by the approver, or by the decision made again before the start.
        Transition(
            frozenset({"policy_checking", "awaiting_approval", "approved"}), "refuse", "discarded"
        ),
        Transition(
            frozenset({"awaiting_approval", "approved"}), "expire", "discarded", guard="past_expiry"
        ),
        # Dry run, no changes, or another digest: reasons that no decision gives.
        Transition(
            frozenset({"planned", "policy_checking", "awaiting_approval", "approved"}),
            "discard",
            "discarded",
            guard="reason_recorded",
        ),
        Transition(
            "approved", "start", "applying", guard="digest_equal, decided_again, approval_consumed"
        ),
        Transition("applying", "verify", "verifying", guard="effects_done", irreversible=True),
        Transition("verifying", "succeed", "applied", guard="observed_so"),
        Transition(frozenset({"applying", "verifying"}), "fail", "errored", guard="cause_recorded"),
        Transition(frozenset({"applying", "verifying"}), "lose", "unknown"),
        Transition("unknown", "reconcile", "reconciling", guard="fenced", irreversible=True),
        # The effect stands: the same run goes on with its next step, and never does it again.
        Transition("reconciling", "settle_present", "applying", guard="probed_or_attested"),
        Transition("reconciling", "settle_absent", "errored", guard="probed_or_attested"),
        Transition("reconciling", "fail", "unknown", guard="cause_recorded"),
        # Another attempt is another plan, with its own digest, decision and approval.
        Transition("errored", "retry", "pending", guard="attempts_left"),
        Transition("errored", "fail", "failed", guard="nothing_remained"),
        Transition(
            "errored", "compensate", "compensating", guard="effects_remain", irreversible=True
        ),
        Transition("compensating", "compensated", "compensated", guard="effects_absent"),
        Transition("compensating", "compensation_fail", "compensation_failed"),
        # What cannot be undone stands in part: the run lets go, and another goes on from there.
        Transition("compensating", "give_up", "failed", guard="irreversible_begun, residue_listed"),
        Transition(
            "compensation_failed",
            "retry",
            "compensating",
            guard="asked_by_operator",
            irreversible=True,
        ),
        Transition(
            frozenset(
                {
                    "pending",
                    "planning",
                    "planned",
                    "policy_checking",
                    "awaiting_approval",
                    "approved",
                }
            ),
            "cancel",
            "canceled",
        ),
        Transition(
            "applying",
            "cancel",
            "compensating",
            guard="nothing_irreversible_begun",
            irreversible=True,
        ),
    ),
)

RUN_ACTIVE: frozenset[str] = RUN.active

DISCARD_EVENTS: Mapping[DiscardReason, str] = MappingProxyType(
    {
        "dry_run": "discard",
        "refused": "refuse",
        "expired": "expire",
        "digest_changed": "discard",
        "no_changes": "discard",
    }
)
