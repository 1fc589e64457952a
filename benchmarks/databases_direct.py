"""How soon a service that is logged in directly is refused, beside a bare REVOKE. Asserts nothing.

An open session asks one statement after the other. What is told is from the moment the right is taken
away to the moment when a statement is refused, and to the moment when taking it away returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from databases_bare import BarePostgres, bare_postgres, filled_postgres
from databases_place import Places, places, with_rows
from databases_told import Row, Sheet
from psycopg.sql import SQL, Identifier, Literal

from control_plane.domain.handover import Access
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.support.postgres import Postgres

_ROWS: Final = 1_000
_PASSWORD: Final = "kept-by-a-service"  # noqa: S105 - of a server that goes with this run
_PATIENCE_S: Final = 1.0
_DEADLINE_S: Final = 30.0
_TENANT: Final = "acme"
_ASKED: Final[dict[Access, LiteralString]] = {
    "read_only": "UPDATE tickets SET priority = 1 WHERE id = ''",
    "none": "SELECT 1 FROM tickets WHERE id = ''",
}
_TAKEN: Final[dict[Access, LiteralString]] = {
    "read_only": "REVOKE INSERT, UPDATE, DELETE ON tickets FROM {login}",
    "none": "REVOKE ALL ON tickets FROM {login}",
}


@dataclass(frozen=True)
class Refusal:
    """Milliseconds from when the right is taken away: to a refused statement, and to its end."""

    refused_ms: float
    returned_ms: float


class Service(threading.Thread):
    """A session that asks the same until it is refused, and keeps when that was."""

    def __init__(self, session: psycopg.Connection, asked: LiteralString) -> None:
        super().__init__(daemon=True)
        self._session = session
        self._asked: LiteralString = asked
        self._answered = threading.Event()
        self.refused_at = 0.0

    def run(self) -> None:
        """Ask until it is over."""
        ends = time.perf_counter() + _DEADLINE_S
        try:
            while time.perf_counter() < ends:
                self._session.execute(self._asked)
                self._answered.set()
        except psycopg.Error:
            self.refused_at = time.perf_counter()

    def until_refused(self, act: Callable[[], object]) -> Refusal:
        """Take its right away once it is at work."""
        self.start()
        if not self._answered.wait(_DEADLINE_S):
            raise SystemExit("the service does not come in")
        began = time.perf_counter()
        act()
        returned = time.perf_counter()
        self.join(_DEADLINE_S)
        if not self.refused_at:
            raise SystemExit("the service was not refused")
        return Refusal((self.refused_at - began) * 1_000, (returned - began) * 1_000)


def directly(postgres: Postgres, folder: Path, rounds: int) -> list[Row]:
    """By model and what is left of the access; on Postgres, for a file of SQLite's has no logins."""
    sheet = Sheet("engine", "model", "left")
    with places(postgres, folder / "direct") as held, bare_postgres(held.server) as bare:
        filled = filled_postgres(bare, _ROWS)
        for model in ISOLATIONS:
            with_rows(held.postgres, _TENANT, model, _ROWS)
        for _, access, model in product(range(rounds), _ASKED, ISOLATIONS):
            row = ("Postgres", model, access)
            with _let_in(held, model) as session:
                act = partial(held.postgres.limit_direct, _TENANT, model, access, _PATIENCE_S)
                mine = Service(session, _ASKED[access]).until_refused(act)
            theirs = _revoked(bare, filled, access)
            sheet.add(row, "refused after, ms", mine.refused_ms)
            sheet.add(row, "a bare REVOKE, ms", theirs.refused_ms)
            sheet.add(row, "the call returns, ms", mine.returned_ms)
            sheet.add(row, "REVOKE returns, ms", theirs.returned_ms)
    return sheet.rows({"ours : bare": ("refused after, ms", "a bare REVOKE, ms")})


@contextmanager
def _let_in(held: Places, model: Isolation) -> Generator[psycopg.Connection]:
    engine = held.postgres
    engine.grant_direct(_TENANT, model, "a", _PASSWORD, "full")
    address = engine.direct_address(_TENANT, model, "a")
    with _session(held, str(address.user), str(address.database)) as session:
        yield session
    engine.revoke_direct(_TENANT, model, "a")


def _revoked(bare: BarePostgres, database: str, access: Access) -> Refusal:
    login = f"{bare.server.prefix}_service"
    whose = Identifier(login)
    with bare.server.raw(bare.server.root, database) as owner:
        made = SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        owner.execute(made.format(whose, Literal(_PASSWORD)))
        owner.execute(SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO {}").format(whose))
        taken = SQL(_TAKEN[access]).format(login=whose)
        with _session(bare, login, database) as session:
            found = Service(session, _ASKED[access]).until_refused(lambda: owner.execute(taken))
        owner.execute(SQL("DROP OWNED BY {}").format(whose))
        owner.execute(SQL("DROP ROLE {}").format(whose))
    return found


@contextmanager
def _session(
    held: Places | BarePostgres, user: str, database: str
) -> Generator[psycopg.Connection]:
    session = psycopg.connect(
        host=str(held.server.root.query["host"]),
        user=user,
        password=_PASSWORD,
        dbname=database,
        autocommit=True,
    )
    try:
        yield session
    finally:
        # It may have been ended from the other side.
        with suppress(psycopg.Error):
            session.close()
