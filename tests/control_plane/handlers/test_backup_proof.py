"""A backup in each form restores to what was there, images for an undo among it; and one of before still does. Not its run."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from control_plane.data.archive import export_tenant, load_tenant, summary
from control_plane.data.tables import UNDO
from control_plane.data.undo import Image, images_of, keep_images
from control_plane.domain.backup_manifest import ArchiveKind
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import canonical, plain
from control_plane.domain.home import Home
from control_plane.errors import Failed, Refused, Unavailable
from control_plane.handlers.backup_proof import Wanted, lines_of, prove, taken
from control_plane.handlers.handler import Work
from control_plane.ports import DatabaseEngine
from control_plane.store import tables
from server import keys
from server.backup_wiring import wire_backups
from server.ids import RandomIds
from tests.support.approval_world import TENANT
from tests.support.lifecycle_bench import Bench
from tests.support.moving_team import bring
from tests.support.offboarding import backups, found, offboard, records
from tests.support.postgres import Postgres, installed_postgres
from tests.support.sealing import UNTIL, put_before
from tests.support.tenants import tenant_server, workspace

IMAGES = (Image("r1", 2, {"full_name": "Ada", "balance": 5}), Image("r2", 1, None))


def collections(bench: Bench) -> tuple[Any, ...]:
    return tuple(bench.world.ports.catalog.collections.values())


def change(bench: Bench, call: str = "some-run") -> datetime:
    """What a run of changes leaves: images of what was there."""
    now = bench.world.clock.now()
    with _engine(bench).transaction(TENANT, "pooled") as connection:
        keep_images(connection, TENANT, call, IMAGES, now=now)
    return now


def _engine(bench: Bench, model: Any = "pooled") -> DatabaseEngine:
    return bench.world.ports.databases.at(Home(model))


def work_of(bench: Bench) -> Work:
    """Some run of the tenant's in a worker's hands."""
    run = bench.world.run(bench.propose("tenant_suspend", reason="operator"))
    return Work(run, cast("Any", None), bench.world.ports, 1, bool, cast("Any", None))


def own_file(bench: Bench) -> Any:
    """A silo database of the tenant with what the pooled one has."""
    engine, declared = _engine(bench, "silo"), collections(bench)
    target = io.BytesIO()
    with _engine(bench).reading(TENANT, "pooled") as source:
        export_tenant(source, declared, TENANT, target)
    engine.create(TENANT, "silo", declared, 1)
    target.seek(0)
    with engine.transaction(TENANT, "silo") as connection:
        load_tenant(connection, declared, TENANT, target)
    return engine


# What an undo needs ---------------------------------------------------------------------------


def test_what_an_undo_needs_comes_back_with_the_tenant(bench: Bench) -> None:
    records(bench, 1)
    now = change(bench)
    offboard(bench)
    told = backups(bench)[0].contents["tables"]
    assert told["paybill_undo"]["rows"] == 1  # type: ignore[index, call-overload]
    bench.do("tenant_restore")
    with _engine(bench).reading(TENANT, "pooled") as connection:
        assert images_of(connection, TENANT, "some-run", now=now) == IMAGES
    # They are no records of the tenant's.
    assert len(found(bench)) == 1
    assert bench.create()["outcome"] == "done"


def test_a_backup_that_lacks_them_does_not_pass(bench: Bench) -> None:
    work, declared = work_of(bench), collections(bench)
    change(bench)
    with _engine(bench).reading(TENANT, "pooled") as source:
        made = taken(work, source, declared, Wanted("b1", Home("pooled"), UNTIL))
    change(bench, "another-run")
    with _engine(bench).reading(TENANT, "pooled") as source, pytest.raises(Failed) as caught:
        prove(work, made, _engine(bench), declared, source)
    assert caught.value.code == "backup_differs"
    prove(work, made, _engine(bench), declared)


# Archives of before ---------------------------------------------------------------------------


def as_before(bench: Bench) -> None:
    """The tenant's backup as it was made before there were manifests and images in it."""
    world = bench.world
    (row,) = backups(bench)
    archives = world.ports.archives
    assert archives is not None
    with archives.open(TENANT, row.id, row.digest) as source:
        head, *lines = source.read().splitlines()
    body = [line for line in lines[:-1] if json.loads(line)[0] != UNDO.name]
    end = json.loads(lines[-1])
    del end["tables"][UNDO.name]
    first = canonical({**json.loads(head), "archive": 1})
    content = b"".join(line + b"\n" for line in (first, *body, canonical(end)))
    archives.drop(TENANT, row.id)
    public = keys.load_public(world.workspace.keys).seal_bytes
    digest = put_before(world.workspace.backups, content, row.id, TENANT, public)
    path = world.workspace.backups / TENANT / f"{row.id}.archive"
    world.alter(
        tables.backup,
        tables.backup.c.id == row.id,
        digest=digest,
        bytes=path.stat().st_size,
        contents=end,
        kind=None,
        key_version=None,
    )


def test_an_archive_of_before_is_restored(bench: Bench) -> None:
    had = records(bench, 2)
    offboard(bench)
    as_before(bench)
    bench.do("tenant_restore")
    assert found(bench) == had
    assert bench.create()["outcome"] == "done"


