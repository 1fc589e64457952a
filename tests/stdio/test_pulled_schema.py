"""Schemas of others, pulled by the command, then served: their records' whole life over stdio by a real client."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client
from typer.testing import CliRunner

from server.catalog import write_sample
from server.cli.app import app
from tests.support.agents import call
from tests.support.desks import TENANTS, opened_desk
from tests.support.foreign_schemas import as_postgres, chinook, job_queue, run_statements
from tests.support.house import House
from tests.support.postgres import Postgres
from tests.support.record_lives import Life, Records, live

pytestmark = pytest.mark.anyio

Agent = Callable[..., AbstractAsyncContextManager[Client]]
_TRACKS: Final = """
SELECT Track.Name, Composer, Milliseconds, Bytes, UnitPrice, Title, Artist.Name AS Artist
FROM Track JOIN Album USING (AlbumId) JOIN Artist USING (ArtistId)
WHERE AlbumId = 1 ORDER BY TrackId LIMIT 8
"""


@dataclass(frozen=True)
class Source:
    """A schema of others: what it is read from, and what its records are put through."""

    address: Callable[[Postgres, ExitStack], str]
    collections: frozenset[str]
    living: Callable[[Client, str], Awaitable[tuple[str, Life]]]


# a shop for music ------------------------------------------------------------------------------


def chinook_on_postgres(server: Postgres, stack: ExitStack) -> str:
    return run_statements(stack.enter_context(server.database()), as_postgres(chinook()))


async def album_of_the_sample(client: Client, tenant: str) -> tuple[str, Life]:
    """The tracks of one album as the sample has them, and what they refer to made before."""
    with closing(sqlite3.connect(f"{chinook().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        tracks = [dict(row) for row in connection.execute(_TRACKS)]

    def of(collection: str) -> Records:
        return Records(client, tenant, collection)

    artist = await of("artist").made(name=tracks[0]["Artist"])
    album = await of("album").made(title=tracks[0]["Title"], artist_id=artist["id"])
    media = await of("media_type").made(name="MPEG audio file")
    await refused_as_linked(of("artist"), artist)
    rows = [
        {
            "name": one["Name"],
            "composer": one["Composer"],
            "album_id": album["id"],
            "media_type_id": media["id"],
            "genre_id": None,
            "milliseconds": one["Milliseconds"],
            "bytes": one["Bytes"],
            "unit_price": f"{one['UnitPrice']:.2f}",
        }
        for one in tracks
    ]
    dangling = {**rows[0], "genre_id": artist["id"]}
    answered = await of("track").call("create", values=dangling)
    assert (answered["outcome"], answered["code"]) == ("refused", "constraint")
    return "track", Life(
        rows=rows,
        condition={
            "op": "and",
            "args": [
                {"op": "ge", "field": "milliseconds", "value": 220_000},
                {"op": "eq", "field": "album_id", "value": album["id"]},
            ],
        },
        kept=lambda one: int(one["milliseconds"]) >= 220_000,
        sort="milliseconds",
        measure="unit_price",
        change={"unit_price": "1.29", "composer": None},
    )


async def refused_as_linked(records: Records, one: Mapping[str, Any]) -> None:
    """A row that another refers to is not deleted."""
    answered = await records.call("delete", id=one["id"], version=1)
    assert (answered["outcome"], answered["code"]) == ("refused", "constraint")


# a queue of jobs -------------------------------------------------------------------------------


def queue_on_postgres(server: Postgres, stack: ExitStack) -> str:
    return run_statements(stack.enter_context(server.database()), [job_queue()])


async def jobs_of_a_queue(client: Client, tenant: str) -> tuple[str, Life]:
    """Jobs with defaults, a native enum and JSON, held by a worker."""
    worker = await Records(client, tenant, "procrastinate_workers").made(
        last_heartbeat="2026-03-01T12:00:00Z"
    )
    jobs = Records(client, tenant, "procrastinate_jobs")
    bare = await jobs.made(queue_name="mail", task_name="send", args={})
    assert (bare["status"], bare["priority"], bare["abort_requested"]) == ("todo", 0, False)
    assert "status" in await jobs.wrong("create", values={**_job(0), "status": "lost"})
    rows = [{**_job(place), "worker_id": worker["id"]} for place in range(6)]
    return "procrastinate_jobs", Life(
        rows=rows,
        condition={
            "op": "and",
            "args": [
                {"op": "in", "field": "status", "value": ["doing", "failed"]},
                {"op": "eq", "field": "worker_id", "value": worker["id"]},
            ],
        },
        kept=lambda one: one["status"] == "doing",
        sort="priority",
        measure="priority",
        change={"status": "succeeded", "attempts": 1},
    )


def _job(place: int) -> dict[str, Any]:
    return {
        "queue_name": "mail",
        "task_name": "send",
        "args": {"to": ["ada@example.com"], "attempt": place},
        "priority": place,
        "status": "todo" if place % 3 == 1 else "doing",
        "abort_requested": bool(place % 2),
    }


SOURCES: Final[Mapping[str, Source]] = {
    "chinook": Source(
        chinook_on_postgres,
        frozenset({"album", "artist", "customer", "invoice", "invoice_line", "track"}),
        album_of_the_sample,
    ),
    "chinook_file": Source(
        lambda _server, _stack: f"sqlite:///{chinook()}",
        frozenset({"album", "artist", "customer", "invoice", "invoice_line", "track"}),
        album_of_the_sample,
    ),
    "queue": Source(
        queue_on_postgres,
        frozenset({"procrastinate_jobs", "procrastinate_workers", "procrastinate_events"}),
        jobs_of_a_queue,
    ),
}


def pulled_catalog(source: Source, folder: Path, server: Postgres) -> Callable[[Path], None]:
    """Pull a schema by the command; what lays the declarations beside a catalog's plans."""
    into = folder / "pulled"
    with ExitStack() as stack:
        told = {"SOURCE_URL": source.address(server, stack)}
        words = ["collections", "pull", "--url-env", "SOURCE_URL", "--into", str(into), "--json"]
        ran = CliRunner().invoke(app, words, env=told)
    assert ran.exit_code == 0, ran.output
    said = {one["collection"] for one in json.loads(ran.stdout)["tables"]}
    assert source.collections <= said
    assert said == {one.stem for one in into.glob("*.yaml")}

    def write(catalog: Path) -> None:
        write_sample(catalog)
        shutil.rmtree(catalog / "collections")
        shutil.copytree(into, catalog / "collections")

    return write


