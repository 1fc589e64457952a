"""Listings that begin with the newest: order, bounds, cursors, and what they cost. Against a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from control_plane.domain.approval_record import Approval
from control_plane.domain.run_record import Run
from control_plane.handlers.newest import SCAN_ROWS_MAX, SCAN_ROWS_PER_LIMIT
from control_plane.store import rows, tables
from server.wiring import Face
from tests.support.house import House, build_house
from tests.support.onboarding import ask
from tests.support.workers import running_worker

ME = ("ann", "bot")
OTHER = ("eve", "eve-bot")
HIDDEN = 2 * SCAN_ROWS_MAX + 10
PAGES_MAX = 100


def instant(second: int) -> str:
    return f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000000Z"


def run(number: int, tenant: str, who: tuple[str, str] = ME, **changed: Any) -> Run:
    values: dict[str, Any] = {
        "id": f"{number:032x}",
        "call_id": f"{number:032x}",
        "principal": who[0],
        "actor": who[1],
        "grant_id": "0" * 32,
        "tenant": tenant,
        "kind": "onboard",
        "tool": "tenant_onboard",
        "command": {},
        "state": "applied",
        "as_of": instant(number),
        "seed": "",
        "dry_run": False,
        "created_at": instant(number),
        "updated_at": instant(number),
        **changed,
    }
    return Run.model_validate(values)


def approval(number: int, tenant: str, who: tuple[str, str], **changed: Any) -> Approval:
    values = {
        "id": f"{number:032x}",
        "run_id": f"{number:032x}",
        "tenant": tenant,
        "requester": who[0],
        "requester_actor": who[1],
        "rule": "two_people",
        "plan_digest": "",
        "state": "consumed",
        "created_at": instant(number),
        "expires_at": instant(number),
        **changed,
    }
    return Approval.model_validate(values)


# Ties in time, two kinds and three states; one that is not over.
MIXED = [
    run(
        1000 + n, "mixed", created_at=instant(1000 + n // 4), state="applied" if n % 3 else "failed"
    )
    for n in range(30)
] + [
    run(2000, "mixed", kind="move", state="compensation_failed"),
]
# One of mine behind many of somebody else's.
BEHIND = [run(3000, "crowd"), *(run(3001 + n, "crowd", OTHER) for n in range(HIDDEN))]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    made = build_house(tmp_path_factory.mktemp("lists"), cerbos_binary)
    with running_worker(made):
        with made.store() as store, store.write() as connection:
            for one in [*MIXED, *BEHIND, run(9000, "outside")]:
                rows.put(connection, tables.run, one)
            for each in (
                approval(1, "mixed", ME),
                approval(2, "mixed", OTHER),
                approval(3, "mixed", ME, state="expired"),
                approval(4, "outside", ME),
            ):
                rows.put(connection, tables.approval, each)
        yield made


@pytest.fixture(scope="module")
def faces(house: House) -> Iterator[dict[str, Face]]:
    tenants = "mixed,crowd,empty,lonely"
    with ExitStack() as stack:

        def face(roles: str, who: tuple[str, str], tenants: str = tenants) -> Face:
            token = house.issue(roles, tenants, principal=who[0], actor=who[1])
            return stack.enter_context(house.face(token))

        yield {
            "mine": face("operator", ME),
            "other": face("operator", OTHER),
            "auditor": face("auditor", ("sam", "sam-bot")),
            "everywhere": face("platform_admin", ("pat", "pat-bot"), "*"),
        }


def page(face: Face, tool: str = "run_list", **arguments: Any) -> dict[str, Any]:
    answered = ask(face, tool, **arguments)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def pages(face: Face, **arguments: Any) -> Iterator[list[str]]:
    after: str | None = None
    for _ in range(PAGES_MAX):
        result = page(face, **arguments, after=after)
        yield [one["run_id"] for one in result["runs"]]
        after = result["next_after"]
        if after is None:
            return
    pytest.fail("the listing did not end")


def newest(runs: list[Run]) -> list[str]:
    return [one.id for one in sorted(runs, key=lambda r: (r.created_at, r.id), reverse=True)]


@pytest.mark.long_but_one
@pytest.mark.slice_of(2)
@pytest.mark.parametrize("limit", [1, 7, 31, 100])
def test_the_pages_together_are_every_run_once_and_the_newest_first(
    faces: dict[str, Face], limit: int
) -> None:
    for who in ("mine", "auditor"):
        found = list(pages(faces[who], tenant="mixed", limit=limit))
        assert [one for each in found for one in each] == newest(MIXED)
        assert all(len(each) <= limit for each in found)


def test_a_filter_restricts_and_active_is_whatever_is_not_over(faces: dict[str, Face]) -> None:
    def listed(**arguments: Any) -> list[str]:
        return [one for each in pages(faces["mine"], limit=9, **arguments) for one in each]

    failed = [one for one in MIXED if one.state == "failed"]
    assert listed(tenant="mixed", state=["failed", "canceled"]) == newest(failed)
    assert listed(state="active") == [f"{2000:032x}"]
    assert listed(kind="move") == [f"{2000:032x}"]
    assert listed(kind="nothing_of_that_name") == []


def test_a_page_that_hides_every_row_is_empty_and_goes_on_behind_them(
    faces: dict[str, Face],
) -> None:
    asked = {"tenant": "crowd", "limit": 100}
    found = list(pages(faces["mine"], **asked))
    assert [one for each in found for one in each] == [BEHIND[0].id]
    # Each page looks at a bounded number of rows, however few of them may be shown.
    assert len(found) == -(-(HIDDEN + 1) // SCAN_ROWS_MAX)


def test_a_small_page_looks_at_few_rows(faces: dict[str, Face]) -> None:
    found = list(pages(faces["mine"], tenant="crowd", limit=10))
    assert len(found) == -(-(HIDDEN + 1) // (10 * SCAN_ROWS_PER_LIMIT))


def test_a_page_tells_nothing_of_what_it_hides(faces: dict[str, Face]) -> None:
    first = page(faces["mine"], tenant="crowd", limit=100)
    assert (first["runs"], set(first)) == ([], {"runs", "next_after"})
    hidden = BEHIND[SCAN_ROWS_MAX]
    assert hidden.id not in first["next_after"]
    assert hidden.created_at not in first["next_after"]


def test_a_foreign_tenants_list_is_that_of_one_that_never_was(faces: dict[str, Face]) -> None:
    for tool in ("run_list", "approval_list"):
        foreign = ask(faces["mine"], tool, tenant="outside")
        assert foreign == ask(faces["mine"], tool, tenant="never-was")
        assert foreign["result"]["next_after"] is None


def test_a_list_costs_the_same_whatever_may_be_read_of_it(
    faces: dict[str, Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    face, counted = faces["mine"], {"statements": 0, "decisions": 0}
    ask_gate = face.generations.gate.check

    def check(*arguments: Any) -> Any:
        counted["decisions"] += 1
        return ask_gate(*arguments)

    def statement(*_: Any) -> None:
        counted["statements"] += 1

    def cost(tenant: str) -> dict[str, int]:
        counted.update(statements=0, decisions=0)
        page(face, tenant=tenant, limit=5)
        return dict(counted)

    monkeypatch.setattr(face.generations.gate, "check", check)
    # The first call about a tenant makes the key that its leaves are sealed to.
    for tenant in ("mixed", "crowd", "empty", "outside", "never-was"):
        page(face, tenant=tenant)
    event.listen(Engine, "before_cursor_execute", statement)
    try:
        full, hidden, empty, foreign, absent = (
            cost(each) for each in ("mixed", "crowd", "empty", "outside", "never-was")
        )
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
    assert full == hidden == empty == foreign == absent
    assert full["decisions"] == 2


def test_a_cursor_is_good_for_its_caller_and_its_question_alone(faces: dict[str, Face]) -> None:
    after = page(faces["mine"], tenant="mixed", limit=2)["next_after"]
    assert ask(faces["mine"], "run_list", tenant="mixed", limit=9, after=after)["outcome"] == "done"
    for who, tool, changed in (
        ("other", "run_list", {"tenant": "mixed"}),
        ("auditor", "run_list", {"tenant": "mixed"}),
        ("mine", "run_list", {"tenant": "crowd"}),
        ("mine", "run_list", {}),
        ("mine", "run_list", {"tenant": "mixed", "state": ["applied"]}),
        ("mine", "approval_list", {"tenant": "mixed"}),
    ):
        assert ask(faces[who], tool, **changed, after=after)["outcome"] == "not_found", (who, tool)
    for broken in ("", "x", after[:-2], after + "A"):
        asked = ask(faces["mine"], "run_list", tenant="mixed", after=broken)
        assert asked["outcome"] == "not_found", broken


def test_a_page_is_never_longer_than_the_limit_of_rows(house: House) -> None:
    token = house.issue("operator", "mixed", principal=ME[0], actor=ME[1])
    with house.with_limits(rows_max="3").face(token) as face:
        assert len(page(face, tenant="mixed", limit=100)["runs"]) == 3


def test_approvals_are_listed_as_policy_lets_each_be_read(faces: dict[str, Face]) -> None:
    def listed(who: str, **arguments: Any) -> list[str]:
        result = page(faces[who], "approval_list", **arguments)
        return [one["approval_id"][-1] for one in result["approvals"]]

    assert listed("mine") == ["3", "1"]
    assert listed("other") == ["2"]
    assert listed("auditor") == ["3", "2", "1"]
    assert listed("auditor", limit=2) == ["3", "2"]
    assert listed("auditor", state=["consumed"]) == ["2", "1"]
    assert listed("everywhere") == ["4", "3", "2", "1"]
