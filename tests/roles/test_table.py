"""The table of roles: every role, every tool, own and foreign objects; over every way the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mcp_types as types
import pytest
import yaml

from control_plane.domain.caller import ROLES
from graphs.errors import Unlisted
from tests.roles.conftest import Cast
from tests.roles.table import CELLS, TABLE, Cell, read, stand_ins, word
from tests.support.onboarding import RUN_DEADLINE_S, ask, follow
from tests.support.waiting import until
from tests.support.ways import ERAS, SOCKET, WAYS, Person, Told, Way
from tools.parsing import parse_arguments
from tools.registry import TOOLS

ALLOWED = {"done", "running", "planned"}
# What they need nobody here has: a proven backup, a campaign, a login, a database that was left,
# every tenant.
# They are done in tests/control_plane/handlers, of credentials, restores, moves and fleets.
WAITING = {
    "database_migrate",
    "database_restore",
    "database_rotate_credentials",
    "tenant_move_finalise",
    *(f"fleet_migration_{act}" for act in ("start", "status", "pause", "abort")),
}
UNLISTED = {"code": types.INVALID_PARAMS, "message": "Unknown tool"}
# Every one of them is its own cell as well; the step meets each column in turn.
UNLISTED_STEP = 4
ABSENT = ("nothing_of_that_name", "WHOAMI", "whoami.")
HANDLES = {
    *("run_get", "run_list", "run_cancel", "run_plan", "run_log", "cost_estimate"),
    *("approval_get", "approval_list"),
}
SHOWN = set(stand_ins())
MOVING = {
    "subscription_simulate": ("since", "until"),
    "subscription_preview_change": ("proration_at",),
}
OVER = pytest.mark.parametrize(
    "over",
    [
        pytest.param(WAYS, id="http and stdio"),
        pytest.param((WAYS[0], SOCKET), id="socket", marks=pytest.mark.sweep),
    ],
)


def called(way: Way, who: Person, cell: Cell, arguments: Mapping[str, Any]) -> Told:
    """The answer to one cell."""
    return way.ask(who, "tools/call", name=cell.tool, arguments=dict(arguments))


def said(told: Told) -> str:
    """An answer in the table's words."""
    if told.error == UNLISTED:
        return "unlisted"
    if told.error is not None:
        return str(told.error)
    if told.structured is None:
        return "bad_input" if told.parsed["result"]["isError"] else "nothing"
    outcome, code = told.structured["outcome"], told.structured.get("code")
    return f"{outcome}:{code}" if outcome in ("refused", "failed") else str(outcome)


def settled(cast: Cast, cell: Cell, told: Told) -> Told:
    """The answer without the id of a run that only its dry run made; back when that run is over.

    Without the instants of a quote or of a look ahead, too: it begins when it is asked for.
    """
    if cell.tool in MOVING and said(told) == "done":
        assert told.structured is not None
        seen = told.structured["result"]
        for name in MOVING[cell.tool]:
            message = told.message.replace(seen[name].encode(), name.encode())
            told = replace(told, message=message)
        return told
    run_id = (told.structured or {}).get("run_id")
    if said(told) != "running" or run_id is None:
        return told
    follow(cast.face(cell.role, cell.column), run_id, {"discarded"})
    return replace(told, message=told.message.replace(run_id.encode(), b"a run"))


def require_same_bytes(told: Mapping[str, Told]) -> None:
    """Within an era the whole message is the same, but for HTTP's own head; beyond it, the content."""
    for era in ERAS:
        messages = {name: one.whole for name, one in told.items() if name.endswith(era)}
        assert len(set(messages.values())) <= 1, messages
    contents = {name: one.content for name, one in told.items()}
    assert len(set(contents.values())) == 1, contents


# the table itself ------------------------------------------------------------------------------------


def test_the_table_has_every_role_and_every_tool() -> None:
    assert set(TABLE) == set(ROLES)
    for role, tools in TABLE.items():
        assert set(tools) == set(TOOLS), role
        assert all({"own", "foreign", "wrong"} <= set(columns) for columns in tools.values()), role


@pytest.mark.parametrize("role", sorted(set(TABLE) - {"operator", "approver"}))
def test_a_tool_for_what_someone_made_has_a_cell_for_its_maker(role: str) -> None:
    # The operator's own is the maker's, and an approver is no agent.
    assert {tool for tool, columns in TABLE[role].items() if "made" in columns} == HANDLES


