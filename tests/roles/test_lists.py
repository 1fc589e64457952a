"""A list holds what its reader could read one by one, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Table, select

from control_plane.domain.caller import ROLES
from control_plane.store import tables
from server.wiring import Face
from tests.roles.conftest import Cast
from tests.support.onboarding import ask

PAGES_MAX = 50
# The approver is a human alone, and the maker is an agent.
COLUMNS = [
    (role, column)
    for role in ROLES
    for column in ("own", "made")
    if (role, column) != ("approver", "made")
]


def whole(face: Face, tool: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
    """Every row of a listing, page after page."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    for _ in range(PAGES_MAX):
        result = ask(face, tool, **arguments, after=after)["result"]
        found += result[key]
        after = result["next_after"]
        if after is None:
            return found
    pytest.fail("the listing did not end")


def every_id(cast: Cast, table: Table) -> list[str]:
    """The ids of all rows of a table, whoever may read them."""
    with cast.house.store() as store, store.read() as connection:
        return [str(one) for one in connection.execute(select(table.c.id)).scalars()]


@pytest.mark.slice_of(3)
@pytest.mark.parametrize(("role", "column"), COLUMNS)
@pytest.mark.parametrize(
    ("tool", "one", "key", "handle", "table"),
    [
        ("run_list", "run_get", "runs", "run_id", tables.run),
        ("approval_list", "approval_get", "approvals", "approval_id", tables.approval),
    ],
    ids=["runs", "approvals"],
)
def test_a_list_has_exactly_what_can_be_read_by_its_id(
    cast: Cast, role: str, column: str, tool: str, one: str, key: str, handle: str, table: Table
) -> None:
    face = cast.faces[role, column]
    listed = whole(face, tool, key, limit=3)
    readable = {
        each
        for each in every_id(cast, table)
        if ask(face, one, **{handle: each})["outcome"] == "done"
    }
    assert {each[handle] for each in listed} == readable
    assert len(listed) == len(readable)
    for each in listed:
        told = ask(face, one, **{handle: each[handle]})["result"]
        assert {name: told[name] for name in each if name in told} == {
            name: value for name, value in each.items() if name in told
        }


@pytest.mark.parametrize("role", ["auditor", "platform_admin"])
def test_a_search_of_the_log_has_the_leaves_of_the_grants_tenants_alone(
    cast: Cast, role: str
) -> None:
    face = cast.faces[role, "own"]
    leaves = whole(face, "audit_search", "leaves", limit=100)
    seen = {leaf["tenant"] for leaf in leaves}
    assert cast.own in seen
    assert not {None, cast.foreign, cast.runs["foreign"]["tenant"]} & seen
