"""`paybill init --postgres-file` and the logins it leaves, from outside. Not what each login may do."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from typer.testing import CliRunner

from control_plane.audit.recorder import guarded_rows
from control_plane.errors import Unavailable
from control_plane.store.logins import LOGINS, Login, Names
from server import initialise, postgres_init
from server.cli.app import app
from server.clock import SystemClock
from server.ids import RandomIds
from server.initialise import Answers
from server.login_files import login_path, read_login
from server.opening import open_store
from server.workspace import Workspace, find, read_workspace_file
from tests.support.postgres import Postgres, raze, running_postgres

pytestmark = pytest.mark.slice_of(3)

PASSPHRASE = b"correct horse battery"
PASSWORD = "the-owners-own"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of these tests' own: what an init made is told by all that stands on it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def root(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> Iterator[Path]:
    folder = tmp_path.resolve() / "shop"
    folder.mkdir()
    monkeypatch.setenv("PAYBILL_HOME", str(home))
    monkeypatch.setenv("PAYBILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(folder)
    yield folder
    if (folder / "paybill.toml").exists():
        raze(postgres, read_workspace_file(folder).workspace.id)


@pytest.fixture
def owner(postgres: Postgres) -> Iterator[URL]:
    """An owner as a managed server gives one: no superuser, let in by a password."""
    said(postgres.owner, f"CREATE ROLE boss LOGIN CREATEDB CREATEROLE PASSWORD '{PASSWORD}'")
    yield postgres.owner.set(username="boss", password=PASSWORD)
    said(postgres.owner, "REASSIGN OWNED BY boss TO postgres", "DROP OWNED BY boss CASCADE")
    said(postgres.owner, "DROP ROLE boss")


@pytest.fixture
def owner_file(tmp_path: Path, owner: URL) -> Path:
    return kept(tmp_path / "owner", owner.set(drivername="postgresql"))


def left_behind(*_: object) -> None:
    """As by a kill: nobody tidies up."""


def said(url: URL, *statements: str) -> list[str]:
    """Run them; what the last one answers."""
    found: list[str] = []
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for one in statements:
            result = connection.execute(text(one))
            found = [str(row[0]) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def kept(path: Path, url: URL | str) -> Path:
    path.touch(mode=0o600)
    content = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    path.write_text(f"{content}\n")
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def init(*options: str) -> tuple[int, str, str]:
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE + b"\n")
    os.close(writing)
    try:
        return run("init", "--yes", "--passphrase-fd", str(reading), *options)
    finally:
        os.close(reading)


def made(root: Path, home: Path, owner: URL | None) -> Workspace:
    answers = Answers("demo", "own_hand", PASSPHRASE, owner)
    return initialise.initialise(root, home, answers, SystemClock(), RandomIds())


def standing(postgres: Postgres) -> list[str]:
    return said(
        postgres.owner,
        "SELECT datname FROM pg_database WHERE starts_with(datname, 'paybill_') ORDER BY 1",
    ) + said(
        postgres.owner,
        "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'paybill_') ORDER BY 1",
    )


def whole(workspace: Workspace) -> list[str]:
    names = Names(workspace.id)
    return [names.database, *sorted(names.role(one) for one in LOGINS)]


def drafts(home: Path) -> list[Path]:
    return sorted(home.glob(".new-*"))


def test_init_makes_a_workspace_whose_rows_lie_on_the_server(
    root: Path, home: Path, owner_file: Path, postgres: Postgres
) -> None:
    code, out, error = init("--postgres-file", str(owner_file))
    assert code == 0, error
    workspace = find(root, home)
    assert workspace.id in out
    assert workspace.store == "postgres"
    assert not workspace.store_db.exists()
    assert standing(postgres) == whole(workspace)
    store = open_store(workspace)
    with store.read() as connection:
        rows = guarded_rows(connection)
    store.close()
    assert {name for table, name in rows if table == "setting"} == {
        "approval.rule",
        "catalog.before",
        "catalog.digest",
        "keys.public",
        "workspace.id",
    }
    for path in (workspace.state, *workspace.state.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    everything = b"".join(one.read_bytes() for one in workspace.state.rglob("*") if one.is_file())
    assert PASSWORD.encode() not in everything
    assert PASSWORD not in out + error


@pytest.mark.long
def test_the_commands_after_it_work_each_by_its_login(
    root: Path, owner_file: Path, tmp_path: Path
) -> None:
    assert init("--postgres-file", str(owner_file))[0] == 0
    token = tmp_path / "agent.token"
    issued = run(
        "token", "issue", "--principal", "alice", "--roles", "viewer", "--tenants", "acme",
        "--out", str(token),
    )  # fmt: skip
    assert issued[0] == 0, issued
    assert token.stat().st_size > 100
    assert "alice" in run("token", "list")[1]
    assert run("audit", "key")[0] == 0
    shown = run("audit", "show")
    assert "grant.issued" in shown[1], shown
    opened = run("audit", "show", "--open")
    assert '"principal": "alice"' in opened[1], opened
    doctor = run("doctor")[1]
    assert "PostgreSQL" in doctor


@pytest.mark.long
@pytest.mark.parametrize("login", ["face", "auditor"])
def test_a_login_needs_its_own_file_and_no_other(
    root: Path, home: Path, owner: URL, login: Login
) -> None:
    workspace = made(root, home, owner)
    for other in LOGINS:
        if other != login:
            login_path(workspace.state, other).unlink()
    store = open_store(workspace, login)
    with store.read() as connection:
        user = connection.execute(text("SELECT current_user")).scalar()
    store.close()
    assert user == Names(workspace.id).role(login)
    with pytest.raises(Unavailable) as told:
        open_store(workspace)
    assert told.value.code == "login_absent"


@pytest.mark.long
def test_a_login_file_of_another_login_is_refused(root: Path, home: Path, owner: URL) -> None:
    workspace = made(root, home, owner)
    face, worker = (login_path(workspace.state, one) for one in ("face", "worker"))
    face.write_bytes(worker.read_bytes())
    with pytest.raises(Unavailable) as told:
        read_login(workspace.state, "face")
    assert told.value.code == "login_absent"
    assert stat.S_IMODE(worker.stat().st_mode) == 0o600
    assert json.loads(worker.read_text())["url"] not in str(told.value)


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    "place", ["_write_settings", "marker_bytes", "sync_folder", "upgrade", "make", "write_login"]
)
def test_an_init_that_fails_takes_everything_back(
    root: Path,
    home: Path,
    owner: URL,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    cut_off(monkeypatch, place)
    with pytest.raises(CutError):
        made(root, home, owner)
    assert standing(postgres) == []
    assert drafts(home) == []
    monkeypatch.undo()
    assert standing(postgres) == [] == drafts(home)
    assert whole(made(root, home, owner)) == standing(postgres)


@pytest.mark.long_but_one
@pytest.mark.parametrize("place", ["_write_settings", "marker_bytes", "upgrade", "write_login"])
def test_a_killed_init_does_not_stand_in_the_way_of_the_next(
    root: Path,
    home: Path,
    owner: URL,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    cut_off(monkeypatch, place)
    # As by a kill: nobody tidies up.
    monkeypatch.setattr(initialise, "discard_draft", left_behind)
    with pytest.raises(CutError):
        made(root, home, owner)
    monkeypatch.undo()
    monkeypatch.chdir(root)
    assert len(standing(postgres)) == 1 + len(LOGINS)
    assert len(drafts(home)) == 1
    workspace = made(root, home, owner)
    assert whole(workspace) == standing(postgres)
    assert drafts(home) == []


@pytest.mark.long
def test_an_init_in_files_after_a_killed_one_keeps_what_says_what_to_remove(
    root: Path, home: Path, owner: URL, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(monkeypatch, "marker_bytes")
    monkeypatch.setattr(initialise, "discard_draft", left_behind)
    with pytest.raises(CutError):
        made(root, home, owner)
    monkeypatch.undo()
    workspace = made(root, home, None)
    assert workspace.store == "sqlite"
    assert len(drafts(home)) == 1
    postgres_init.discard_draft(drafts(home)[0], owner)
    assert standing(postgres) == [] == drafts(home)


@pytest.mark.long
def test_the_same_workspace_of_another_home_is_never_dropped(
    root: Path, home: Path, owner: URL, postgres: Postgres, tmp_path: Path
) -> None:
    first = made(root, home, owner)
    with pytest.raises(Unavailable) as told:
        made(root, tmp_path / "another home", owner)
    assert told.value.code == "postgres_taken"
    assert standing(postgres) == whole(first)
    store = open_store(first)
    with store.read() as connection:
        assert guarded_rows(connection)
    store.close()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "one\ntwo",
        "a word",
        "mysql://u:p@h/d",
        "postgresql://u:p@h/d?options=-c%20statement_timeout=0",
        "postgresql://u:p@h/d?passfile=/etc/passwd",
        "postgresql://u:p@/d",
        "postgresql://h/d",
        "postgresql://u:p@h",
        "postgresql://u:p@h:port/d",
    ],
)
def test_an_owners_file_that_is_none_is_refused_without_its_words(
    root: Path, home: Path, tmp_path: Path, content: str
) -> None:
    code, _, error = init("--postgres-file", str(kept(tmp_path / "owner", content)))
    assert code == 1
    assert "--postgres-file" in error
    assert error.count("\n") == 1
    assert "u:p" not in error
    assert not list(home.glob("*/")) if home.exists() else True


def test_an_owners_file_that_others_may_read_is_refused(root: Path, owner_file: Path) -> None:
    owner_file.chmod(0o640)
    code, _, error = init("--postgres-file", str(owner_file))
    assert (code, "chmod 600" in error) == (1, True)


def test_an_owner_that_may_not_is_told_in_one_line(
    root: Path, owner_file: Path, postgres: Postgres
) -> None:
    said(postgres.owner, "ALTER ROLE boss NOCREATEDB")
    code, _, error = init("--postgres-file", str(owner_file))
    assert (code, error.count("\n")) == (1, 1)
    assert "databases and roles" in error
    assert PASSWORD not in error
    assert standing(postgres) == []


class CutError(Exception):
    """Where an init was cut off."""


def cut_off(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def cut(*_: object, **__: object) -> None:
        raise CutError

    from control_plane.store import logins

    where = {
        "upgrade": (postgres_init, "upgrade_postgres"),
        "write_login": (postgres_init, "write_login"),
        "make": (logins, "_make_database"),
        "sync_folder": (initialise, "sync_folder"),
    }
    module, name = where.get(place, (initialise, place))
    whole_function = getattr(module, name)
    if name != "sync_folder":
        monkeypatch.setattr(module, name, cut)
        return

    def only_the_drafts(folder: Path) -> None:
        if folder.name.startswith(".new-"):
            raise CutError
        whole_function(folder)

    monkeypatch.setattr(module, name, only_the_drafts)
