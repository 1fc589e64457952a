"""A restoring under a catalog that was applied after the backup: the rows as if the tenant had been there. Not the same catalog's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from control_plane.data.collection import Collection
from control_plane.domain.canonical import plain
from control_plane.errors import Refused, Unavailable
from control_plane.ports import Catalogs
from control_plane.store import tables
from server.catalog import keep_copy, load_kept, read_files
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.offboarding import backups, found, lift, offboard, parts, records, stands
from tests.support.slices import sliced

CONTACTS = "collections/contacts.yaml"
LEVEL = {"kind": "integer", "default": 3}


class Kept:
    """The kept catalogs of a workspace, as a worker finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collections(self, digest: str) -> tuple[Collection, ...]:
        try:
            return tuple(load_kept(self._folder, digest).collections.values())
        except Unavailable as error:
            raise Refused("It is not kept.", code=error.code) from error


def under(bench: Bench, **fields: Any) -> Bench:
    """The bench after contacts were declared with other fields, and that was put in force."""
    world = bench.world
    files = read_files(world.workspace.catalog)
    declared = yaml.safe_load(files[CONTACTS])
    for name, field in fields.items():
        if field is None:
            del declared["fields"][name]
        else:
            declared["fields"][name] = field
    files[CONTACTS] = yaml.safe_dump(declared).encode()
    catalog = keep_copy(world.workspace.catalogs, files)
    changed = world.with_catalog(catalog)
    kept = cast("Catalogs", Kept(world.workspace.catalogs))
    changed.ports = replace(changed.ports, catalogs=kept)
    return Bench(changed._rewired(changed.ports, changed.keeper))


def at_rest(bench: Bench) -> bool:
    """The tenant is as its offboarding has left it."""
    return (bench.standing[0], stands(bench)) == ("deprovisioned", (False, False))


