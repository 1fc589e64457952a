"""Reference rows on SQLite: one file for bridge tenants, replaced whole, that no engine writes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete, func, insert, select, text, update

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.data.tables import REFERENCE, collection_table
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.errors import PaybillError, Unavailable

CHECKOUT = Path(__file__).parents[3]
CURRENCIES: Final = load_collection(SAMPLES / "currencies.yaml")
CONTACTS: Final = load_collection(SAMPLES / "contacts.yaml")
CATALOG: Final = [CONTACTS, CURRENCIES]
TABLE: Final = collection_table(CURRENCIES)
FILES: Final = {
    "silo": "silo/acme.reference.db",
    "bridge": "reference.db",
    "pooled": "pooled.reference.db",
}
CHILD = """
import sys, threading
from pathlib import Path
from control_plane.data.collection import SAMPLES, load_collection
from control_plane.databases.sqlite import SqliteDatabases

def wait_to_be_killed(*_):
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

Path.replace = wait_to_be_killed
collections = [load_collection(SAMPLES / "currencies.yaml")]
SqliteDatabases(Path(sys.argv[1]), busy_timeout_ms=5000).create("acme", "bridge", collections, 1)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def databases(root: Path) -> SqliteDatabases:
    return SqliteDatabases(root, busy_timeout_ms=2_000)


@pytest.fixture(params=ISOLATIONS)
def model(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


def fewer(rows: int) -> list[Collection]:
    """The same catalog, with only the first rows of the reference collection."""
    return [CONTACTS, CURRENCIES.model_copy(update={"rows": CURRENCIES.rows[:rows]})]


def seen(databases: SqliteDatabases, tenant: str, model: Isolation) -> int:
    with databases.reading(tenant, model) as connection:
        return int(connection.execute(select(func.count()).select_from(TABLE)).scalar_one())


@pytest.mark.slice_of(4)
@pytest.mark.parametrize(
    "statement",
    [
        insert(TABLE).values(id="x", code="ZZZ", title="x", minor_digits=0),
        update(TABLE).values(title="x"),
        delete(TABLE),
        delete(REFERENCE),
        text("CREATE TABLE reference.more (id)"),
        text("DROP TABLE reference.currencies"),
        text("PRAGMA reference.user_version=7"),
    ],
    ids=["insert", "update", "delete", "digest", "create", "drop", "pragma"],
)
def test_the_engine_itself_refuses_every_change(
    databases: SqliteDatabases, model: Isolation, statement: object
) -> None:
    databases.create("acme", model, CATALOG, 1)
    with pytest.raises(Unavailable) as caught, databases.transaction("acme", model) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    assert caught.value.code == "database_unavailable"
    assert seen(databases, "acme", model) == len(CURRENCIES.rows)
    assert databases.probe("acme", model, CATALOG) == "ready"


def test_a_connection_that_let_go_of_the_rows_cannot_bring_them_in_to_write(
    databases: SqliteDatabases, root: Path, model: Isolation
) -> None:
    databases.create("acme", model, CATALOG, 1)
    with databases.reading("acme", model) as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.rollback()
        raw.execute("DETACH reference")
        with pytest.raises(sqlite3.OperationalError, match="too many attached"):
            raw.execute("ATTACH ? AS reference", (str(root / FILES[model]),))


def test_its_file_is_read_only_and_has_nothing_beside_it(
    databases: SqliteDatabases, root: Path, model: Isolation
) -> None:
    databases.create("acme", model, CATALOG, 1)
    path = root / FILES[model]
    with databases.transaction("acme", model) as connection:
        connection.execute(select(TABLE)).all()
        assert path.stat().st_mode & 0o777 == 0o400
        assert [one.name for one in path.parent.glob(f"*{path.name}*")] == [path.name]


def test_a_reader_keeps_its_rows_while_the_file_is_replaced(
    databases: SqliteDatabases, root: Path
) -> None:
    databases.create("acme", "bridge", fewer(3), 1)
    with databases.reading("acme", "bridge") as connection:
        count = select(func.count()).select_from(TABLE)
        assert connection.execute(count).scalar_one() == 3
        databases.create("other", "bridge", CATALOG, 1)
        assert connection.execute(count).scalar_one() == 3
    assert seen(databases, "acme", "bridge") == seen(databases, "other", "bridge") == 10


@pytest.mark.long
def test_readers_never_see_half_of_it(databases: SqliteDatabases) -> None:
    """Rows and digest come from one file, however often it is replaced meanwhile."""
    databases.create("acme", "bridge", fewer(2), 1)
    digests = {rows: _digest(databases, rows) for rows in (2, 5)}
    done, wrong = threading.Event(), list[tuple[int, str]]()

    def read() -> None:
        while not done.is_set():
            with databases.reading("acme", "bridge") as connection:
                rows = connection.execute(select(func.count()).select_from(TABLE)).scalar_one()
                digest = connection.execute(select(REFERENCE.c.digest)).scalar_one()
            if digests.get(rows) != digest:
                wrong.append((rows, digest))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(20):
            databases.create("acme", "bridge", fewer(2 if turn % 2 else 5), 1)
    finally:
        done.set()
        reader.join(20)
    assert not reader.is_alive()
    assert wrong == []


def _digest(databases: SqliteDatabases, rows: int) -> str:
    databases.create("acme", "bridge", fewer(rows), 1)
    with databases.reading("acme", "bridge") as connection:
        return str(connection.execute(select(REFERENCE.c.digest)).scalar_one())


def test_a_refresh_that_was_killed_left_nothing_and_is_done_again(
    databases: SqliteDatabases, root: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root)], stdout=subprocess.PIPE, cwd=CHECKOUT
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()
    assert not (root / "reference.db").exists()
    assert not databases.exists("acme", "bridge")
    databases.create("acme", "bridge", CATALOG, 1)
    assert seen(databases, "acme", "bridge") == len(CURRENCIES.rows)
    assert not list(root.glob(".reference.db.*"))


