"""Sums over rows with a policy of their own: only what the caller may see is counted, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from server.wiring import Face
from tests.support.house import build_house, fresh_key
from tests.support.onboarding import ask, onboard
from tests.support.postgres import raze
from tests.support.workers import running_worker

CATALOG = Path(__file__).parents[2] / "support" / "ruled_catalog"
TENANT = "acme"
ORDERS = [
    ("draft", "north", 1, "ann"),
    ("placed", "north", 20, "ann"),
    ("paid", "north", 300, "bob"),
    ("paid", "north", 4000, "cid"),
    ("paid", "south", 50_000, "dan"),
]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)]
)
def faces(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path
) -> Iterator[tuple[Face, Face]]:
    """An administrator's and a supporter's, over one tenant's orders."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    folder = tmp_path_factory.mktemp("sums")
    house = build_house(folder, cerbos_binary, postgres=server, catalog=CATALOG)
    with ExitStack() as stack:
        if server is not None:
            stack.callback(raze, server, house.workspace.id)
        stack.enter_context(running_worker(house))
        onboard(stack.enter_context(house.face(house.issue("operator", TENANT))), TENANT)
        tokens = (house.issue("platform_admin", TENANT), house.issue("support", TENANT))
        admin, support = (stack.enter_context(house.face(token)) for token in tokens)
        for status, region, amount, buyer in ORDERS:
            values = {"status": status, "region": region, "amount": amount, "buyer": buyer}
            made = ask(
                admin,
                "record_create",
                tenant=TENANT,
                collection="orders",
                values=values,
                idempotency_key=fresh_key(),
            )
            assert made["outcome"] == "done", made
        yield admin, support


def summed(face: Face, collection: str = "orders", **more: Any) -> dict[str, Any]:
    asked = {"measures": [{"op": "count"}, {"op": "sum", "field": "amount"}], **more}
    return ask(face, "record_aggregate", tenant=TENANT, collection=collection, **asked)


@pytest.mark.long
def test_only_rows_that_may_be_seen_are_added_up(faces: tuple[Face, Face]) -> None:
    admin, support = faces
    (everything,) = summed(admin)["result"]["groups"]
    assert everything["values"] == {"count": 5, "sum_amount": 54_321}
    (seen,) = summed(support)["result"]["groups"]
    assert seen["values"] == {"count": 4, "sum_amount": 54_320}


def test_groups_come_in_their_order(faces: tuple[Face, Face]) -> None:
    _, support = faces
    result = summed(support, group_by=["region", "status"])["result"]
    told = [(one["by"]["region"], one["by"]["status"], one["rows"]) for one in result["groups"]]
    assert told == [("north", "paid", 2), ("north", "placed", 1), ("south", "paid", 1)]
    assert (result["more_groups"], result["group_rows_min"]) == (False, 1)


def test_a_sum_by_a_field_counts_only_rows_in_which_it_may_be_read(
    faces: tuple[Face, Face],
) -> None:
    admin, support = faces
    known = {"op": "is_null", "field": "buyer", "value": False}
    (everyone,) = summed(admin, filter=known)["result"]["groups"]
    assert everyone["rows"] == 5
    (seen,) = summed(support, filter=known)["result"]["groups"]
    # Three of the north are no drafts: just enough for the group's smallest size.
    assert (seen["rows"], seen["values"]["sum_amount"]) == (3, 4320)


def test_a_figure_over_few_people_is_left_out(faces: tuple[Face, Face]) -> None:
    admin, _ = faces
    result = summed(admin, group_by=["buyer"])["result"]
    assert (result["groups"], result["group_rows_min"]) == ([], 3)
    alone = {"op": "eq", "field": "buyer", "value": "ann"}
    assert summed(admin, filter=alone)["result"]["groups"] == []


def test_rows_whose_policy_is_not_exact_as_a_filter_are_neither_added_up_nor_changed_in_bulk(
    faces: tuple[Face, Face],
) -> None:
    admin, _ = faces
    every = {"op": "is_null", "field": "weight", "value": True}
    bulk = {"tenant": TENANT, "collection": "crates", "idempotency_key": fresh_key()}
    for refused in (
        summed(admin, "crates", measures=[{"op": "count"}]),
        ask(admin, "record_bulk_update", filter=every, values={"weight": 1}, **bulk),
        ask(admin, "record_bulk_delete", filter=every, **bulk),
    ):
        assert (refused["outcome"], refused["code"]) == ("refused", "policy_not_exact")
        assert refused["rule"] == "rows_crates"


def test_a_policy_over_what_may_be_missing_is_added_up_by_once_it_is_proved(
    faces: tuple[Face, Face],
) -> None:
    for face in faces:
        (group,) = summed(face, "tickets", measures=[{"op": "count"}])["result"]["groups"]
        assert group == {"by": {}, "rows": 0, "values": {"count": 0}}


def test_a_collection_without_a_policy_is_added_up_whole(faces: tuple[Face, Face]) -> None:
    _, support = faces
    (group,) = summed(support, "contacts", measures=[{"op": "count"}])["result"]["groups"]
    assert group == {"by": {}, "rows": 0, "values": {"count": 0}}
    asked = {"tenant": TENANT, "collection": "contacts", "group_by": ["email"]}
    told = support.front.call("record_aggregate", {**asked, "measures": [{"op": "count"}]})
    assert told.bad_input == "group_by[0]: unknown field"


def test_a_foreign_tenant_is_as_absent_as_one_that_never_was(faces: tuple[Face, Face]) -> None:
    _, support = faces
    asked = {"collection": "orders", "measures": [{"op": "count"}]}
    foreign = ask(support, "record_aggregate", tenant="globex", **asked)
    assert foreign == ask(support, "record_aggregate", tenant="nobody", **asked)
    assert foreign["outcome"] == "not_found"