def expected(before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without the field that went, with the one that came."""
    kept = [{name: value for name, value in one.items() if name != "company"} for one in before]
    return [{**one, "level": 3} for one in kept]


@pytest.mark.long
def test_its_records_are_those_of_a_tenant_that_was_there(bench: Bench) -> None:
    before = records(bench, 3)
    offboard(bench)
    later = under(bench, company=None, level=LEVEL)
    run = later.do("tenant_restore")
    assert later.standing == ("active", [], "full")
    assert found(later) == expected(before)
    assert {one["name"] for one in parts(run)["carried_over"]} == {
        "contacts.company",
        "contacts.level",
    }
    assert later.open_at == later.data_epoch > 0
    # What is backed up from now on is of the present catalog, and comes back as it is.
    lift(later)
    offboard(later)
    again = later.do("tenant_restore")
    assert found(later) == expected(before)
    assert "carried_over" not in parts(again)


@pytest.mark.long
def test_a_catalog_with_the_same_declarations_carries_nothing_over(bench: Bench) -> None:
    before = records(bench, 1)
    offboard(bench)
    same = under(bench)
    assert same.world.ports.catalog.digest != bench.world.ports.catalog.digest
    run = same.do("tenant_restore")
    assert found(same) == before
    assert "carried_over" not in parts(run)


@pytest.mark.long
@pytest.mark.slice_of(3)
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"notes": {"kind": "text"}}, "rows_do_not_fit"),
        ({"full_name": {"kind": "string", "max_length": 1}}, "rows_do_not_fit"),
        ({"balance": {"kind": "money", "currency": "USD"}}, "evolution_refused"),
    ],
    ids=["required", "narrower", "another currency"],
)
def test_what_no_database_would_follow_makes_nothing(
    bench: Bench, fields: dict[str, Any], code: str
) -> None:
    before = records(bench, 2)
    offboard(bench)
    later = under(bench, **fields)
    run = later.work(later.propose("tenant_restore"))
    assert (run.state, run.reason) == ("failed", code)
    assert at_rest(later)
    assert backups(later)[0].verified_at is not None
    # Under the catalog that it was made under nothing stands in its way.
    back = under(later)
    back.do("tenant_restore")
    assert found(back) == before


@pytest.mark.long
def test_values_that_may_no_longer_be_there_twice_are_found_when_they_are_loaded(
    bench: Bench,
) -> None:
    records(bench, 2)
    offboard(bench)
    later = under(bench, full_name={"kind": "string", "max_length": 200, "unique": True})
    run = later.work(later.propose("tenant_restore"))
    assert (run.state, run.reason) == ("compensated", "rows_do_not_fit")
    assert at_rest(later)


def test_without_the_catalog_of_its_day_nothing_is_restored(bench: Bench) -> None:
    offboard(bench)
    later = under(bench, level=LEVEL)
    (backup,) = backups(later)
    made_by = later.world.run(backup.run_id)
    assert made_by.plan is not None
    gone = {**made_by.plan, "catalog": "f" * 64}
    later.world.alter(tables.run, tables.run.c.id == made_by.id, plan=gone)
    run = later.work(later.propose("tenant_restore"))
    assert (run.state, run.reason) == ("failed", "catalog_absent")
    assert at_rest(later)


def test_a_catalog_that_is_not_the_backups_is_not_taken_for_it(bench: Bench) -> None:
    offboard(bench)
    later = under(bench, level=LEVEL)
    (backup,) = backups(later)
    plan = {**(later.world.run(backup.run_id).plan or {})}
    plan["catalog"] = later.world.ports.catalog.digest
    later.world.alter(tables.run, tables.run.c.id == backup.run_id, plan=plan)
    run = later.work(later.propose("tenant_restore"))
    assert (run.state, run.reason) == ("failed", "schema_differs")
    assert at_rest(later)


@pytest.mark.long
def test_a_backup_that_another_run_answers_for_is_still_of_its_own_day(bench: Bench) -> None:
    before = records(bench, 1)
    lift(bench)
    other = bench.work(bench.propose("tenant_offboard", cancel_subscription=True, dry_run=True))
    offboard(bench)
    (backup,) = backups(bench)
    bench.world.alter(tables.backup, tables.backup.c.id == backup.id, run_id=other.id)
    later = under(bench, company=None, level=LEVEL)
    later.do("tenant_restore")
    assert found(later) == expected(before)


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    "point",
    sliced(
        [
            f"restore.{step}.{moment}"
            for step in ("load", "verify")
            for moment in ("before", "done", "recorded")
        ],
        every=3,
    ),
)
def test_a_worker_that_died_in_it_has_another_finish_it_once(bench: Bench, point: str) -> None:
    before = records(bench, 2)
    offboard(bench)
    later = under(bench, company=None, level=LEVEL)
    run_id = later.propose("tenant_restore")
    later.work_until_killed(run_id, point)
    assert later.work(run_id).state == "applied"
    assert found(later) == expected(before)


@pytest.mark.long
def test_an_archive_that_is_not_what_its_manifest_says_is_not_loaded(bench: Bench) -> None:
    records(bench, 2)
    offboard(bench)
    later = under(bench, company=None, level=LEVEL)
    (backup,) = backups(later)
    said: Any = plain(backup.contents)
    said["tables"]["contacts"]["rows"] = 1
    later.world.alter(tables.backup, tables.backup.c.id == backup.id, contents=said)
    run = later.work(later.propose("tenant_restore"))
    assert (run.state, run.reason) == ("failed", "archive_differs")
    assert at_rest(later)


@pytest.mark.long
def test_rows_that_are_not_what_comes_of_the_archive_are_not_opened(bench: Bench) -> None:
    records(bench, 2)
    offboard(bench)
    later = under(bench, company=None, level=LEVEL)
    run_id = later.propose("tenant_restore")
    later.work_until_killed(run_id, "restore.verify.before")
    with later.world.ports.databases.main.transaction(TENANT, "pooled") as connection:
        connection.exec_driver_sql("UPDATE contacts SET level = 4")
    run = later.work(run_id)
    assert (run.state, run.reason) == ("compensated", "restore_differs")
    assert at_rest(later)
