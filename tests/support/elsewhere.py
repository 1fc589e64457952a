"""A world whose store is a database of its own on a Postgres server: every row is taken there. Not a workspace on Postgres."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace

from sqlalchemy import Identity, select

from control_plane.audit.notes import LeafNotes
from control_plane.audit.recorder import LeafRecorder
from control_plane.ports import Store
from control_plane.store.artifacts import SealedArtifacts
from control_plane.store.migrate import upgrade_postgres
from control_plane.store.postgres import PostgresStore
from control_plane.store.schema import METADATA
from server import keys
from tests.support.approval_world import World
from tests.support.postgres import Postgres


@contextmanager
def on_postgres(world: World, server: Postgres) -> Generator[World]:
    """The same world over there; its tenants' databases stay where they are."""
    held, recorder = keys.load(world.workspace.keys), world.ports.recorder
    assert isinstance(recorder, LeafRecorder)
    with server.database() as url:
        upgrade_postgres(url, schema="public")
        with closing(PostgresStore(url, schema="public", lock_ms_max=20_000)) as store:
            _take(world.store, store)
            ports = replace(
                world.ports,
                store=store,
                notes=LeafNotes(recorder, store),
                artifacts=SealedArtifacts(store, held.public.seal_bytes, held.seal_private),
            )
            yield replace(world, store=store).with_ports(ports)


def _take(source: Store, target: Store) -> None:
    with source.read() as reading, target.write() as writing:
        for table in METADATA.sorted_tables:
            # What the database numbers by itself comes in the same order.
            given = [one for one in table.columns if not isinstance(one.identity, Identity)]
            found = reading.execute(select(*given).order_by(*table.primary_key)).mappings().all()
            if found:
                writing.execute(table.insert(), [dict(row) for row in found])
