"""Declarations before and after a change, and the shape of the tables that an engine says it has. Holds no test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, insert, inspect

from control_plane.data.collection import (
    SAMPLES,
    Collection,
    bind_collections,
    load_collection,
)
from control_plane.data.tables import collection_table
from tests.support.rows import row_id

NOW: Final = datetime(2024, 1, 1, tzinfo=UTC)
CURRENCIES: Final = load_collection(SAMPLES / "currencies.yaml")


def declared(name: str, fields: Mapping[str, Mapping[str, Any]], **rest: Any) -> Collection:
    """A collection, as a file would declare it."""
    given = {"name": name, "description": "x", "fields": fields, **rest}
    return Collection.model_validate(given, strict=False)


def changed(
    collection: Collection, fields: Mapping[str, Mapping[str, Any] | None], **rest: Any
) -> Collection:
    """The collection with some fields declared otherwise; None takes one away."""
    declared_now = collection.model_dump(exclude_unset=True, mode="json")
    for name, field in fields.items():
        if field is None:
            del declared_now["fields"][name]
        else:
            declared_now["fields"][name] = field
    return Collection.model_validate({**declared_now, **rest}, strict=False)


TEAMS: Final = declared("teams", {"title": {"kind": "string", "max_length": 20}})
LABELS: Final = declared(
    "labels",
    {
        "text": {"kind": "text"},
        "person": {"kind": "reference", "collection": "people", "nullable": True},
    },
)
PEOPLE: Final = declared(
    "people",
    {
        "name": {"kind": "string", "max_length": 20},
        "email": {"kind": "string", "max_length": 50, "nullable": True},
        "status": {"kind": "enum", "values": ["lead", "customer", "former"]},
        "notes": {"kind": "text", "nullable": True},
        "pay": {"kind": "decimal", "precision": 8, "scale": 2},
        "months": {"kind": "integer"},
        "badge": {"kind": "integer", "unique": True, "nullable": True},
        "boss": {"kind": "reference", "collection": "people", "nullable": True},
        "team": {"kind": "reference", "collection": "teams"},
        "label": {"kind": "reference", "collection": "labels", "nullable": True},
        "phase": {"kind": "string", "max_length": 10},
        "shown": {"kind": "computed", "formula": {"op": "concat", "fields": ["name", "status"]}},
    },
    indexes=[["status"], ["shown"], ["team", "name"]],
)
BEFORE: Final = bind_collections([PEOPLE, TEAMS, LABELS, CURRENCIES])
AFTER_PEOPLE: Final = changed(
    PEOPLE,
    {
        "name": {"kind": "string", "max_length": 40},
        "email": {"kind": "string", "max_length": 30, "nullable": True, "unique": True},
        "status": {"kind": "enum", "values": ["customer", "lead", "vip"]},
        "notes": {"kind": "text"},
        "pay": {"kind": "decimal", "precision": 10, "scale": 2},
        "months": {"kind": "integer", "nullable": True},
        "badge": {"kind": "integer", "nullable": True},
        "label": None,
        "phase": None,
        "level": {"kind": "integer", "default": 1},
        "since": {"kind": "date", "default": "2020-02-29"},
        "seen": {"kind": "timestamp", "default": "2020-02-29T10:00:00Z", "nullable": True},
        "active": {"kind": "boolean", "default": True},
        "rate": {"kind": "decimal", "precision": 4, "scale": 2, "default": "1.50"},
        "grade": {"kind": "enum", "values": ["a", "it's"], "default": "it's"},
        "more": {"kind": "json", "nullable": True},
        "deal": {"kind": "reference", "collection": "deals", "nullable": True},
        "year": {"kind": "computed", "formula": {"op": "product", "fields": ["pay", "months"]}},
    },
    indexes=[["shown"], ["status", "name"]],
)
DEALS: Final = declared(
    "deals",
    {
        "person": {"kind": "reference", "collection": "people", "unique": True},
        "worth": {"kind": "money", "currency": "EUR"},
    },
    indexes=[["worth"]],
)
MORE_CURRENCIES: Final = changed(
    CURRENCIES,
    {"sign": {"kind": "string", "max_length": 3, "nullable": True}},
    rows=[
        *CURRENCIES.model_dump(mode="json")["rows"][1:],
        {"code": "XTS", "title": "A test", "minor_digits": 0},
    ],
)
AFTER: Final = bind_collections([AFTER_PEOPLE, TEAMS, DEALS, MORE_CURRENCIES])


def row(number: int, tenant: str, **values: Any) -> dict[str, Any]:
    """A row of any collection with its implicit values."""
    implicit = {"tenant_id": tenant, "id": row_id(number), "version": 1, "created_at": NOW}
    return {**implicit, **values}


def old_person(number: int, tenant: str, **values: Any) -> dict[str, Any]:
    """A row of `people` as it is declared before the change; it fits what comes after."""
    given = {
        "name": f"p{number}",
        "status": "lead",
        "pay": Decimal("2.50"),
        "months": 12,
        "team": row_id(900),
        "phase": "x",
        "notes": "n",
    }
    return row(number, tenant, **{**given, **values})


def new_person(number: int, tenant: str, **values: Any) -> dict[str, Any]:
    """A row of `people` as it is declared after the change."""
    given = {
        "name": "n" * 40,
        "status": "vip",
        "pay": Decimal("12345678.50"),
        "months": None,
        "team": row_id(900),
        "notes": "n",
        "level": 7,
        "since": NOW.date(),
        "seen": NOW,
        "active": False,
        "rate": Decimal("0.01"),
        "grade": "a",
    }
    return row(number, tenant, **{**given, **values})


def put(connection: Connection, collection: Collection, *rows: Mapping[str, Any]) -> None:
    """Rows, through the table that calls under this declaration have."""
    for one in rows:
        connection.execute(insert(collection_table(collection)).values(**one))


def tables_shape(connection: Connection) -> dict[str, Any]:
    """All that the engine says of the tables, without the order of their columns."""
    inspector = inspect(connection)
    return {name: dict(_parts(inspector, name)) for name in sorted(inspector.get_table_names())}


def _parts(inspector: Any, table: str) -> Iterator[tuple[str, Any]]:
    yield (
        "columns",
        {
            column["name"]: (
                str(column["type"]),
                getattr(column["type"], "collation", None),
                column["nullable"],
                column["default"],
                str(column.get("computed")),
            )
            for column in inspector.get_columns(table)
        },
    )
    yield "key", inspector.get_pk_constraint(table)["constrained_columns"]
    for what in ("indexes", "unique_constraints", "foreign_keys", "check_constraints"):
        found = getattr(inspector, f"get_{what}")(table)
        yield what, sorted(str(sorted(one.items(), key=str)) for one in found)
