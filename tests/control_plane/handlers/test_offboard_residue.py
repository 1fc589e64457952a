"""An offboarding beyond undoing: faults waited out, what is left named, and gone on with from the same backup."""

from __future__ import annotations

import pytest

from control_plane.data.tables import collection_table
from control_plane.errors import Failed, Unavailable, Unknown
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import (
    approved,
    archives,
    assert_gone,
    backups,
    lift,
    records,
    stands,
    tamper,
    unvouched,
)


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("error", [Unavailable(), Unknown(), Failed(retryable=True)])
def test_a_passing_fault_of_a_destroying_step_is_waited_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    lift(bench)
    run_id = approved(bench)
    left = [error, error]
    drop = bench.world.ports.databases.main.drop

    def failing(*given: object) -> None:
        if left:
            raise left.pop()
        drop(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.world.ports.databases.main, "drop", failing)
    assert bench.work(run_id).state == "applied"
    assert_gone(bench)


@pytest.mark.long
def test_what_is_left_half_destroyed_is_named_and_gone_on_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    records(bench, 2)
    lift(bench)
    run_id = approved(bench)

    def failing(*given: object, **more: object) -> None:
        raise Failed("It does not go.", code="cloud_says_no")

    with monkeypatch.context() as patched:
        patched.setattr(bench.world.provisioner, "apply", failing)
        run = bench.work(run_id)
    assert (run.state, run.reason) == ("failed", "residue")
    assert "done: drop_database; left: destroy, finish" in run.detail
    assert "cloud_says_no" in run.detail
    assert bench.tenant.state == "deprovision_failed"
    assert stands(bench) == (False, True)
    assert bench.refused("tenant_resume", reason="operator") in (
        "tenant_state",
        "illegal_transition",
    )
    (first,) = backups(bench)
    assert unvouched(bench) == []

    assert bench.work(approved(bench)).state == "applied"
    assert_gone(bench)
    (kept,) = backups(bench)
    assert (kept.id, kept.digest, kept.contents) == (first.id, first.digest, first.contents)


@pytest.mark.long
def test_data_that_is_half_gone_is_never_backed_up_in_place_of_the_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = records(bench, 3)
    lift(bench)
    run_id = approved(bench)

    def half(*given: object) -> None:
        contacts = bench.world.ports.catalog.collections["contacts"]
        table = collection_table(contacts)
        with bench.world.ports.databases.main.transaction(TENANT, "pooled") as connection:
            connection.execute(table.delete().where(table.c.id == before[0]["id"]))
        raise Failed("It stopped half-way.", code="half")

    with monkeypatch.context() as patched:
        patched.setattr(bench.world.ports.databases.main, "drop", half)
        assert bench.work(run_id).state == "failed"
    assert bench.tenant.state == "deprovision_failed"
    assert bench.work(approved(bench)).state == "applied"
    (kept,) = backups(bench)
    assert kept.contents["tables"]["contacts"]["rows"] == 3  # type: ignore[index, call-overload]
    assert_gone(bench)


@pytest.mark.long
def test_a_proven_backup_that_is_spoilt_later_stops_going_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lift(bench)
    run_id = approved(bench)

    def failing(*given: object, **more: object) -> None:
        raise Failed("It does not go.", code="cloud_says_no")

    with monkeypatch.context() as patched:
        patched.setattr(bench.world.provisioner, "apply", failing)
        bench.work(run_id)
    (backup,) = backups(bench)
    tamper(bench, backup)
    # However often it is tried: that the data is gone must never pass for that there was none.
    for _ in range(2):
        run = bench.work(approved(bench))
        assert (run.state, run.reason) == ("compensated", "archive_altered")
        assert bench.tenant.state == "deprovision_failed"
        assert stands(bench) == (False, True)
    assert archives(bench) == [backup.id]
