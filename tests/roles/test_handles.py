"""An id is never a right: what one caller made is not there for another one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from server.wiring import Face
from tests.roles.conftest import MAKER, Cast
from tests.support.house import fresh_key
from tests.support.onboarding import ask, contact, onboarding

pytestmark = pytest.mark.long

# Another human with another agent, the same human's other agent, and another human's same agent.
OTHERS = [("other", "other-bot"), (MAKER[0], "second-bot"), ("other", MAKER[1])]


@contextmanager
def face_of(cast: Cast, who: tuple[str, str], roles: str, tenants: str) -> Generator[Face]:
    """A face of any caller."""
    token = cast.house.issue(roles, tenants, principal=who[0], actor=who[1])
    with cast.house.face(token) as face:
        yield face


@pytest.mark.slice_of(6)
@pytest.mark.parametrize("who", OTHERS, ids=["other", "other-agent", "other-human"])
@pytest.mark.parametrize("where", ["same tenant", "another tenant"])
def test_a_run_and_its_approval_are_not_there_for_another_caller(
    cast: Cast, who: tuple[str, str], where: str
) -> None:
    run = cast.runs["read"]
    tenants = run["tenant"] if where == "same tenant" else "globex"
    with face_of(cast, who, "operator", tenants) as face:
        for tool, arguments in (
            ("run_get", {"run_id": run["run_id"]}),
            ("run_cancel", {"run_id": run["run_id"], "idempotency_key": fresh_key()}),
            ("approval_get", {"approval_id": run["approval_id"]}),
        ):
            absent = {name: "0" * 32 for name in arguments if name.endswith("_id")}
            asked = ask(face, tool, **arguments)
            assert asked["outcome"] == "not_found", tool
            assert asked == ask(face, tool, **{**arguments, **absent}), tool
    maker = cast.faces["operator", "own"]
    seen = ask(maker, "run_get", run_id=run["run_id"])["result"]
    assert (seen["state"], seen["cancel_requested"]) == ("awaiting_approval", False)


@pytest.mark.parametrize("who", OTHERS, ids=["other", "other-agent", "other-human"])
def test_a_key_of_one_caller_is_a_fresh_key_of_another(cast: Cast, who: tuple[str, str]) -> None:
    asked = {
        "tenant": "acme",
        "collection": "contacts",
        "values": contact(),
        "idempotency_key": fresh_key(),
    }
    with face_of(cast, MAKER, "support", "acme") as face:
        first = ask(face, "record_create", **asked)
    with face_of(cast, who, "support", "acme") as face:
        other = face.front.call("record_create", asked).outcome
        changed = face.front.call("record_create", {**asked, "values": contact(balance=9)}).outcome

    assert other is not None
    assert other.result is not None
    assert (other.outcome, other.replayed) == ("done", False)
    assert other.result["record"] != first["result"]["record"]
    assert changed is not None
    assert changed.code == "idempotency_key_reused"


def test_a_key_of_a_tool_is_a_fresh_key_of_another_tool(cast: Cast) -> None:
    key = fresh_key()
    created = {"tenant": "acme", "collection": "contacts", "values": contact()}
    with face_of(cast, MAKER, "operator,support", "acme") as face:
        assert ask(face, "record_create", **created, idempotency_key=key)["outcome"] == "done"
        proposed = ask(face, "tenant_onboard", **onboarding("acme", idempotency_key=key))
        assert proposed["code"] == "tenant_exists"


def test_a_key_tells_nothing_to_a_caller_who_has_lost_the_tenant(cast: Cast) -> None:
    asked = {
        "tenant": "acme",
        "collection": "contacts",
        "values": contact(),
        "idempotency_key": fresh_key(),
    }
    with face_of(cast, MAKER, "support", "acme") as face:
        assert ask(face, "record_create", **asked)["outcome"] == "done"
    with face_of(cast, MAKER, "support", "globex") as face:
        assert ask(face, "record_create", **asked)["outcome"] == "not_found"


def test_a_records_id_is_good_in_its_own_tenant_alone(cast: Cast) -> None:
    record, changed = cast.records["read"], {"version": 1, "idempotency_key": fresh_key()}
    with face_of(cast, MAKER, "platform_admin", "acme,globex") as face:
        for tool, more in (
            ("record_get", {}),
            ("record_update", {**changed, "values": {"balance": 8}}),
            ("record_delete", changed),
        ):
            asked = {"tenant": "globex", "collection": "contacts", "id": record, **more}
            never = {**asked, "id": "00000000-0000-4000-8000-000000000000"}
            assert ask(face, tool, **asked) == ask(face, tool, **never), tool
            assert ask(face, tool, **asked)["outcome"] == "not_found", tool
        own = ask(face, "record_get", tenant="acme", collection="contacts", id=record)
        assert own["result"]["record"]["version"] == 1


@pytest.mark.parametrize("who", OTHERS, ids=["other", "other-agent", "other-human"])
def test_a_cursor_is_good_for_its_caller_and_query_alone(cast: Cast, who: tuple[str, str]) -> None:
    query = {"tenant": "acme", "collection": "contacts", "limit": 1}
    with face_of(cast, MAKER, "support", "acme,globex") as face:
        for _ in range(2):
            created = {"tenant": "acme", "collection": "contacts", "values": contact()}
            ask(face, "record_create", **created, idempotency_key=fresh_key())
        cursor = ask(face, "record_query", **query)["result"]["next_cursor"]
        assert cursor
        assert ask(face, "record_query", **query, cursor=cursor)["outcome"] == "done"
        for changed in ({"tenant": "globex"}, {"sort": "-id"}):
            said = ask(face, "record_query", **{**query, **changed}, cursor=cursor)
            assert said["outcome"] == "not_found", changed
    with face_of(cast, who, "support", "acme") as face:
        assert ask(face, "record_query", **query, cursor=cursor)["outcome"] == "not_found"
        assert ask(face, "record_query", **query, cursor=cursor[:-2])["outcome"] == "not_found"