# An engine's own form -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["canonical", "sqlite"])
def test_a_backup_of_each_kind_restores_to_what_stands(bench: Bench, kind: ArchiveKind) -> None:
    records(bench, 2)
    change(bench)
    engine, work, declared = own_file(bench), work_of(bench), collections(bench)
    with engine.reading(TENANT, "silo") as source:
        made = taken(work, source, declared, Wanted("b1", Home("silo"), UNTIL, kind))
        prove(work, made, engine, declared, source)
        stands = plain(summary(source, declared, TENANT))
    assert (made.kind, made.contents) == (kind, stands)
    # Nor does it matter where it is restored: the rows are the same in every form.
    prove(work, made.model_copy(update={"isolation": "pooled"}), engine, declared)
    with lines_of(work, made, declared) as lines:
        head = json.loads(lines.readline())
    assert head["tenant"] == TENANT
    assert _left_aside(bench) == []


@pytest.fixture
def dumping(bench: Bench, postgres: Postgres) -> Iterator[tuple[DatabaseEngine, Work]]:
    """A server of Postgres with the tenant in a database of its own, and a worker who finds pg_dump."""
    world, held = bench.world, keys.load(bench.world.workspace.keys)
    installed = max(installed_postgres().glob("pginstall*/bin"))
    settings = world.settings.model_copy(update={"pg_bin": installed})
    backing = wire_backups(world.workspace, settings, held, world.store, world.clock, RandomIds())
    ports = replace(world.ports, archives=backing.archives)
    with tenant_server(postgres) as logins, workspace(logins) as server, server.engine() as engine:
        engine.create(TENANT, "silo", collections(bench), 1)
        yield engine, replace(work_of(bench), ports=ports)


def test_a_dump_of_postgres_restores_there_and_here(
    bench: Bench, dumping: tuple[DatabaseEngine, Work]
) -> None:
    engine, work = dumping
    declared, lines = collections(bench), io.BytesIO()
    records(bench, 2)
    change(bench)
    with _engine(bench).reading(TENANT, "pooled") as source:
        export_tenant(source, declared, TENANT, lines)
    lines.seek(0)
    with engine.transaction(TENANT, "silo") as connection:
        load_tenant(connection, declared, TENANT, lines)
    with engine.reading(TENANT, "silo") as source:
        made = taken(work, source, declared, Wanted("b1", Home("silo"), UNTIL, "postgres"))
    with engine.reading(TENANT, "silo") as source:
        prove(work, made, engine, declared, source)
    prove(work, made, _engine(bench, "silo"), declared)
    (told,) = [one.manifest for one in work.ports.archives.manifests()]  # type: ignore[union-attr]
    assert told is not None
    assert (told.kind, told.engine, told.tables["contacts"].rows) == ("postgres", "postgresql", 2)
    assert _left_aside(bench) == []


def test_a_dump_is_refused_where_the_team_has_migrations(
    bench: Bench, dumping: tuple[DatabaseEngine, Work]
) -> None:
    engine, work = dumping
    declared = collections(bench)
    wanted = Wanted("b1", Home("silo"), UNTIL, "postgres")
    with engine.altering(TENANT, "silo") as place:
        bring(place, TENANT, 1, declared)
    with engine.reading(TENANT, "silo") as source, pytest.raises(Refused) as caught:
        taken(work, source, declared, wanted)
    assert caught.value.code == "archive_kind"
    assert list(bench.world.workspace.backups.rglob("b1*")) == []
    # The canonical form has them all the same.
    with engine.reading(TENANT, "silo") as source:
        made = taken(work, source, declared, replace(wanted, kind="canonical"))
    assert made.contents["team"] is not None


def test_without_pg_dump_a_dump_is_refused(
    bench: Bench, dumping: tuple[DatabaseEngine, Work], tmp_path: Path
) -> None:
    engine, work = dumping
    with engine.reading(TENANT, "silo") as source, pytest.raises(Unavailable) as caught:
        taken(
            replace(work, ports=bench.world.ports),
            source,
            collections(bench),
            Wanted("b1", Home("silo"), UNTIL, "postgres"),
        )
    assert caught.value.code == "pg_dump_missing"
    assert _left_aside(bench) == []


def _left_aside(bench: Bench) -> list[str]:
    return [path.name for path in bench.world.workspace.backups.rglob("*.writing")]


def test_an_engines_own_copy_that_is_not_as_its_row_says_is_refused(bench: Bench) -> None:
    records(bench, 1)
    engine, work, declared = own_file(bench), work_of(bench), collections(bench)
    with engine.reading(TENANT, "silo") as source:
        made = taken(work, source, declared, Wanted("b1", Home("silo"), UNTIL, "sqlite"))
    told: Any = json.loads(json.dumps(made.contents))
    told["tables"]["contacts"]["rows"] += 1
    other: Backup = made.model_copy(update={"contents": told})
    with pytest.raises(Refused) as caught:
        prove(work, other, engine, declared)
    assert caught.value.code == "archive_differs"
    assert _left_aside(bench) == []


@pytest.mark.parametrize(
    ("model", "kind"), [("pooled", "sqlite"), ("pooled", "postgres"), ("silo", "postgres")]
)
def test_a_form_that_the_database_does_not_have_is_refused(
    bench: Bench, model: Any, kind: ArchiveKind
) -> None:
    engine, work = own_file(bench) if model == "silo" else _engine(bench), work_of(bench)
    with engine.reading(TENANT, model) as source, pytest.raises(Refused) as caught:
        taken(work, source, collections(bench), Wanted("b1", Home(model), UNTIL, kind))
    assert caught.value.code == "archive_kind"
