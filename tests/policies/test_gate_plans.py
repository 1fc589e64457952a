"""A plan before a lying engine and before none: the gate takes none that does not fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cerbos.schema.v1 import schema_pb2

from policies.errors import BadFacts, GateUnavailable
from policies.gate import Gate
from policies.request import ACTIONS_MAX, Principal
from policies.rows import RowPlan
from tests.policies.lying import AlterPlan, Liar, Plan, lying_gate

ANN = Principal("ann", ("viewer",), {"actor_kind": "human", "actor": ""})


@pytest.fixture
def liar() -> Iterator[tuple[Liar, Gate]]:
    with lying_gate() as found:
        yield found


PLAN_LIES: dict[str, AlterPlan] = {
    "another kind": lambda r: setattr(r, "resource_kind", "other"),
    "another version": lambda r: setattr(r, "policy_version", "d2"),
    "no action": lambda r: r.actions.__delitem__(slice(None)),
    "another action": lambda r: r.actions.append("x"),
    "another order": lambda r: r.actions.reverse(),
    "no call id": lambda r: setattr(r, "cerbos_call_id", ""),
    "no filter": lambda r: r.ClearField("filter"),
    "a kind to come": lambda r: setattr(r.filter, "kind", 9),
    "a condition too many": lambda r: setattr(r.filter.condition, "variable", "R.attr.x"),
    "no policy": lambda r: setattr(r.meta, "filter_debug", "NO_MATCH"),
}


def plan(gate: Gate) -> RowPlan:
    return gate.plan(ANN, "rows_x", {"exists": True}, ("read", "read_pii"))


def test_an_unaltered_plan_is_taken(liar: tuple[Liar, Gate]) -> None:
    assert plan(liar[1]) == RowPlan("all")
    assert plan(liar[1]).decision_id == "call"


@pytest.mark.parametrize("lie", PLAN_LIES)
def test_a_plan_that_does_not_fit_is_unavailable(liar: tuple[Liar, Gate], lie: str) -> None:
    service, gate = liar
    service.alter_plan = PLAN_LIES[lie]
    with pytest.raises(GateUnavailable):
        plan(gate)


def test_a_plan_over_facts_that_break_the_schema_is_bad_facts(liar: tuple[Liar, Gate]) -> None:
    service, gate = liar
    error = schema_pb2.ValidationError(path="/exists", message="s3cret")
    service.alter_plan = lambda response: response.validation_errors.append(error)
    with pytest.raises(BadFacts) as caught:
        plan(gate)
    assert caught.value.part == "rows_x.exists"
    assert "s3cret" not in str(caught.value)


def test_a_plan_is_asked_for_within_the_same_bounds(liar: tuple[Liar, Gate]) -> None:
    _, gate = liar
    many = tuple(f"a{number}" for number in range(ACTIONS_MAX + 1))
    for actions in ((), ("read", "read"), ("a:b",), many):
        with pytest.raises(BadFacts):
            gate.plan(ANN, "rows_x", {}, actions)
    for kind in ("", "a:b"):
        with pytest.raises(BadFacts):
            gate.plan(ANN, kind, {}, ("read",))
    with pytest.raises(BadFacts):
        gate.plan(ANN, "rows_x", {"x": "\ud800"}, ("read",))
    with pytest.raises(BadFacts):
        gate.plan(ANN, "rows_x", {"x": float("nan")}, ("read",))


def test_no_engine_and_an_engine_that_fails_have_no_plan(
    liar: tuple[Liar, Gate], tmp_path: Path
) -> None:
    service, gate = liar

    def fail(_: Plan) -> None:
        raise RuntimeError("engine")

    service.alter_plan = fail
    with pytest.raises(GateUnavailable):
        plan(gate)
    nobody = Gate(tmp_path / "none", "d1", deadline_s=5.0)
    with pytest.raises(GateUnavailable):
        plan(nobody)
    nobody.close()
    with pytest.raises(GateUnavailable):
        plan(nobody)


def test_a_plan_that_does_not_come_ends_at_the_deadline(liar: tuple[Liar, Gate]) -> None:
    service, gate = liar
    held = threading.Event()
    service.alter_plan = lambda _: held.wait(10)
    gate._deadline_s = 0.2
    try:
        with pytest.raises(GateUnavailable):
            plan(gate)
    finally:
        held.set()
