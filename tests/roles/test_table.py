"""The table of roles: every role, every tool, own and foreign tenants, against the real policy engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.domain.caller import ROLES
from graphs.errors import Unlisted
from server.wiring import Face
from tests.roles.conftest import Cast
from tests.support.onboarding import ask, follow
from tools.registry import TOOLS

TABLE: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
    Path(__file__).with_name("table.yaml").read_text()
)
CELLS = [
    (role, tool, column)
    for role, tools in TABLE.items()
    for tool, columns in tools.items()
    for column in columns
]
ALLOWED = {"done", "running"}


def said(face: Face, tool: str, arguments: dict[str, Any]) -> str:
    """An answer in the table's words."""
    try:
        answered = face.front.call(tool, arguments)
    except Unlisted:
        return "unlisted"
    if answered.outcome is None:
        return "bad_input"
    outcome = answered.outcome
    if outcome.run_id is not None and outcome.outcome == "running":
        follow(face, outcome.run_id, {"discarded"})
    if outcome.outcome in ("refused", "failed"):
        return f"{outcome.outcome}:{outcome.code}"
    return outcome.outcome


def test_the_table_has_every_role_and_every_tool() -> None:
    assert set(TABLE) == set(ROLES)
    for role, tools in TABLE.items():
        assert set(tools) == set(TOOLS), role
        assert all({"own", "foreign", "wrong"} <= set(columns) for columns in tools.values()), role


@pytest.mark.parametrize(("role", "tool", "column"), CELLS)
def test_a_role_gets_from_a_tool_what_the_table_says(
    cast: Cast, role: str, tool: str, column: str
) -> None:
    arguments = cast.arguments(role, tool, column)
    if column == "wrong" and not TOOLS[tool].arguments.model_fields:
        arguments = {"surplus": 1}
    assert said(cast.face(role, column), tool, arguments) == TABLE[role][tool][column]


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_role_is_listed_what_the_table_does_not_call_unlisted(cast: Cast, role: str) -> None:
    listed = {tool.name for tool in cast.face(role, "own").front.listed()}
    assert listed == {
        tool for tool, columns in TABLE[role].items() if "unlisted" not in columns.values()
    }


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_tool_is_unlisted_in_every_column_or_in_none(role: str) -> None:
    for tool, columns in TABLE[role].items():
        assert set(columns.values()) == {"unlisted"} or "unlisted" not in columns.values(), tool


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_listed_tool_has_a_call_that_is_done(role: str) -> None:
    # Each such cell was called above.
    for tool, columns in TABLE[role].items():
        if "unlisted" not in columns.values():
            assert ALLOWED & set(columns.values()), tool


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_list_of_tenants_has_none_outside_the_grant(cast: Cast, role: str) -> None:
    if "unlisted" in TABLE[role]["tenant_list"].values():
        with pytest.raises(Unlisted):
            cast.face(role, "own").front.call("tenant_list", {})
        return
    listed = ask(cast.face(role, "own"), "tenant_list")["result"]["tenants"]
    assert [one["tenant"] for one in listed] == [cast.own]
