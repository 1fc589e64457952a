"""Real schemas of others, pulled whole: their DDL comes out of installed packages, never from here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dbos._migration import ensure_dbos_schema, run_dbos_migrations, sqlite_migrations
from sqlalchemy import URL, create_engine

from control_plane.data.collection import Collection, load_collections
from control_plane.data.pulling.declaring import declare
from control_plane.data.pulling.draft import Pulled
from control_plane.data.pulling.reading import read_schema
from control_plane.data.pulling.writing import write_declarations
from tests.support.foreign_schemas import as_postgres, chinook, job_queue, run_statements
from tests.support.postgres import Postgres


def catalog(pulled: Pulled, folder: Path) -> dict[str, Collection]:
    """The collections as a catalog reads them from the files that were written."""
    write_declarations(pulled.collections, folder / "collections")
    return {one.name: one for one in load_collections(folder / "collections")}


@pytest.fixture
def database(postgres: Postgres) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


CHINOOK = {
    "album": {"title": "string", "artist_id": "artist"},
    "artist": {"name": "string"},
    "customer": {
        **dict.fromkeys(("first_name", "last_name", "company", "address", "city"), "string"),
        **dict.fromkeys(("state", "country", "postal_code", "phone", "fax", "email"), "string"),
        "support_rep_id": "employee",
    },
    "employee": {
        **dict.fromkeys(("last_name", "first_name", "title", "address", "city"), "string"),
        **dict.fromkeys(("state", "country", "postal_code", "phone", "fax", "email"), "string"),
        "birth_date": "timestamp",
        "hire_date": "timestamp",
        "reports_to": "employee",
    },
    "genre": {"name": "string"},
    "invoice": {
        **{f"billing_{one}": "string" for one in ("address", "city", "state", "country")},
        "customer_id": "customer",
        "invoice_date": "timestamp",
        "total": "decimal",
        "billing_postal_code": "string",
    },
    "invoice_line": {
        "invoice_id": "invoice",
        "track_id": "track",
        "unit_price": "decimal",
        "quantity": "integer",
    },
    "media_type": {"name": "string"},
    "playlist": {"name": "string"},
    "playlist_track": {"playlist_id": "playlist", "track_id": "track"},
    "track": {
        "name": "string",
        "composer": "string",
        "unit_price": "decimal",
        "album_id": "album",
        "media_type_id": "media_type",
        "genre_id": "genre",
        "milliseconds": "integer",
        "bytes": "integer",
    },
}


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_chinook_is_pulled_whole_and_alike_from_both(
    tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    file = chinook()
    if store == "sqlite":
        found = f"sqlite:///{file}"
    else:
        found = run_statements(request.getfixturevalue("database"), as_postgres(file))
    pulled = declare(read_schema(found))
    collections = catalog(pulled, tmp_path)
    assert {
        name: {key: field.collection or field.kind for key, field in one.fields.items()}
        for name, one in collections.items()
    } == CHINOOK
    personal = {
        key for key, field in collections["customer"].fields.items() if field.group == "pii"
    }
    assert personal == {
        *("first_name", "last_name", "address", "postal_code", "phone", "fax", "email")
    }
    assert pulled.tenant_key is None
    lost = [(one.table, said.part) for one in pulled.collections for said in one.remarks.not_mapped]
    assert lost == [("PlaylistTrack", "(PlaylistId, TrackId)")]
    assert ("playlist_id", "track_id") in collections["playlist_track"].indexes
    assert (collections["track"].fields["unit_price"].precision, 2) == (10, 2)
    assert collections["album"].description == "The table Album."


def test_a_queue_with_native_enums_is_pulled_from_postgres(tmp_path: Path, database: URL) -> None:
    pulled = declare(read_schema(run_statements(database, [job_queue()])))
    collections = catalog(pulled, tmp_path)
    assert sorted(collections) == [
        *("procrastinate_events", "procrastinate_jobs"),
        *("procrastinate_periodic_defers", "procrastinate_workers"),
    ]
    jobs = collections["procrastinate_jobs"].fields
    assert (jobs["status"].kind, jobs["status"].default) == ("enum", "todo")
    assert "succeeded" in (jobs["status"].values or ())
    assert (jobs["priority"].default, jobs["abort_requested"].default) == (0, False)
    assert jobs["args"].kind == "json"
    assert jobs["worker_id"].collection == "procrastinate_workers"
    lost: dict[str, Any] = {
        one.table: [said.part for said in one.remarks.not_mapped] for one in pulled.collections
    }
    assert {"check", "args", "index (id, lock)"} <= set(lost["procrastinate_jobs"])
    defers = collections["procrastinate_periodic_defers"]
    assert defers.indexes[0] == ("task_name", "periodic_id", "defer_timestamp")


def job_engine_on_sqlite(folder: Path) -> str:
    file = folder / "jobs.db"
    with closing(sqlite3.connect(file)) as connection:
        for script in sqlite_migrations:
            connection.executescript(script)
    return f"sqlite:///{file}"


def job_engine_on_postgres(url: URL) -> str:
    engine = create_engine(url)
    ensure_dbos_schema(engine, "dbos")
    run_dbos_migrations(engine, "dbos", use_listen_notify=False)
    engine.dispose()
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_job_engines_own_tables_are_pulled_from_both(
    tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    if store == "sqlite":
        pulled = declare(read_schema(job_engine_on_sqlite(tmp_path)))
    else:
        pulled = declare(
            read_schema(job_engine_on_postgres(request.getfixturevalue("database")), schema="dbos")
        )
    collections = catalog(pulled, tmp_path)
    status = collections["workflow_status"].fields
    # A key of text is no surrogate: it is kept, and what refers to it refers to the row.
    assert (status["workflow_uuid"].kind, status["workflow_uuid"].unique) == ("string", True)
    assert collections["workflow_events"].fields["workflow_uuid"].collection == "workflow_status"
    assert status["created_at_source"].kind == "integer"
    assert len(pulled.collections) == len(collections) > 8
