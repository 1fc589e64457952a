"""What there is of a tenant on every server of databases, by name: places, files, roles, captures, who is let in, locks. Not its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, NullPool, create_engine, select, text

from control_plane.data.tables import FENCE
from control_plane.databases.files import DatabaseFiles
from control_plane.databases.postgres_names import Names
from control_plane.domain.home import SLOTS, Home
from control_plane.store.logins import Names as Logins
from tests.support.postgres import Postgres
from tests.support.waiting import until
from tests.unwind.standing import RESOURCES, files_standing, objects_standing

if TYPE_CHECKING:
    from tests.unwind.site import Site

_CAPTURED: Final = text("""SELECT n.nspname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal
    AND t.tgname = ANY(ARRAY[:i, :u, :d, :t])
    UNION SELECT place FROM paybill.paybill_moving WHERE tenant_id = :tenant
    UNION SELECT place FROM paybill.paybill_outbox WHERE tenant_id = :tenant""")
_HELD: Final = text("SELECT 1 FROM paybill.paybill_moving LIMIT 1")
_TRIGGERED: Final = text("SELECT 1 FROM pg_trigger WHERE tgname LIKE 'paybill_moving%' LIMIT 1")
_THERE: Final = text("SELECT datname FROM pg_database WHERE datname = ANY(:names) ORDER BY 1")
_STANDS: Final = text("SELECT to_regclass(:name) IS NOT NULL")
_LOCKED: Final = text("""SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND starts_with(d.datname, :prefix)""")


def label(home: Home) -> str:
    """A place in one word."""
    return f"{home.server}/{home.isolation}{home.slot or ''}"


def names_standing(site: Site, tenant: str) -> list[str]:
    """All that has a name, the tenant's id written as ``*``."""
    found: list[str] = []
    for name, server in site.engines.items():
        owner = None if server is None else server.owner
        named = (
            files_standing(site, tenant) if owner is None else objects_standing(site, owner, tenant)
        )
        found += [f"{name}: {one}" for one in named]
    return [*found, *_pooled(site, tenant)]


def _pooled(site: Site, tenant: str) -> Iterator[str]:
    """The places that a tenant shares with others: there nothing has its name, but its fence."""
    for name, server in site.engines.items():
        homes = [Home("pooled", name, slot) for slot in SLOTS]
        if server is None:
            standing = (one for one in homes if site.servers.at(one).exists(tenant, "pooled"))
            yield from map(label, standing)
        else:
            yield from map(label, _fenced(server, site, homes, tenant))


def _fenced(server: Postgres, site: Site, homes: list[Home], tenant: str) -> Iterator[Home]:
    mine = select(FENCE.c.epoch).where(FENCE.c.tenant_id == tenant)
    places = {one: Names(_prefix(site), one.slot).place(tenant, "pooled") for one in homes}
    with _connected(server) as outside:
        there = _there(outside, {one.database for one in places.values()})
    for database in there:
        with _connected(server, database) as inside:
            for home, place in places.items():
                named = {"name": f"{place.schema}.{FENCE.name}"}
                if not inside.execute(_STANDS, named).scalar_one():
                    continue
                within = {"schema_translate_map": {None: place.schema}}
                if inside.execute(mine, execution_options=within).first() is not None:
                    yield home


def names_of(site: Site, home: Home, *, served: bool) -> list[str]:
    """What one place has, or should: `served` where the tenant's services were ever let in."""
    model, server, slot = home
    if model == "pooled":
        return [label(home)]
    if site.engines[server] is None:
        own = f"file {model}/*{f'.{slot}' if slot else ''}"
        named = [f"{own}.db", *([f"{own}.reference.db"] if model == "silo" else [])]
        return [f"{server}: {one}" for one in named]
    # Only who lets them in makes the roles that they have there.
    direct = ("rw" if model == "silo" else "pq") if served else ""
    named = [f"role pb__{letter}{slot}_*" for letter in direct]
    if model == "silo":
        own = f"pb__s{slot}_*" if slot else "pb_*"
        named += [f"database {own}", f"role {own}"]
    else:
        named += [f"role pb__b{slot or 'r'}_*", f"schema bridge{slot or ''}_*"]
    return [f"{server}: {one}" for one in named]


