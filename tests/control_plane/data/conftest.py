"""A collection with every kind of field, and an empty table of it on each engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Connection, NullPool, StaticPool, Table, create_engine, event

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
            "balance": {"kind": "money", "currency": "EUR", "nullable": true},
            "price": {"kind": "decimal", "precision": 8, "scale": 2, "nullable": true},
            "details": {"kind": "json", "max_length": 200, "nullable": true},
            "parent": {"kind": "reference", "collection": "things", "nullable": true},
            "tag": {"kind": "computed",
                    "formula": {"op": "concat", "fields": ["code", "status"], "separator": "-"}},
            "debt": {"kind": "computed",
                     "formula": {"op": "difference", "fields": ["price", "price", "price"]}}}}"""
    )


@pytest.fixture(scope="session")
def table(things: Collection) -> Table:
    return collection_table(things)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, things: Collection) -> Iterator[Connection]:
    """One open connection to a database of each engine; a test leaves it as it likes."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            engine = create_engine("sqlite://", poolclass=StaticPool)
            event.listen(engine, "connect", _without_implicit_transactions)
            event.listen(engine, "begin", _begin)
        else:
            url = stack.enter_context(request.getfixturevalue("postgres").database())
            engine = create_engine(url, poolclass=NullPool)
        stack.callback(engine.dispose)
        connection = stack.enter_context(engine.connect())
        tenant_metadata([things]).create_all(connection)
        connection.commit()
        yield connection


@pytest.fixture
def connection(opened: Connection, table: Table) -> Iterator[Connection]:
    """A database with no rows, rolled back afterwards."""
    opened.rollback()
    with opened.begin() as transaction:
        opened.execute(table.delete())
        yield opened
        transaction.rollback()
