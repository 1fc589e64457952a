"""The states of one side effect and its machine. Not the run it belongs to, nor how it is done.

An effect is dispatched once: a further attempt is another effect. One whose standing is unknown is
settled by a probe or a human, never by trying again.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from control_plane.domain.machine import Machine, Transient, Transition

EffectState: TypeAlias = Literal[
    "planned",
    "dispatched",
    "succeeded",
    "failed",
    "unknown",
    "canceled",
    "undoing",
    "undone",
    "undo_failed",
]

# Its intent is written, and it is not undone: something of it may stand.
BEGUN: Final[frozenset[str]] = frozenset({"dispatched", "succeeded", "unknown"})

EFFECT = Machine(
    name="effect",
    initial="planned",
    states=get_args(EffectState),
    stable=frozenset({"planned", "succeeded", "unknown", "undo_failed"}),
    transient={
        "dispatched": Transient(3_600, ("succeed",), lapse="lose", cancel=""),
        "undoing": Transient(3_600, ("undone",), cancel=""),
    },
    terminal=frozenset({"failed", "canceled", "undone"}),
    transitions=(
        Transition(
            "planned",
            "dispatch",
            "dispatched",
            guard="permit_consumed, intent_recorded",
            irreversible=True,
        ),
        Transition("planned", "cancel", "canceled"),
        Transition("dispatched", "succeed", "succeeded", guard="observed_so"),
        Transition("dispatched", "fail", "failed", guard="nothing_remained"),
        Transition("dispatched", "lose", "unknown"),
        Transition("unknown", "settle_present", "succeeded", guard="probed_or_attested"),
        Transition("unknown", "settle_absent", "failed", guard="probed_or_attested"),
        Transition("succeeded", "undo", "undoing", guard="has_undo", irreversible=True),
        Transition("undoing", "undone", "undone", guard="observed_absent"),
        Transition("undoing", "fail", "undo_failed", guard="cause_recorded"),
        # An undo begins with a probe, so it may be done again.
        Transition("undo_failed", "retry", "undoing", guard="asked_by_run", irreversible=True),
    ),
)
