"""Where a tenant's database is, told to its services over a real server: who is told, who waits, who follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from control_plane.ports import Store
from server.connection_waits import WAITERS_MAX, WAITERS_OF_ONE_MAX, ConnectionWaits
from server.http_visits import TooManyRequests
from tests.http.test_integration import asked, fits
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.http_faces import FOR_HTTP, HttpFace, http_face
from tests.support.onboarding import ask, follow, onboard
from tests.support.workers import running_worker

TENANT = "acme"
PATH = f"/v1/tenants/{TENANT}/connection"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    made = build_house(tmp_path_factory.mktemp("connection"), cerbos_binary)
    with running_worker(made):
        with made.face(made.issue("operator", TENANT)) as face:
            onboard(face, TENANT)
        yield made


@pytest.fixture(scope="module")
def served(house: House) -> Iterator[HttpFace]:
    with http_face(house) as face:
        yield face


@pytest.fixture(scope="module")
def service(house: House) -> Token:
    return house.issue_service("connection", TENANT, bound=FOR_HTTP)


def told(served: HttpFace, service: Token, query: str = "") -> dict[str, Any]:
    found = asked(served, service, PATH + query)
    assert found.status_code == 200, found.text
    fits("connection_get.Answer", found.json())
    return cast("dict[str, Any]", found.json()["result"])


@pytest.mark.long
def test_a_service_is_told_where_its_tenants_database_is(served: HttpFace, service: Token) -> None:
    found = told(served, service)
    assert (found["version"], found["access"], found["engine"]) == (1, "full", "sqlite")
    assert Path(found["database"]).is_file()
    assert (found["user"], found["secret"], found["host"]) == (None, None, None)


@pytest.mark.parametrize("role", ["operator", "platform_admin", "auditor"])
def test_nobody_else_is_told_whatever_their_roles(
    house: House, served: HttpFace, role: str
) -> None:
    other = house.issue(role, TENANT, actor=f"{role}-bot", bound=FOR_HTTP)
    for path, body in ((PATH, None), (f"{PATH}/ack", {"version": 1})):
        found = asked(served, other, path, body)
        assert (found.status_code, found.json()) == (403, {"error": "not_listed"})


def test_a_service_of_others_learns_nothing(house: House, served: HttpFace) -> None:
    foreign = house.issue_service("connection", "globex", service="other", bound=FOR_HTTP)
    assert asked(served, foreign, PATH).status_code == 404
    assert asked(served, foreign, f"{PATH}/ack", {"version": 1}).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [("?wait_s=31", "wait_s"), ("?wait_s=x", "wait_s"), ("?after=-1", "after"), ("?who=1", "who")],
)
def test_a_question_that_is_wrong_is_bad_input(
    served: HttpFace, service: Token, query: str, field: str
) -> None:
    found = asked(served, service, PATH + query)
    assert (found.status_code, found.json()["field"]) == (422, field)


def test_who_waits_is_answered_as_it_stands_when_the_time_is_over(
    served: HttpFace, service: Token
) -> None:
    version = told(served, service)["version"]
    assert told(served, service, f"?after={version}&wait_s=1")["version"] == version


@pytest.mark.long
def test_who_waits_is_told_of_the_next_version_as_soon_as_there_is_one(
    house: House, served: HttpFace, service: Token
) -> None:
    version = told(served, service)["version"]
    found: list[dict[str, Any]] = []
    waiting = threading.Thread(
        target=lambda: found.append(told(served, service, f"?after={version}&wait_s=30"))
    )
    waiting.start()
    with house.face(house.issue("operator", TENANT, actor="stopper")) as face:
        given: dict[str, Any] = {"tenant": TENANT, "reason": "operator"}
        shut = ask(face, "tenant_suspend", **given, access="read_only", idempotency_key=fresh_key())
        waiting.join(30)
        assert [(one["version"], one["access"]) for one in found] == [(version + 1, "read_only")]
        follow(face, shut["run_id"], {"applied"})
        ask(face, "tenant_resume", **given, idempotency_key=fresh_key())
    assert told(served, service, f"?after={version + 1}&wait_s=30")["access"] == "full"


def test_what_is_followed_is_written_down_once(served: HttpFace, service: Token) -> None:
    version = told(served, service)["version"]
    ahead = asked(served, service, f"{PATH}/ack", {"version": version + 1})
    assert (ahead.status_code, ahead.json()["code"]) == (403, "version_ahead")
    for changed in (True, False):
        found = asked(served, service, f"{PATH}/ack", {"version": version})
        fits("connection_acknowledge.Answer", found.json())
        assert (found.status_code, found.json()["result"]["changed"]) == (200, changed)
    assert told(served, service)["acknowledged_version"] == version


def test_the_tenant_is_named_once(served: HttpFace, service: Token) -> None:
    found = asked(served, service, f"{PATH}/ack", {"version": 1, "tenant": TENANT})
    assert (found.status_code, found.json()["field"]) == (422, "tenant")


def test_few_wait_at_a_time_and_the_rest_are_turned_away() -> None:
    waits = ConnectionWaits(cast("Store", None))

    async def fill(counts: list[tuple[str, int]], refused: str) -> None:
        with ExitStack() as entered:
            for holder, count in counts:
                for number in range(count):
                    entered.enter_context(waits._waiting(holder, f"t{number}"))
            with pytest.raises(TooManyRequests):
                await waits.later(refused, TENANT, 0, 1.0)
        assert not waits._holders
        assert not waits._tenants

    anyio.run(fill, [("a", WAITERS_OF_ONE_MAX)], "a")
    each = [(f"h{number}", WAITERS_OF_ONE_MAX) for number in range(WAITERS_MAX // 16)]
    anyio.run(fill, each, "another")