def test_a_row_that_stands_twice_is_refused() -> None:
    with pytest.raises(AssertionError, match="stands twice"):
        read("viewer:\n  whoami: {own: done}\n  whoami: {own: unlisted}\n")
    with pytest.raises(yaml.YAMLError):
        read("viewer: !!python/object:builtins.object {}\n")


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_tool_has_arguments_of_its_own_for_each_column(cast: Cast, tool: str) -> None:
    spec = TOOLS[tool]
    own, foreign = (cast.arguments("operator", tool, column) for column in ("own", "foreign"))
    for arguments in (own, foreign):
        parse_arguments(spec, arguments)
    named = {"tenant", "run_id", "approval_id"} & set(spec.arguments.model_fields)
    # Of several that exclude each other one is named.
    given = named & own.keys()
    assert bool(given) == bool(named), own
    assert all(own[name] != foreign[name] for name in given), (own, foreign)


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_tool_is_unlisted_in_every_column_or_in_none(role: str) -> None:
    for tool, columns in TABLE[role].items():
        assert set(columns.values()) == {"unlisted"} or "unlisted" not in columns.values(), tool


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_listed_tool_has_a_call_that_is_done(role: str) -> None:
    # Each such cell is called below.
    for tool, columns in TABLE[role].items():
        if "unlisted" not in columns.values():
            assert ALLOWED & set(columns.values()) or tool in WAITING, tool


def test_the_cells_that_stand_for_the_others_have_each_kind_of_answer() -> None:
    assert {word(cell) for cell in SHOWN} == {word(cell) for cell in CELLS}
    assert {cell.role for cell in SHOWN} == set(ROLES)
    assert {cell.tool for cell in SHOWN} == set(TOOLS)


# what the faces answer -------------------------------------------------------------------------------


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_a_role_gets_from_a_tool_what_the_table_says(
    cast: Cast, ways: dict[str, Way], cell: Cell
) -> None:
    person, arguments = cast.person(cell.role, cell.column), cast.arguments(*cell)
    told = called(ways[WAYS[0]], person, cell, arguments)
    assert said(told) == word(cell), told
    settled(cast, cell, told)


@pytest.mark.slice_of(3)
@OVER
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id="-".join(cell), marks=() if cell in SHOWN else pytest.mark.sweep)
        for cell in CELLS
    ],
)
def test_a_cell_is_the_same_bytes_over_every_way(
    cast: Cast, ways: dict[str, Way], cell: Cell, over: tuple[str, ...]
) -> None:
    person, arguments = cast.person(cell.role, cell.column), cast.arguments(*cell)
    if word(cell) == "done" and TOOLS[cell.tool].changing:
        # Done once before: each way repeats it, and is told what has become of it.
        called(ways[WAYS[0]], person, cell, arguments)
        if cell.tool == "run_cancel":
            face, run = cast.face(cell.role, cell.column), {"run_id": arguments["run_id"]}
            until(
                lambda: ask(face, "run_get", **run)["result"]["state"] == "canceled",
                "the run is canceled",
                RUN_DEADLINE_S,
            )
    told = {name: settled(cast, cell, called(ways[name], person, cell, arguments)) for name in over}
    assert {name: said(one) for name, one in told.items()} == dict.fromkeys(over, word(cell))
    require_same_bytes(told)


@OVER
@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_role_is_listed_over_every_way_what_the_table_does_not_call_unlisted(
    cast: Cast, ways: dict[str, Way], role: str, over: tuple[str, ...]
) -> None:
    expected = [tool for tool in TOOLS if "unlisted" not in TABLE[role][tool].values()]
    told = {name: ways[name].ask(cast.person(role, "own"), "tools/list") for name in over}
    for name, one in told.items():
        listed = [tool["name"] for tool in one.parsed["result"]["tools"]]
        assert listed == expected, name
    require_same_bytes(told)


@OVER
@pytest.mark.parametrize("role", sorted(TABLE))
def test_an_unlisted_tool_is_over_every_way_in_each_byte_an_unknown_one(
    cast: Cast, ways: dict[str, Way], role: str, over: tuple[str, ...]
) -> None:
    person = cast.person(role, "own")
    asked = [(Cell(role, absent, "own"), dict[str, Any]()) for absent in ABSENT]
    unlisted = [cell for cell in CELLS if cell.role == role and word(cell) == "unlisted"]
    asked += [(cell, cast.arguments(*cell)) for cell in unlisted[::UNLISTED_STEP]]
    told = {
        name: {called(ways[name], person, cell, arguments) for cell, arguments in asked}
        for name in over
    }
    assert {name: len(found) for name, found in told.items()} == dict.fromkeys(over, 1), told
    each = {name: found.pop() for name, found in told.items()}
    assert {name: one.error for name, one in each.items()} == dict.fromkeys(over, UNLISTED)
    require_same_bytes(each)


@pytest.mark.parametrize("role", sorted(TABLE))
def test_a_list_of_tenants_has_none_outside_the_grant(cast: Cast, role: str) -> None:
    if "unlisted" in TABLE[role]["tenant_list"].values():
        with pytest.raises(Unlisted):
            cast.face(role, "own").front.call("tenant_list", {})
        return
    listed = ask(cast.face(role, "own"), "tenant_list")["result"]["tenants"]
    assert [one["tenant"] for one in listed] == sorted(
        [cast.own, cast.shut, cast.gone, cast.paying, cast.ending]
    )
