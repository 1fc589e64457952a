"""A subscription as it is read: open whatever is owed, entitled by its dates and state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from control_plane.store import tables
from server.wiring import Face
from tests.support.house import House, build_house
from tests.support.onboarding import ask
from tests.support.workers import running_worker

STANDING: dict[str, dict[str, Any]] = {
    "paying": {"state": "active"},
    "owing": {"state": "unpaid"},
    "late": {"state": "past_due"},
    "leaving": {"state": "active", "cancel_at_period_end": True},
    "left": {"state": "canceled"},
    "old-plan": {"state": "active", "plan_version": 7},
}


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Face]:
    house: House = build_house(tmp_path_factory.mktemp("subscriptions"), cerbos_binary)
    with running_worker(house):
        with house.store() as store, store.write() as connection:
            for tenant, changed in [*STANDING.items(), ("outside", STANDING["paying"])]:
                values = {
                    "id": tenant,
                    "tenant": tenant,
                    "plan": "free",
                    "plan_version": 1,
                    "cancel_at_period_end": False,
                    "version": 1,
                    **changed,
                }
                connection.execute(tables.subscription.insert().values(**values))
        token = house.issue("billing", ",".join([*STANDING, "nobody"]))
        with house.face(token) as opened:
            yield opened


def read(face: Face, tenant: str) -> dict[str, Any]:
    answered = ask(face, "subscription_get", tenant=tenant)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


@pytest.mark.long
def test_a_subscription_tells_its_plan_as_declared(face: Face) -> None:
    told = read(face, "paying")
    expected: dict[str, Any] = {
        "tenant": "paying",
        "plan": "free",
        "plan_version": 1,
        "state": "active",
        "cancel_at_period_end": False,
        "entitled": True,
        "tier": "free",
        "quotas": {"records_max": 1000, "seats_max": 3},
        "terms": None,
        "billing_level": "clear",
        "gates": [],
    }
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("tenant", "entitled"),
    [("paying", True), ("leaving", True), ("owing", False), ("late", False), ("left", False)],
)
def test_a_subscription_is_read_whatever_is_owed(face: Face, tenant: str, entitled: bool) -> None:
    told = read(face, tenant)
    assert told["entitled"] is entitled
    assert told["state"] == STANDING[tenant]["state"]


def test_a_version_that_is_no_longer_declared_has_no_quotas(face: Face) -> None:
    told = read(face, "old-plan")
    assert (told["plan_version"], told["tier"], told["quotas"]) == (7, None, None)


def test_a_foreign_subscription_is_as_absent_as_one_that_never_was(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = {"statements": 0, "decisions": 0}
    ask_gate = face.generations.gate.check

    def check(*arguments: Any) -> Any:
        counted["decisions"] += 1
        return ask_gate(*arguments)

    def statement(*_: Any) -> None:
        counted["statements"] += 1

    monkeypatch.setattr(face.generations.gate, "check", check)
    answers: list[dict[str, Any]] = []
    costs: list[dict[str, int]] = []
    for tenant in ("outside", "never-was", "nobody"):
        # The first call about a tenant makes the key that its leaves are sealed to.
        ask(face, "subscription_get", tenant=tenant)
        counted.update(statements=0, decisions=0)
        event.listen(Engine, "before_cursor_execute", statement)
        try:
            answers.append(ask(face, "subscription_get", tenant=tenant))
        finally:
            event.remove(Engine, "before_cursor_execute", statement)
        costs.append(dict(counted))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["outcome"] == "not_found"
    assert costs[0] == costs[1] == costs[2]
