"""Every machine of the domain, exhaustively: never stuck, closed, watched, and drawn as it is."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.approval import ApprovalState
from control_plane.domain.campaign import CampaignState
from control_plane.domain.database import DatabaseState
from control_plane.domain.delivery import DeliveryState
from control_plane.domain.effect import EffectState
from control_plane.domain.invoice import InvoiceState
from control_plane.domain.machine import IllegalTransition, Machine
from control_plane.domain.machine_page import machine_page
from control_plane.domain.machines import MACHINES
from control_plane.domain.payment import PaymentState
from control_plane.domain.refund import RefundState
from control_plane.domain.run import DISCARD_EVENTS, RUN, RUN_ACTIVE, DiscardReason, RunState
from control_plane.domain.subscription import SubscriptionState
from control_plane.domain.tenant import TENANT, TenantState
from control_plane.errors import BadInput, Refused

PAGES = Path(__file__).parents[3] / "docs" / "machines"
STATES = {
    "tenant": TenantState,
    "subscription": SubscriptionState,
    "invoice": InvoiceState,
    "payment": PaymentState,
    "refund": RefundState,
    "delivery": DeliveryState,
    "run": RunState,
    "approval": ApprovalState,
    "effect": EffectState,
    "database": DatabaseState,
    "fleet_migration": CampaignState,
}
TERMINAL = {
    "tenant": {"purged"},
    "subscription": {"incomplete_expired", "canceled", "expired"},
    "invoice": {"paid", "void", "deleted"},
    "payment": {"succeeded", "failed", "canceled"},
    "refund": {"succeeded", "failed"},
    "delivery": {"delivered", "canceled", "expired"},
    "run": {"applied", "discarded", "canceled", "failed", "compensated"},
    "approval": {"rejected", "expired", "superseded", "void", "revoked", "consumed"},
    "effect": {"failed", "canceled", "undone"},
    "database": {"deleted"},
    "fleet_migration": {"done", "aborted"},
}
TRANSIENT: dict[str, set[str]] = {
    "tenant": {
        "provisioning",
        "updating",
        "migrating",
        "suspending",
        "resuming",
        "deprovisioning",
        "restoring",
        "purging",
    },
    "subscription": set(),
    "invoice": set(),
    "payment": {"processing"},
    "refund": set(),
    "delivery": {"sending"},
    "run": {
        "planning",
        "policy_checking",
        "applying",
        "verifying",
        "reconciling",
        "compensating",
    },
    "approval": set(),
    "effect": {"dispatched", "undoing"},
    "database": {
        "creating",
        "migrating",
        "backing_up",
        "restoring",
        "rotating",
        "cloning",
        "stopping",
        "starting",
        "deleting",
    },
    "fleet_migration": {"canary", "wave", "rest"},
}
# Where work cannot be called off, because something irreversible has begun on every way in.
SEALED: dict[str, set[str]] = {
    "tenant": {"purging"},
    "subscription": set(),
    "invoice": set(),
    "payment": {"processing"},
    "refund": set(),
    "delivery": {"sending"},
    "run": {"verifying", "reconciling", "compensating"},
    "approval": set(),
    "effect": {"dispatched", "undoing"},
    "database": {"deleting"},
    "fleet_migration": set(),
}
every_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))


def arrows(machine: Machine) -> dict[tuple[str, str], str]:
    return {(s, a.event): a.target for a in machine.transitions for s in a.sources}


def reachable(machine: Machine, start: str) -> set[str]:
    table = arrows(machine)
    seen = {start}
    for _ in machine.states:
        seen |= {target for (source, _), target in table.items() if source in seen}
    return seen


def test_every_machine_has_its_expected_sets_here() -> None:
    assert set(MACHINES) == set(STATES) == set(TERMINAL) == set(TRANSIENT) == set(SEALED)


@every_machine
def test_the_state_sets_are_exactly_the_listed(machine: Machine) -> None:
    assert machine.states == get_args(STATES[machine.name])
    assert machine.terminal == TERMINAL[machine.name]
    assert set(machine.transient) == TRANSIENT[machine.name]
    assert machine.stable == set(machine.states) - machine.terminal - set(machine.transient)
    assert machine.active == set(machine.states) - machine.terminal


@every_machine
def test_every_state_is_reached_and_reaches_a_resting_and_a_terminal_state(
    machine: Machine,
) -> None:
    assert reachable(machine, machine.initial) == set(machine.states)
    for state in machine.states:
        ahead = reachable(machine, state)
        assert ahead & (machine.stable | machine.terminal), state
        assert ahead & machine.terminal, state


@every_machine
def test_each_exit_of_work_alone_leads_to_rest(machine: Machine) -> None:
    # No matter what the watch fires, work ends: at most one more transient state on the way.
    for state, watch in machine.transient.items():
        for event in {watch.failure, watch.lapse, watch.cancel} - {""}:
            target = machine.next(state, event)
            if target in machine.transient:
                failure = machine.transient[target].failure
                assert machine.next(target, failure) not in machine.transient


@every_machine
def test_each_transient_state_is_watched_and_has_its_exits(machine: Machine) -> None:
    for state, watch in machine.transient.items():
        assert 0 < watch.deadline_s <= 86_400
        assert watch.heartbeat is True
        for event in (*watch.done, watch.failure, watch.lapse):
            assert machine.next(state, event) != state
        assert ("cancel" in machine.legal(state)) is (state not in SEALED[machine.name])
        assert (watch.cancel == "cancel") is (state not in SEALED[machine.name])


@every_machine
def test_every_pair_outside_the_table_is_refused_with_the_legal_events(machine: Machine) -> None:
    table = arrows(machine)
    refused = 0
    for state in machine.states:
        legal = tuple(sorted(event for source, event in table if source == state))
        assert machine.legal(state) == legal
        for event in (*machine.events, "no such event"):
            if (state, event) in table:
                assert machine.next(state, event) == table[state, event]
                continue
            refused += 1
            with pytest.raises(IllegalTransition) as caught:
                machine.next(state, event)
            assert isinstance(caught.value, Refused)
            assert caught.value.code == "illegal_transition"
            assert caught.value.legal == legal
            assert all(name in str(caught.value) for name in legal)
            assert "no such event" not in str(caught.value)
    assert refused == len(machine.states) * (len(machine.events) + 1) - len(table)


@every_machine
def test_a_terminal_state_has_no_exit_and_says_so(machine: Machine) -> None:
    for state in machine.terminal:
        assert machine.legal(state) == ()
        with pytest.raises(IllegalTransition, match="the state is terminal"):
            machine.next(state, machine.events[0])


@every_machine
def test_a_state_of_no_machine_is_bad_input(machine: Machine) -> None:
    with pytest.raises(BadInput, match="state: must be a state of the") as caught:
        machine.legal("elsewhere")
    assert "elsewhere" not in str(caught.value)


@every_machine
@settings(max_examples=60, deadline=None)
@given(choices=st.lists(st.integers(min_value=0, max_value=999), max_size=60))
def test_a_random_walk_is_never_stuck_outside_a_terminal_state(
    machine: Machine, choices: list[int]
) -> None:
    state = machine.initial
    for choice in choices:
        legal = machine.legal(state)
        assert bool(legal) is (state not in machine.terminal)
        if not legal:
            return
        state = machine.next(state, legal[choice % len(legal)])
        assert state in machine.states


@every_machine
def test_the_page_in_the_docs_is_the_machine(machine: Machine) -> None:
    # After a wanted change, write machine_page(machine) to this file.
    page = PAGES / f"{machine.name}.md"
    assert page.read_text(encoding="utf-8") == machine_page(machine)


def test_the_docs_hold_a_page_for_each_machine_and_no_other() -> None:
    # Beside them lies the page of the machines of a call, which has a test of its own.
    assert {page.stem for page in PAGES.glob("*.md")} == {*MACHINES, "graphs"}


def test_the_picture_has_every_arrow_once() -> None:
    for machine in MACHINES.values():
        lines = machine.mermaid().splitlines()
        drawn = [line for line in lines if ": " in line]
        assert len(drawn) == len(set(drawn)) == len(arrows(machine))
        assert [line for line in lines if line.endswith("--> [*]")] == [
            f"    {state} --> [*]" for state in machine.states if state in machine.terminal
        ]


def test_a_run_can_be_canceled_until_something_irreversible_begins() -> None:
    before = {"pending", "planning", "planned", "policy_checking", "awaiting_approval", "approved"}
    for state in RUN.states:
        if state in before:
            assert RUN.next(state, "cancel") == "canceled"
        elif state == "applying":
            assert RUN.next(state, "cancel") == "compensating"
            assert RUN.transition(state, "cancel").guard == "nothing_irreversible_begun"
        else:
            assert "cancel" not in RUN.legal(state)


def test_a_run_of_unknown_standing_is_only_reconciled() -> None:
    assert RUN.next("applying", "lose") == "unknown"
    assert RUN.legal("unknown") == ("reconcile",)


def test_nothing_is_applied_that_did_not_start_from_approved_or_from_a_settled_effect() -> None:
    sources = {source for (source, _), target in arrows(RUN).items() if target == "applying"}
    assert sources == {"approved", "reconciling"}
    assert {s for (s, _), t in arrows(RUN).items() if t == "approved"} == {
        "policy_checking",
        "awaiting_approval",
    }
    assert {s for (s, _), t in arrows(RUN).items() if t == "applied"} == {"verifying"}


def test_a_new_attempt_goes_through_a_new_plan() -> None:
    assert RUN.next("errored", "retry") == "pending"
    assert RUN.legal("compensation_failed") == ("retry",)
    assert RUN.next("compensation_failed", "retry") == "compensating"


def test_each_reason_to_discard_has_an_event_that_discards() -> None:
    assert set(DISCARD_EVENTS) == set(get_args(DiscardReason))
    table = arrows(RUN)
    for event in DISCARD_EVENTS.values():
        assert {target for (_, name), target in table.items() if name == event} == {"discarded"}
    assert {event for (_, event), t in table.items() if t == "discarded"} == set(
        DISCARD_EVENTS.values()
    )


def test_an_active_run_is_one_that_has_not_ended() -> None:
    assert set(RUN.states) - TERMINAL["run"] == RUN_ACTIVE


def test_a_purge_is_reached_only_from_a_deprovisioned_tenant() -> None:
    assert {s for (s, _), t in arrows(TENANT).items() if t == "purging"} == {"deprovisioned"}
    assert {s for (s, _), t in arrows(TENANT).items() if t == "purged"} == {"purging"}
