"""The list of a caller's tools, in one question: tools of the same facts are decided together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import policies
from control_plane.domain.caller import Caller
from control_plane.facts.tool import ToolFacts
from graphs.gatekeeper import Gatekeeper
from policies.decision import Decision
from policies.gate import Gate
from policies.request import Attribute, Principal, Resource
from policies.rows import RowPlan
from policies.sources import read_sources, texts_of
from server.catalog import policy_sources
from tests.approvals.conftest import engine
from tests.policies.test_rules import ROLES
from tools.registry import TOOLS

_BY_NAME = re.compile(r"\b(?:R|resource)\s*\.\s*id\b")


class Counting:
    """The real gate; what it was asked is kept."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.asked: list[Sequence[Resource]] = []

    @property
    def version(self) -> str:
        return self._gate.version

    def check(self, principal: Principal, resources: Sequence[Resource]) -> tuple[Decision, ...]:
        self.asked.append(resources)
        return self._gate.check(principal, resources)

    def plan(
        self,
        principal: Principal,
        kind: str,
        attr: Mapping[str, Attribute],
        actions: Sequence[str],
    ) -> RowPlan:
        raise AssertionError("nobody plans here")


@pytest.fixture(scope="module")
def gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("bundles")
    with engine(cerbos_binary, policy_sources(None), folder) as made:
        yield made


def holding(role: str) -> Caller:
    return Caller.model_validate(
        {
            "principal": "alice",
            "actor": "bot",
            "actor_kind": "agent",
            "roles": (role,),
            "tenants": ("acme",),
            "grant_id": "g",
        }
    )


@pytest.mark.parametrize("role", ROLES)
def test_what_is_decided_together_is_what_would_be_decided_one_by_one(
    gate: Gate, role: str
) -> None:
    keeper, caller = Gatekeeper(gate), holding(role)
    facts = {name: tool.facts for name, tool in TOOLS.items()}

    together = keeper.listed(caller, facts)

    assert together == {name for name in facts if keeper.listed(caller, {name: facts[name]})}
    assert together


def test_a_hundred_tools_of_two_kinds_are_one_question_about_two(gate: Gate) -> None:
    counting = Counting(gate)
    facts = {
        f"tool_{number:03d}": ToolFacts(risk="read" if number % 2 else "write", domain="record")
        for number in range(100)
    }

    listed = Gatekeeper(counting).listed(holding("support"), facts)

    assert listed == set(facts)
    assert [len(resources) for resources in counting.asked] == [2]


def test_no_rule_over_tools_knows_one_by_its_name() -> None:
    shipped = read_sources([Path(policies.__file__).parent / "cerbos"])
    texts = list(texts_of(shipped["mcp_tool.yaml"]))

    assert texts
    assert not [text for text in texts if _BY_NAME.search(text)]
    assert _BY_NAME.search('R.id == "tenant_get"')
