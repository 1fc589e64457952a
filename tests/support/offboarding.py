"""Offboarding and restoring on a bench: protection lifted, approvals given, what is left looked at. Not a test."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from control_plane.audit.guarded import differences, latest_guards
from control_plane.audit.recorder import guarded_rows
from control_plane.domain.backup_record import Backup
from control_plane.domain.run_record import Run
from control_plane.store import rows, tables
from control_plane.store.log import StoredLog
from graphs.gatekeeper import Gate
from server.protection import protect
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench

DESTROYING = ("drop_database", "destroy")
LEAVES_MAX = 5000


def lift(bench: Bench, **given: bool) -> None:
    """Lift deletion protection, as an administrator's own command does; or set what is given."""
    world = bench.world
    with world.store.write() as connection:
        protect(
            connection, world.ports.recorder, TENANT, **(given or {"deletion_protection": False})
        )


def parked(bench: Bench, **asked: Any) -> Run:
    """An offboarding that waits for its approval."""
    asked = {"cancel_subscription": True, **asked}
    run = bench.work(bench.propose("tenant_offboard", **asked))
    assert run.state == "awaiting_approval", run
    return run


def approved(bench: Bench, **asked: Any) -> str:
    """An offboarding that was approved and not begun; its id."""
    run = parked(bench, **asked)
    bench.world.forge(run, seed=bench.world.template.approver_seed)
    return run.id


def offboard(bench: Bench) -> Run:
    """Take the bench's tenant away."""
    lift(bench)
    run = bench.work(approved(bench))
    assert run.state == "applied", run
    return run


@dataclass(frozen=True)
class Resting:
    """A workspace whose tenant was offboarded, and the records that the tenant had."""

    onboarded: Onboarded
    records: list[dict[str, Any]]


def rested(before: Onboarded, folder: Path, gate: Gate) -> Resting:
    """Give the tenant of a workspace two records, and take it away."""
    bench = make_bench(before, folder, gate)
    had = records(bench, 2)
    offboard(bench)
    world = bench.world
    world.close()
    after = replace(before.template, workspace=world.workspace)
    return Resting(Onboarded(after, dict(world.provisioner._stacks)), had)


def records(bench: Bench, count: int) -> list[dict[str, Any]]:
    """Add records to the tenant; all that it then has."""
    for _ in range(count):
        assert bench.create()["outcome"] == "done"
    return found(bench)


def found(bench: Bench) -> list[dict[str, Any]]:
    """The tenant's records as they are read."""
    answered = bench.query()
    assert answered["outcome"] == "done", answered
    return list(answered["result"]["records"])


def backups(bench: Bench) -> list[Backup]:
    """The rows of the tenant's backups, the oldest first."""
    table = tables.backup
    with bench.world.store.read() as connection:
        return rows.every(
            connection, table, Backup, table.c.tenant == TENANT, order_by=table.c.made_at
        )


def archives(bench: Bench) -> list[str]:
    """The names of the tenant's archives."""
    folder = bench.world.workspace.backups / TENANT
    return sorted(path.stem for path in folder.glob("*.archive"))


def tamper(bench: Bench, backup: Backup) -> None:
    """Change one byte of an archive."""
    path = bench.world.workspace.backups / TENANT / f"{backup.id}.archive"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def stands(bench: Bench) -> tuple[bool, bool]:
    """Whether the tenant's database stands, and whether its stack does."""
    database = bench.world.ports.databases.main.exists(TENANT, bench.tenant.isolation)
    stacks = bench.world.provisioner._stacks
    return database, any(tenant == TENANT for tenant, _ in stacks)


def unvouched(bench: Bench) -> list[Any]:
    """The guarded rows that are not as the last leaf says."""
    leaves = [one.leaf for one in reversed(StoredLog(bench.world.store).newest(LEAVES_MAX))]
    with bench.world.store.read() as connection:
        standing = guarded_rows(connection)
    # What the bench's own set-up has written past every leaf is no matter here.
    kept = ("tenant", "subscription", "backup", "database", "handover")
    expected = {row: said for row, said in latest_guards(leaves).items() if row[0] in kept}
    standing = {row: digest for row, digest in standing.items() if row[0] in kept}
    return [row for row, _ in differences(expected, [], standing)]


def steps(bench: Bench, run_id: str) -> dict[str, str]:
    """The states of a run's steps by name."""
    table = tables.run_step
    with bench.world.store.read() as connection:
        found_rows = connection.execute(select(table).where(table.c.run_id == run_id)).all()
    return {row.name: row.state for row in found_rows}


def parts(run: Run) -> dict[str, Any]:
    """The parts of a run's plan."""
    told: dict[str, Any] = json.loads(json.dumps(run.plan))["parts"]
    return told


def assert_gone(bench: Bench) -> None:
    """The tenant is away, to the bottom, and restorable."""
    assert bench.standing[0::2] == ("deprovisioned", "none")
    assert stands(bench) == (False, False)
    (backup,) = backups(bench)
    assert backup.verified_at is not None
    assert archives(bench) == [backup.id]
    assert bench.tenant.restorable_until == backup.keep_until
    assert bench.ask("record_query", "sue", tenant=TENANT, collection="contacts")["outcome"] == (
        "refused"
    )
    assert unvouched(bench) == []
