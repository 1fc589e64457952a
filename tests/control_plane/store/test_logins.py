"""A workspace's database and logins are made whole, and taken back. Not what they may do to tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import URL, create_engine, text

from control_plane.errors import Unavailable
from control_plane.store import logins
from control_plane.store.logins import LOGINS, Names, make, remove
from control_plane.store.postgres import PostgresStore
from tests.support.postgres import Postgres, raze

PASSWORD = "kept in a file of the owner"


@pytest.fixture
def names(postgres: Postgres) -> Iterator[Names]:
    made = Names(uuid4().hex)
    yield made
    raze(postgres, made.workspace_id)


@pytest.fixture
def owner(postgres: Postgres) -> Iterator[URL]:
    """A login that may make databases and roles, and is no superuser."""
    name = f"owner_{uuid4().hex[:8]}"
    said(postgres.owner, f"CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD '{PASSWORD}'")
    yield postgres.owner.set(username=name, password=PASSWORD)
    said(postgres.owner, f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name} CASCADE")


def said(url: URL, statement: str, **given: str) -> list[tuple[object, ...]]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.execute(text(statement), given)
        found = [tuple(one) for one in result] if result.returns_rows else []
    engine.dispose()
    return found


def standing(postgres: Postgres, names: Names) -> list[str]:
    databases = said(
        postgres.owner,
        "SELECT datname FROM pg_database WHERE starts_with(datname, :ours) ORDER BY 1",
        ours=names.database,
    )
    roles = said(
        postgres.owner,
        "SELECT rolname FROM pg_roles WHERE starts_with(rolname, :ours) ORDER BY 1",
        ours=names.database,
    )
    return [str(one) for (one,) in databases + roles]


def test_an_owner_that_is_no_superuser_makes_everything_and_takes_it_back(
    postgres: Postgres, owner: URL, names: Names
) -> None:
    made = make(owner, names, "one")
    assert standing(postgres, names) == [
        names.database,
        *sorted(names.role(login) for login in LOGINS),
    ]
    assert set(made) == set(LOGINS)
    for login in ("worker", "face", "auditor"):
        with closing(PostgresStore(made[login])) as store, store.read() as connection:
            assert connection.execute(text("SELECT current_user")).scalar() == names.role(login)
    remove(owner, names, "one")
    assert standing(postgres, names) == []


def test_the_logins_are_no_more_than_they_must_be(postgres: Postgres, names: Names) -> None:
    make(postgres.owner, names, "one")
    found = said(
        postgres.owner,
        "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolbypassrls,"
        " rolreplication FROM pg_roles WHERE starts_with(rolname, :ours) ORDER BY 1",
        ours=names.database,
    )
    no = (False, False)
    assert found == [
        (names.role("auditor"), False, False, False, True, *no),
        (names.role("data"), False, False, False, False, *no),
        (names.role("face"), False, False, False, True, *no),
        (names.role("worker"), False, True, True, True, *no),
    ]


def test_a_password_reaches_the_server_as_a_verifier_only(postgres: Postgres, names: Names) -> None:
    made = make(postgres.owner, names, "one")
    kept = said(
        postgres.owner,
        "SELECT rolpassword FROM pg_authid WHERE starts_with(rolname, :ours)",
        ours=names.database,
    )
    assert all(str(one).startswith("SCRAM-SHA-256$") for (one,) in kept)
    wrong = made["face"].set(password="another")
    with closing(PostgresStore(wrong)) as store:
        with pytest.raises(Unavailable) as told, store.read():
            pytest.fail("let in")
        assert "another" not in str(told.value)


@pytest.mark.parametrize("cut", ["_make_role", "_make_database", "between"])
def test_what_was_cut_off_is_taken_back_under_its_mark_alone(
    postgres: Postgres, owner: URL, names: Names, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    class Cut(Exception):
        pass

    def stop(*_: object) -> None:
        raise Cut

    if cut == "between":
        whole = logins._make_database

        def half(server: psycopg.Connection[object], one: Names) -> None:
            whole(server, one)
            raise Cut

        monkeypatch.setattr(logins, "_make_database", half)
    else:
        monkeypatch.setattr(logins, cut, stop)
    with pytest.raises(Cut):
        make(owner, names, "one")
    monkeypatch.undo()
    left = standing(postgres, names)
    remove(owner, names, "another")
    assert standing(postgres, names) == left
    remove(owner, names, "one")
    assert standing(postgres, names) == []
    make(owner, names, "two")


def test_what_stands_already_is_refused_and_left_alone(postgres: Postgres, names: Names) -> None:
    made = make(postgres.owner, names, "one")
    with pytest.raises(Unavailable) as told:
        make(postgres.owner, names, "two")
    assert told.value.code == "postgres_taken"
    with closing(PostgresStore(made["worker"])) as store, store.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_an_owner_that_may_not_is_refused_before_anything_is_made(
    postgres: Postgres, owner: URL, names: Names
) -> None:
    said(postgres.owner, f"ALTER ROLE {owner.username} NOCREATEROLE")
    with pytest.raises(Unavailable) as told:
        make(owner, names, "one")
    assert told.value.code == "postgres_rights"
    assert standing(postgres, names) == []


def test_a_server_that_does_not_answer_is_named_without_its_words(
    postgres: Postgres, names: Names
) -> None:
    for url in (
        postgres.owner.set(query={"host": "/nowhere"}),
        postgres.owner.set(username="nobody", password=PASSWORD),
    ):
        with pytest.raises(Unavailable) as told:
            make(url, names, "one")
        assert told.value.code == "postgres_unavailable"
        assert told.value.__cause__ is None
        for word in ("nowhere", "nobody", PASSWORD):
            assert word not in str(told.value)