def test_a_file_that_cannot_be_read_is_replaced(databases: SqliteDatabases, root: Path) -> None:
    root.mkdir()
    (root / "reference.db").write_bytes(b"this is no database" * 100)
    databases.create("acme", "bridge", CATALOG, 1)
    assert seen(databases, "acme", "bridge") == len(CURRENCIES.rows)


def test_without_its_rows_a_tenants_database_differs_until_it_is_created_again(
    databases: SqliteDatabases, root: Path, model: Isolation
) -> None:
    databases.create("acme", model, CATALOG, 1)
    (root / FILES[model]).unlink()
    assert databases.probe("acme", model, CATALOG) == "differs"
    with pytest.raises(PaybillError):
        seen(databases, "acme", model)
    databases.create("acme", model, CATALOG, 1)
    assert databases.probe("acme", model, CATALOG) == "ready"


def test_other_rows_differ_and_no_reference_is_as_good_as_any(
    databases: SqliteDatabases, model: Isolation
) -> None:
    databases.create("acme", model, fewer(3), 1)
    assert databases.probe("acme", model, CATALOG) == "differs"
    assert databases.probe("acme", model, [CONTACTS]) == "ready"


def test_a_silo_takes_its_copy_with_it_and_what_is_shared_stays(
    databases: SqliteDatabases, root: Path
) -> None:
    for model in ISOLATIONS:
        databases.create("acme", model, CATALOG, 1)
        databases.create("other", model, CATALOG, 1)
        databases.drop("acme", model, 1)
        databases.drop("acme", model, 1)
        assert seen(databases, "other", model) == len(CURRENCIES.rows)
    assert not (root / FILES["silo"]).exists()
    assert sorted(path.name for path in (root / "silo").iterdir()) == [
        "other.db",
        "other.reference.db",
    ]
    assert (root / FILES["bridge"]).exists()


def test_a_trial_is_gone_at_its_end_and_disturbs_nobody(
    databases: SqliteDatabases, root: Path, model: Isolation
) -> None:
    databases.create("acme", model, CATALOG, 1)
    with (
        databases.scratch("acme", model, CATALOG) as first,
        databases.scratch("acme", model, CATALOG) as second,
        databases.transaction("acme", model),
    ):
        for trial in (first, second):
            contacts = collection_table(CONTACTS)
            assert trial.execute(select(func.count()).select_from(contacts)).scalar_one() == 0
            assert trial.execute(select(func.count()).select_from(TABLE)).scalar_one() == 10
        assert len(list((root / "trial").glob("*.db"))) == 2
        assert (root / "trial").stat().st_mode & 0o777 == 0o700
        assert all(one.stat().st_mode & 0o777 == 0o600 for one in (root / "trial").iterdir())
    assert not list((root / "trial").iterdir())


def test_what_a_killed_trial_left_goes_with_the_next_of_any_tenant(
    databases: SqliteDatabases, root: Path
) -> None:
    trials = root / "trial"
    with databases.scratch("acme", "silo", CATALOG):
        left = {path: path.read_bytes() for path in trials.iterdir()}
    for path, content in left.items():
        path.write_bytes(content)
    assert len(list(trials.iterdir())) >= 2
    with databases.scratch("other", "pooled", CATALOG):
        assert not any(path.name.startswith("acme") for path in trials.iterdir())
    assert not list(trials.iterdir())


def test_a_trial_that_fails_is_removed_too(databases: SqliteDatabases, root: Path) -> None:
    with pytest.raises(ZeroDivisionError), databases.scratch("acme", "silo", CATALOG):
        raise ZeroDivisionError
    assert not list((root / "trial").iterdir())
