"""What a face may see of the log: that something was recorded, and of one's own tenants alone."""

from __future__ import annotations

from typing import Any

import pytest

from server.wiring import Face
from tests.support.house import House, fresh_name
from tests.support.onboarding import ask
from tests.support.waiting import until

SHOWN = {"leaf_id", "kind", "tenant", "recorded_at", "position", "commitment"}


def search(face: Face, **arguments: Any) -> list[dict[str, Any]]:
    answered = ask(face, "audit_search", **arguments)
    assert answered["outcome"] == "done", answered
    leaves: list[dict[str, Any]] = answered["result"]["leaves"]
    return leaves


def test_a_search_is_recorded_itself_and_shows_no_payload(shared: House) -> None:
    tenant = fresh_name("searched")
    with shared.face(shared.issue("auditor", tenant)) as face:
        assert search(face, tenant=tenant) == []
        (leaf,) = search(face, tenant=tenant)
        assert set(leaf) == SHOWN
        assert (leaf["kind"], leaf["tenant"]) == ("read", tenant)
        assert len(leaf["commitment"]) == 64

        def placed() -> bool:
            return search(face, tenant=tenant)[-1]["position"] is not None

        until(placed, "the leaf has its place")
        assert [one["leaf_id"] for one in search(face, tenant=tenant)][-1] == leaf["leaf_id"]


def test_leaves_of_the_workspace_are_there_for_callers_with_every_tenant_alone(
    shared: House,
) -> None:
    with shared.face(shared.issue("auditor", "acme")) as face:
        assert {leaf["tenant"] for leaf in search(face, limit=100)} == {"acme"}
    for role in ("platform_admin", "auditor"):
        with shared.face(shared.issue(role, "*")) as face:
            everything = search(face, limit=100, kind="read")
        assert None in {leaf["tenant"] for leaf in everything}


def test_a_search_is_bounded_by_kind_and_time(shared: House) -> None:
    tenant = fresh_name("bounded")
    with shared.face(shared.issue("auditor", tenant)) as face:
        for _ in range(3):
            search(face, tenant=tenant)
        newest, middle, oldest = search(face, tenant=tenant)
        assert newest["recorded_at"] > middle["recorded_at"] > oldest["recorded_at"]
        since = {"tenant": tenant, "since": middle["recorded_at"]}
        assert oldest not in search(face, **since)
        until_newest = search(face, **since, until=newest["recorded_at"])
        assert [one["leaf_id"] for one in until_newest] == [middle["leaf_id"]]
        assert search(face, tenant=tenant, kind="changed") == []
        assert len(search(face, tenant=tenant, kind="read")) >= 3
        assert search(face, tenant=tenant, until="2000-01-01T00:00:00Z") == []


def test_the_pages_of_a_search_have_every_leaf_once(shared: House) -> None:
    tenant = fresh_name("paged")
    with shared.face(shared.issue("auditor", tenant)) as face:
        for _ in range(5):
            search(face, tenant=tenant)
        # A bound in time, because each page adds a leaf.
        asked = {"tenant": tenant, "until": "2999-01-01T00:00:00Z", "limit": 2}
        known = [one["leaf_id"] for one in search(face, **{**asked, "limit": 100})]
        found: list[str] = []
        after: str | None = None
        for _ in range(3):
            result = ask(face, "audit_search", **asked, after=after)["result"]
            found += [one["leaf_id"] for one in result["leaves"]]
            after = result["next_after"]
        # The one leaf more is of the search that told which there were.
        assert after is None
        assert found[1:] == known


@pytest.mark.parametrize("wrong", ["2026-13-01T00:00:00Z", "2026-01-01", "0999-01-01T00:00:00Z"])
def test_an_instant_that_is_none_is_bad_input(shared: House, wrong: str) -> None:
    with shared.face(shared.issue("auditor", "acme")) as face:
        told = face.front.call("audit_search", {"since": wrong}).bad_input
    assert told is not None
    assert told.startswith("since: ")
    assert wrong not in told
