"""The tickets that are measured: their declaration, and as many rows of them as are wanted. No time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import String, case, literal

from control_plane.data.collection import Collection, load_collection
from control_plane.data.tables import collection_table
from control_plane.databases.port import DatabaseEngine
from tests.support.many_rows import Number, fill, text_of
from tools.toolbox import toolbox

CATALOG = Path(__file__).parent / "catalog"
TICKETS = load_collection(CATALOG / "collections" / "tickets.yaml")
TABLE = collection_table(TICKETS)
PRIORITIES = 1_000
_FIELDS = {"title": {"kind": "string", "max_length": 120}, "amount": {"kind": "integer"}}
_VERBS = ("query", "get", "create", "update", "aggregate")


def ticket(n: Number) -> Mapping[str, Any]:
    """Row n: nine in ten are open, and a hundred people own four in five."""
    return {
        "title": text_of("t", n),
        "status": case((n % 10 == 0, literal("closed", String)), else_=literal("open", String)),
        "priority": n * 7919 % PRIORITIES,
        "owner": case((n % 5 == 0, None), else_=text_of("o", n % 100)),
        "amount": n,
    }


def fill_tenant(databases: DatabaseEngine, tenant: str, rows: int) -> None:
    """Put so many rows straight into the tenant's place of the shared database."""
    with databases.transaction(tenant, "pooled") as connection:
        fill(connection, TABLE, tenant, rows, ticket)


def widen(catalog: Path, tools: int) -> None:
    """Declare further collections in the catalog's folder until it makes just so many tools."""
    declared = {TICKETS.name: TICKETS}
    for number in itertools.count(1):
        missing = tools - len(toolbox(declared, "each"))
        if missing < 0:
            raise SystemExit(f"there are more than {tools} tools without any other collection")
        if not missing:
            return
        raw = {
            "name": f"sheet_{number}",
            "description": f"Sheet {number} of a workbook.",
            "fields": _FIELDS,
            "verbs": list(_VERBS[:missing]),
        }
        one = Collection.model_validate(raw, strict=False)
        declared[one.name] = one
        (catalog / "collections" / f"{one.name}.yaml").write_text(yaml.safe_dump(raw))
