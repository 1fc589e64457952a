"""A collection with every kind of field, and an in-memory table of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, StaticPool, Table, create_engine, event

from control_plane.data.collection import Collection
from control_plane.data.tables import collection_table, tenant_metadata


def _without_implicit_transactions(raw: sqlite3.Connection, _: object) -> None:
    raw.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@pytest.fixture(scope="session")
def things() -> Collection:
    return Collection.model_validate_json(
        """{"name": "things", "description": "One field of every kind.", "fields": {
            "label": {"kind": "string", "max_length": 20, "nullable": true},
            "code": {"kind": "string", "max_length": 8, "pattern": "[a-z]+|[0-9]+"},
            "story": {"kind": "text", "nullable": true, "group": "pii"},
            "count": {"kind": "integer", "nullable": true},
            "active": {"kind": "boolean", "nullable": true},
            "born": {"kind": "date", "nullable": true},
            "seen": {"kind": "timestamp", "nullable": true},
            "other": {"kind": "uuid", "nullable": true},
            "status": {"kind": "enum", "values": ["lead", "customer"], "nullable": true},
            "balance": {"kind": "money", "currency": "EUR", "nullable": true}}}"""
    )


@pytest.fixture(scope="session")
def table(things: Collection) -> Table:
    return collection_table(things)


@pytest.fixture(scope="session")
def memory(things: Collection) -> Iterator[Connection]:
    """One open connection to an in-memory database; a test leaves it as it likes."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", _without_implicit_transactions)
    event.listen(engine, "begin", _begin)
    with engine.connect() as connection:
        tenant_metadata([things]).create_all(connection)
        connection.commit()
        yield connection
    engine.dispose()


@pytest.fixture
def connection(memory: Connection, table: Table) -> Iterator[Connection]:
    """The in-memory database with no rows, rolled back afterwards."""
    memory.rollback()
    with memory.begin() as transaction:
        memory.execute(table.delete())
        yield memory
        transaction.rollback()
