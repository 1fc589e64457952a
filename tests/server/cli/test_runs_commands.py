"""`paybill run watch`: a run as it stands in the store, and what its end means for the exit code. The worker is not there."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run as RunRow
from control_plane.domain.run_record import RunStep
from control_plane.store import rows, tables
from control_plane.store.infrastructure_tables import run_event
from server.clock import SystemClock
from server.run_watch import RESTING, watch
from tests.server.cli.conftest import Run
from tests.support.house import House, fresh_name

NOW = instant(SystemClock().now())


def kept_run(house: House, state: str, reason: str = "", detail: str = "") -> str:
    """A run with a step and two words on one resource; its id."""
    run_id = fresh_name("run").ljust(32, "0")
    made = RunRow(
        id=run_id,
        principal="alice",
        actor="bot",
        tenant="acme",
        kind="onboard",
        state=state,
        dry_run=False,
        created_at=NOW,
        updated_at=NOW,
        tool="tenant_onboard",
        call_id=fresh_name("call"),
        grant_id="grant",
        command={},
        as_of=NOW,
        seed="seed",
        holds=False,
        reason=reason,
        detail=detail,
    )
    step = RunStep(run_id=run_id, name="provision", position=1, state="dispatched")
    told = [
        {"position": 1, "stage": "started", "elapsed_s": 0},
        {"position": 2, "stage": "working", "elapsed_s": 10},
    ]
    same = {"run_id": run_id, "at": NOW, "address": "aws_vpc.this", "doing": "create"}
    with house.store() as store, store.write("acme") as connection:
        rows.put(connection, tables.run, made)
        rows.put(connection, tables.run_step, step)
        connection.execute(insert(run_event), [{**same, **one} for one in told])
    return run_id


@pytest.mark.parametrize("state", ["applied", "awaiting_approval", "discarded"])
def test_a_run_that_is_well_ends_the_command_well(run: Run, ruled: House, state: str) -> None:
    shown = run("run", "watch", kept_run(ruled, state))
    assert shown.exit_code == 0, shown.output
    assert f"onboard of acme: {state}" in shown.output
    assert "provision" in shown.output


@pytest.mark.parametrize("state", ["failed", "canceled", "unknown", "compensation_failed"])
def test_any_other_end_is_an_error_and_says_why(run: Run, ruled: House, state: str) -> None:
    shown = run("run", "watch", kept_run(ruled, state, reason="network", detail="no answer"))
    assert shown.exit_code == 1
    assert "network" in shown.output
    assert "no answer" in shown.output


def test_a_resource_has_one_line_with_the_last_word_on_it(run: Run, ruled: House) -> None:
    shown = run("run", "watch", kept_run(ruled, "applied"))
    lines = [line for line in shown.output.splitlines() if "aws_vpc.this" in line]
    assert len(lines) == 1
    assert "create working 10 s" in lines[0]


def test_a_run_that_is_not_there_is_said_so(run: Run, ruled: House) -> None:
    shown = run("run", "watch", "0" * 32)
    assert shown.exit_code != 0
    assert "no such run" in shown.output


def test_what_is_watched_ends_with_the_first_look_at_rest(ruled: House) -> None:
    run_id = kept_run(ruled, "applying")
    table, pauses = tables.run, list[int]()
    with ruled.store() as store:

        def pause() -> None:
            pauses.append(1)
            ends = "applied" if len(pauses) == 3 else "applying"
            with store.write("acme") as connection:
                rows.change(connection, table, table.c.id == run_id, state=ends)

        states = [look.run.state for look in watch(store, run_id, pause)]
    assert states == ["applying", "applying", "applying", "applied"]
    assert "applied" in RESTING