def let_in(site: Site, tenant: str, homes: Iterable[Home]) -> Iterator[tuple[str, str, str]]:
    """In which of these places the tenant's services are let in, by which half, and what each may there."""
    for home in homes:
        halves = site.servers.at(home).direct_halves(tenant, home.isolation)
        yield from ((label(home), half, access) for half, access in halves.items())


def _homes(site: Site) -> Iterator[Home]:
    for server in site.engines:
        for model in RESOURCES:
            for slot in SLOTS:
                yield Home(model, server, slot)  # type: ignore[arg-type]


def _prefix(site: Site) -> str:
    return Logins(site.house.workspace.id).prefix


# What notes and refuses changes ----------------------------------------------------------------


def captured(site: Site, tenant: str) -> set[str]:
    """The places in which anything of it is; that it is nowhere for nobody is asserted on the way."""
    found: set[str] = set()
    for name, server in site.engines.items():
        homes = [one for one in _homes(site) if one.server == name]
        found |= (
            _captured_in_files(site, homes, tenant)
            if server is None
            else set(_captured_on(server, site, homes, tenant))
        )
    return found


def _captured_in_files(site: Site, homes: list[Home], tenant: str) -> set[str]:
    files = [DatabaseFiles(site.house.workspace.data, 1, slot) for slot in SLOTS]
    paths = {label(home): files[home.slot].place(tenant, home.isolation).rows for home in homes}
    return {name for name, path in paths.items() if path.exists() and _is_noted(path, tenant)}


def _is_noted(path: Path, tenant: str) -> bool:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        every = {str(name) for (name,) in raw.execute("SELECT name FROM sqlite_master")}
        triggers = [one for one in every if one.startswith("paybill_moving.")]
        if "paybill_moving" not in every:
            assert not triggers, "a trigger outlived what it asks"
            return False
        whose = [str(one) for (one,) in raw.execute("SELECT tenant_id FROM paybill_moving")]
        entries = raw.execute("SELECT 1 FROM paybill_outbox WHERE tenant_id = ?", [tenant])
        noted = entries.fetchone() is not None
    assert whose, "a capture's tables are left, and nobody's"
    return noted or tenant in whose or any(f".{tenant}." in one for one in triggers)


def _captured_on(server: Postgres, site: Site, homes: list[Home], tenant: str) -> Iterator[str]:
    prefix = _prefix(site)
    places = {
        (place.database, place.schema): label(home)
        for home in homes
        for place in [Names(prefix, home.slot).place(tenant, home.isolation)]
    }
    given = {letter: f"paybill_moving_{tenant}_{letter}" for letter in "iudt"}
    with _connected(server) as outside:
        there = _there(outside, {database for database, _ in places})
    for database in there:
        with _connected(server, database) as inside:
            if not inside.execute(_STANDS, {"name": "paybill.paybill_moving"}).scalar_one():
                assert inside.execute(_TRIGGERED).first() is None, "a trigger outlived what it asks"
                continue
            assert inside.execute(_HELD).first(), "a capture's tables are left, and nobody's"
            found = inside.execute(_CAPTURED, {**given, "tenant": tenant}).scalars().all()
        yield from (places[database, one] for one in found)


def _there(connection: Connection, databases: Iterable[str]) -> list[str]:
    asked = connection.execute(_THERE, {"names": sorted(databases)})
    return [str(one) for one in asked.scalars()]


@contextmanager
def _connected(server: Postgres, database: str | None = None) -> Generator[Connection]:
    url = server.owner if database is None else server.owner.set(database=database)
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def assert_no_lock(site: Site) -> None:
    """Nobody holds a tenant's rows any more: a killed session's locks go with it, and no other stays."""
    given = {"prefix": _prefix(site)}
    for server in site.engines.values():
        if server is None:
            continue
        with _connected(server) as connection:
            until(
                lambda inside=connection: inside.execute(_LOCKED, given).scalar_one() == 0,  # type: ignore[misc]
                "no lock on a tenant's rows is held",
            )