@pytest.fixture(
    scope="module",
    params=[
        "chinook-postgres",
        *(
            pytest.param(one, marks=pytest.mark.sweep)
            for one in ("chinook_file-sqlite", "queue-postgres", "queue-sqlite")
        ),
    ],
)
def served(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cerbos_binary: Path,
    postgres: Postgres,
) -> Iterator[tuple[House, Source]]:
    """A workspace whose catalog was pulled, on the one engine or the other."""
    name, _, store = request.param.partition("-")
    folder = tmp_path_factory.mktemp(name)
    write = pulled_catalog(SOURCES[name], folder, postgres)
    server = postgres if store == "postgres" else None
    with opened_desk(folder, cerbos_binary, server, write) as house:
        yield house, SOURCES[name]


@pytest.fixture
async def client(served: tuple[House, Source], agent: Agent) -> AsyncIterator[Client]:
    house, _ = served
    async with agent(house, house.issue("platform_admin", ",".join(TENANTS))) as client:
        yield client


@pytest.mark.long
@pytest.mark.slice_of(2)
@pytest.mark.parametrize("tenant", TENANTS)
async def test_pulled_records_live_their_whole_life(
    served: tuple[House, Source], client: Client, tenant: str
) -> None:
    _, source = served
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    offered = listed["record_query"].input_schema["properties"]["collection"]["enum"]
    assert source.collections <= set(offered)
    described = await call(client, "collection_describe", collection=None)
    assert source.collections <= {one["collection"] for one in described["result"]["collections"]}
    collection, life = await source.living(client, tenant)
    await live(Records(client, tenant, collection), life)


@pytest.mark.long
async def test_what_is_proposed_as_personal_is_kept_from_support(
    served: tuple[House, Source], agent: Agent, client: Client
) -> None:
    house, source = served
    if "customer" not in source.collections:
        described = await call(client, "collection_describe", collection="procrastinate_jobs")
        fields = described["result"]["collections"][0]["fields"]
        assert {one.get("group", "general") for one in fields.values()} == {"general"}
        return
    made = await Records(client, "acme", "customer").made(
        first_name="Leonie",
        last_name="Köhler",
        company=None,
        address="Theodor-Heuss-Straße 34",
        city="Stuttgart",
        state=None,
        country="Germany",
        postal_code="70174",
        phone=None,
        fax=None,
        email="leonekohler@surfeu.de",
        support_rep_id=None,
    )
    async with agent(house, house.issue("support", "acme", principal="jane")) as support:
        customers = Records(support, "acme", "customer")
        seen = (await customers.done("get", id=made["id"]))["record"]
        assert (seen["city"], seen["country"]) == ("Stuttgart", "Germany")
        assert not {"email", "last_name", "phone"} & set(seen)
        told = await customers.wrong("query", sort="email")
        assert told == "sort.field: unknown field"
