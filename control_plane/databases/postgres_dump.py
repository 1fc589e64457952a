"""A tenant's own schema by pg_dump, in its custom format: written, and its rows read back. Not a pooled tenant's.

It is dumped in the very snapshot that is summed up, by the login and the role that reads it: forced
row security lets no dump see more than the tenant. To read it back nothing of it is executed: its
rows are taken as text, and read as strictly as an archive's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import psycopg
from sqlalchemy import Connection, text

from control_plane.data.archive_parts import OWNER, Part, parts_of
from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.values import Value
from control_plane.databases.postgres_programs import DumpPrograms, running
from control_plane.domain.canonical import instant
from control_plane.errors import Refused

_SEEN: Final = text(
    """SELECT pg_export_snapshot() AS snapshot, current_schema() AS schema, current_user AS role,
    current_setting('paybill.tenant') AS tenant, current_setting('paybill.entry') AS entry"""
)
# What libpq takes of a connection from the environment; the rest is its own.
_PASSED: Final[Mapping[str, str]] = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "channel_binding": "PGCHANNELBINDING",
}
_COPY: Final = re.compile(rb'COPY "?[^"\s]+"?\."?([a-z0-9_]+)"? \(([a-z0-9_", ]+)\) FROM stdin;')
_END: Final = rb"\."
_NULL: Final = b"\\N"
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_LINE_BYTES_MAX: Final = 2**30

Row = tuple[str, dict[str, Value | None]]


def server_major(source: Connection) -> int:
    """The server's major version. Raises Refused (`archive_kind`) where it is no Postgres."""
    return _info(source).server_version // 10_000


def write_dump(source: Connection, target: IO[bytes], programs: DumpPrograms) -> None:
    """Dump the schema that `source` reads: a transaction of a tenant's, in its own schema.

    Raises Failed (`pg_dump_failed`).
    """
    seen = source.execute(_SEEN).one()
    options = {"paybill.tenant": seen.tenant, "paybill.entry": seen.entry, "TimeZone": "UTC"}
    environment = {
        **_environment(_info(source)),
        "PGOPTIONS": " ".join(f"-c {name}={_quoted(value)}" for name, value in options.items()),
        "PGCLIENTENCODING": "UTF8",
        "PGPASSFILE": "/dev/null",
    }
    argv: list[str | Path] = [
        programs.dump,
        "--format=custom",
        "--no-password",
        "--enable-row-security",
        f"--role={seen.role}",
        f"--snapshot={seen.snapshot}",
        f'--schema="{seen.schema}"',
    ]
    with running(argv, environment, lambda: source.execute(text("SELECT 1"))) as blocks:
        for block in blocks:
            target.write(block)


def dumped_rows(
    dump: Path, collections: Sequence[Collection], tenant: str, programs: DumpPrograms
) -> Iterator[Row]:
    """The tenant's rows in a file of `write_dump`'s.

    Raises Refused (`archive_unreadable`), Failed (`pg_dump_failed`).
    """
    parts = parts_of(collections)
    argv: list[str | Path] = [programs.restore, "--data-only", "--no-owner", "--file=-", dump]
    with running(argv, {}, bool) as blocks:
        for name, columns, line in _copied(_lines(blocks)):
            part = parts.get(name)
            if part is not None:
                yield name, _row(part, columns, line, tenant)


def _info(source: Connection) -> psycopg.ConnectionInfo:
    driver: object = source.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise Refused("Only a database on Postgres is dumped.", code="archive_kind")
    return driver.info


def _environment(info: psycopg.ConnectionInfo) -> dict[str, str]:
    known = info.get_parameters()
    told = {variable: known[name] for name, variable in _PASSED.items() if known.get(name)}
    return told | ({"PGPASSWORD": info.password} if info.password else {})


def _quoted(value: str) -> str:
    return re.sub(r"([\\ ])", r"\\\1", value)


def _lines(blocks: Iterable[bytes]) -> Generator[bytes]:
    left = b""
    for block in blocks:
        *whole, left = (left + block).split(b"\n")
        if len(left) > _LINE_BYTES_MAX:
            raise _unreadable()
        yield from whole
    if left:
        yield left


def _copied(lines: Iterator[bytes]) -> Iterator[tuple[str, list[str], bytes]]:
    """Each row's line, with the table and the columns that stand above it."""
    for line in lines:
        begun = _COPY.fullmatch(line)
        if begun is None:
            continue
        name = begun[1].decode()
        columns = [one.strip(' "') for one in begun[2].decode().split(",")]
        for row in lines:
            if row == _END:
                break
            yield name, columns, row
        else:
            raise _unreadable()


def _row(part: Part, columns: Sequence[str], line: bytes, tenant: str) -> dict[str, Value | None]:
    found = line.split(b"\t")
    if len(found) != len(columns):
        raise _unreadable()
    told = dict(zip(columns, found, strict=True))
    try:
        if told[OWNER] != tenant.encode():
            raise _unreadable()
        return part.read({name: _said(one, told[name]) for name, one in part.fields.items()})
    except (KeyError, ValueError, RecursionError):
        raise _unreadable() from None


def _said(field: Field, told: bytes) -> object:
    if told == _NULL:
        return None
    said = _ESCAPED.sub(lambda one: _MEANT.get(one[1], one[1]), told).decode("utf-8")
    return _JSON_OF.get(field.kind, str)(said)


def _instant(said: str) -> str:
    # The server writes the zone without minutes where there are none.
    return instant(datetime.fromisoformat(said))


_JSON_OF: Final[Mapping[str, Callable[[str], object]]] = {
    "integer": int,
    "money": int,
    "boolean": lambda said: {"t": True, "f": False}[said],
    "timestamp": _instant,
    "json": json.loads,
}


def _unreadable() -> Refused:
    return Refused("The archive cannot be read.", code="archive_unreadable")
