"""The gate before a real engine, before a lying one and before none: it never allows by mistake."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest
from cerbos.effect.v1 import effect_pb2
from cerbos.engine.v1 import engine_pb2
from cerbos.schema.v1 import schema_pb2
from google.protobuf import json_format, struct_pb2

from policies.errors import BadFacts, GateError, GateUnavailable
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from policies.request import ACTIONS_MAX, RESOURCES_MAX, Principal, Resource
from tests.policies.lying import Alter, Liar, Response, lying_gate

ANN = Principal("ann", ("platform_admin",), {"actor_kind": "human", "actor": ""})
WORKSPACE = Resource("workspace", "w", {"exists": True, "member": True}, ("read",))
TOOL = Resource("mcp_tool", "t", {"risk": "write", "domain": "tenant"}, ("list", "call"))


@pytest.fixture
def liar() -> Iterator[tuple[Liar, Gate]]:
    with lying_gate() as found:
        yield found


def output(entry_index: int, value: object, action: str = "call", error: str = "") -> Alter:
    def alter(response: Response) -> None:
        val = json_format.ParseDict({"v": value}, struct_pb2.Struct()).fields["v"]
        response.results[entry_index].outputs.add(src="p#r", action=action, val=val, error=error)

    return alter


def test_an_unaltered_answer_is_taken(liar: tuple[Liar, Gate]) -> None:
    first, second = liar[1].check(ANN, [TOOL, WORKSPACE])
    assert (first.kind, first.id, first.bundle, first.decision_id) == (
        "mcp_tool",
        "t",
        "d1",
        "call",
    )
    assert first.allows("call")
    assert second.allows("read")


def breaks_the_schema(response: Response) -> None:
    response.results[1].validation_errors.append(schema_pb2.ValidationError(path="/exists"))


LIES: dict[str, Alter] = {
    "nothing": lambda r: r.results.__delitem__(slice(None)),
    "one too few": lambda r: r.results.pop(),
    "one too many": lambda r: r.results.append(r.results[0]),
    "another order": lambda r: r.results.reverse(),
    "another id": lambda r: setattr(r.results[0].resource, "id", "other"),
    "another kind": lambda r: setattr(r.results[0].resource, "kind", "other"),
    "another version": lambda r: setattr(r.results[0].resource, "policy_version", "d2"),
    "an action missing": lambda r: r.results[0].actions.pop("call"),
    "an action more": lambda r: r.results[0].actions.update({"x": effect_pb2.EFFECT_ALLOW}),
    "no effect": lambda r: r.results[0].actions.update({"call": effect_pb2.EFFECT_UNSPECIFIED}),
    "an effect to come": lambda r: r.results[0].actions.update({"call": 9}),  # type: ignore[dict-item]
    "no policy": lambda r: r.results[0].meta.Clear(),
    "no call id": lambda r: setattr(r, "cerbos_call_id", ""),
    "an output for another action": output(0, None, action="x"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_does_not_fit_is_unavailable(liar: tuple[Liar, Gate], lie: str) -> None:
    service, gate = liar
    service.alter = LIES[lie]
    with pytest.raises(GateUnavailable):
        gate.check(ANN, [TOOL, WORKSPACE])


@pytest.mark.parametrize(
    "alter",
    [
        output(0, {"obligation": "mask"}),
        output(0, {"obligation": "approval"}),
        output(0, "free text"),
        output(0, None, error="no such key"),
        breaks_the_schema,
    ],
    ids=["unknown", "on an allow", "text", "failed", "schema"],
)
def test_an_output_or_fact_that_breaks_the_contract_is_bad_facts(
    liar: tuple[Liar, Gate], alter: Alter
) -> None:
    service, gate = liar
    service.alter = alter
    with pytest.raises(BadFacts):
        gate.check(ANN, [TOOL, WORKSPACE])


def test_an_error_in_the_engine_is_unavailable(liar: tuple[Liar, Gate]) -> None:
    service, gate = liar

    def fail(_: Response) -> None:
        raise RuntimeError("engine")

    service.alter = fail
    with pytest.raises(GateUnavailable):
        gate.check(ANN, [TOOL])


def test_more_resources_than_the_bound_are_bad_facts_and_the_bound_is_served(gate: Gate) -> None:
    with pytest.raises(BadFacts):
        gate.check(ANN, [WORKSPACE] * (RESOURCES_MAX + 1))
    with pytest.raises(BadFacts):
        gate.check(ANN, [])
    assert len(gate.check(ANN, [WORKSPACE] * RESOURCES_MAX)) == RESOURCES_MAX
    many = tuple(f"a{number}" for number in range(ACTIONS_MAX))
    (decision,) = gate.check(ANN, [Resource("workspace", "w", WORKSPACE.attr, many)])
    assert not any(decision.allows(action) for action in many)


def test_one_call_decides_many_in_the_order_asked(gate: Gate) -> None:
    other = Resource("workspace", "w", {"exists": False, "member": True}, ("read",))
    decisions = gate.check(ANN, [other, TOOL, WORKSPACE, other])
    assert [found.kind for found in decisions] == [
        "workspace",
        "mcp_tool",
        "workspace",
        "workspace",
    ]
    assert [found.allows("read") for found in decisions] == [False, False, True, False]
    assert len({found.decision_id for found in decisions}) == 1
    assert decisions[1].actions["call"].policy == f"resource.mcp_tool.v{gate.version}"


def test_a_fact_that_breaks_the_schema_is_named_without_its_value(gate: Gate) -> None:
    odd = Resource("mcp_tool", "t", {"risk": "s3cret", "domain": "tenant"}, ("call",))
    with pytest.raises(BadFacts) as caught:
        gate.check(ANN, [odd])
    assert caught.value.part == "mcp_tool.risk"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("facts", [{"risk": "read"}, {"risk": "read", "domain": "d", "more": 1}])
def test_a_fact_missing_or_too_many_is_bad_facts(gate: Gate, facts: dict[str, str]) -> None:
    with pytest.raises(BadFacts):
        gate.check(ANN, [Resource("mcp_tool", "t", facts, ("call",))])


def test_a_principal_that_breaks_the_schema_is_bad_facts(gate: Gate) -> None:
    with pytest.raises(BadFacts) as caught:
        gate.check(Principal("ann", ("viewer",), {"actor_kind": "god", "actor": ""}), [TOOL])
    assert caught.value.part == "principal.actor_kind"


def test_text_that_is_no_unicode_is_bad_facts(gate: Gate) -> None:
    for text in ("\ud800",):
        with pytest.raises(BadFacts):
            gate.check(ANN, [Resource("mcp_tool", text, TOOL.attr, ("call",))])
        with pytest.raises(BadFacts):
            gate.check(
                ANN, [Resource("mcp_tool", "t", {"risk": "write", "domain": text}, ("call",))]
            )


def test_an_unknown_kind_is_denied_by_no_policy(gate: Gate) -> None:
    (decision,) = gate.check(ANN, [Resource("ghost", "g", {}, ("read",))])
    assert not decision.actions["read"].allowed
    assert decision.actions["read"].policy == ""


def test_another_bundle_version_is_denied(pdp: Pdp) -> None:
    gate = Gate(pdp.socket, "d0000000000000000", deadline_s=5.0)
    try:
        (decision,) = gate.check(ANN, [WORKSPACE])
    finally:
        gate.close()
    assert not decision.allows("read")
    assert decision.actions["read"].policy == ""


def test_many_threads_get_their_own_answers(gate: Gate) -> None:
    def ask(number: int) -> bool:
        member = number % 2 == 0
        asked = Resource("workspace", f"w{number}", {"exists": True, "member": member}, ("read",))
        (decision,) = gate.check(ANN, [asked])
        return decision.id == f"w{number}" and decision.allows("read") is member

    with futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_no_engine_is_unavailable_at_once(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "none", "d1", deadline_s=30.0)
    try:
        with pytest.raises(GateUnavailable):
            gate.check(ANN, [WORKSPACE])
    finally:
        gate.close()


def test_a_closed_gate_is_unavailable(pdp: Pdp) -> None:
    gate = Gate(pdp.socket, pdp.bundle.version)
    gate.close()
    with pytest.raises(GateUnavailable):
        gate.check(ANN, [WORKSPACE])


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00" * 64])
def test_a_socket_that_speaks_garbage_is_unavailable(said: bytes) -> None:
    folder = new_runtime_dir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    listener.listen(8)
    listener.settimeout(0.1)
    done = threading.Event()
    held: list[socket.socket] = []

    def speak() -> None:
        while not done.is_set():
            try:
                held.append(listener.accept()[0])
                held[-1].sendall(said)
            except OSError:
                continue

    thread = threading.Thread(target=speak)
    thread.start()
    gate = Gate(folder / "s", "d1", deadline_s=0.5)
    try:
        with pytest.raises(GateError):
            gate.check(ANN, [WORKSPACE])
    finally:
        gate.close()
        done.set()
        thread.join(5)
        for opened in [*held, listener]:
            opened.close()
        shutil.rmtree(folder)


def test_the_outputs_of_one_resource_are_not_another_s(liar: tuple[Liar, Gate]) -> None:
    service, gate = liar

    def alter(response: Response) -> None:
        response.results[0].actions["call"] = effect_pb2.EFFECT_DENY
        response.results[0].outputs.append(
            engine_pb2.OutputEntry(
                src="p#r",
                action="call",
                val=json_format.ParseDict({"obligation": "approval"}, struct_pb2.Value()),
            )
        )

    service.alter = alter
    first, second = gate.check(ANN, [TOOL, TOOL])
    assert first.actions["call"].needs_approval
    assert first.allows("list")
    assert second.allows("call")
