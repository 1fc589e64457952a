"""A worker on Postgres that is killed while it makes or removes: what it left is known, and finished."""

from __future__ import annotations

import pytest
from sqlalchemy import Table

from control_plane.data.collection import Collection
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from control_plane.errors import NotFound
from tests.support.killed import kill_when_ready
from tests.support.rows import apply
from tests.support.tenants import TenantServer, standing

pytestmark = pytest.mark.slice_of(4)

CHILD = """
import sys, threading
from sqlalchemy import make_url
from control_plane.data.collection import SAMPLES, load_collection
from control_plane.databases import postgres_sessions, postgres_worker
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_server import Server

owner, face, prefix, model, moment = sys.argv[1:]
contacts = load_collection(SAMPLES / "contacts.yaml")
databases = PostgresDatabases.opened(
    owner=make_url(owner), face=make_url(face), prefix=prefix, statement_ms_max=5000
)

def wait_to_be_killed(*_, **__):
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

if moment == "before the tables":
    postgres_worker.build_place = wait_to_be_killed
if moment == "before the commit":
    postgres_worker.admit = wait_to_be_killed
if moment == "before the role goes":
    Server.remove_role = wait_to_be_killed
if moment == "before the entry goes":
    postgres_worker.remove_entry = wait_to_be_killed
if moment == "in a trial":
    with databases.scratch("acme", model, [contacts]):
        wait_to_be_killed()
if moment in ("before the role goes", "before the entry goes"):
    databases.drop("acme", model, 1)
else:
    databases.create("acme", model, [contacts], 1)
"""


def kill(server: TenantServer, model: Isolation, moment: str) -> None:
    """A worker on the same server, killed at the moment."""
    urls = [url.render_as_string(hide_password=False) for url in (server.owner, server.face)]
    kill_when_ready(CHILD, *urls, server.prefix, model, moment)


@pytest.mark.parametrize("moment", ["before the tables", "before the commit"])
def test_a_creation_that_was_killed_is_finished_by_the_same_call(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    people_table: Table,
    any_model: Isolation,
    moment: str,
) -> None:
    kill(server, any_model, moment)
    assert on_postgres.probe("acme", any_model, [people]) != "ready"
    with pytest.raises(NotFound), on_postgres.transaction("acme", any_model):
        pass
    on_postgres.create("acme", any_model, [people], 1)
    assert on_postgres.probe("acme", any_model, [people]) == "ready"
    with on_postgres.transaction("acme", any_model) as connection:
        assert apply(connection, people_table, "acme")


@pytest.mark.long
def test_a_half_made_database_is_removed_whole(
    on_postgres: PostgresDatabases, server: TenantServer
) -> None:
    kill(server, "silo", "before the commit")
    assert on_postgres.exists("acme", "silo")
    on_postgres.drop("acme", "silo", 1)
    assert standing(server) == {"databases": set(), "roles": set()}


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "moment"),
    [
        ("silo", "before the role goes"),
        ("bridge", "before the role goes"),
        ("bridge", "before the entry goes"),
        ("pooled", "before the entry goes"),
    ],
)
def test_a_removal_that_was_killed_is_to_be_seen_and_finished(
    on_postgres: PostgresDatabases,
    server: TenantServer,
    people: Collection,
    model: Isolation,
    moment: str,
) -> None:
    on_postgres.create("other", model, [people], 1)
    before = standing(server)
    on_postgres.create("acme", model, [people], 1)
    kill(server, model, moment)
    assert on_postgres.exists("acme", model)
    on_postgres.drop("acme", model, 1)
    assert standing(server) == before
    assert on_postgres.probe("acme", model, [people]) == "absent"


@pytest.mark.long
def test_the_next_trial_sweeps_what_a_killed_one_left(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection
) -> None:
    left = Names(server.prefix).trial("acme")
    kill(server, "bridge", "in a trial")
    assert left in standing(server)["databases"]
    with on_postgres.scratch("other", "bridge", [people]):
        assert left not in standing(server)["databases"]
    assert standing(server)["databases"] == set()
