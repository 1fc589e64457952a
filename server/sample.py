"""The rows of the help desk sample, and their way into a tenant: each a call like an agent's. Not their declaration.

Whoever loads them needs a token under which every field may be written, and every row is decided,
planned and recorded as any other. A second time they are the same calls, and change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

from control_plane.data.collection import SAMPLES
from control_plane.domain.canonical import Json
from control_plane.errors import Failed, Refused
from graphs.errors import Unlisted
from server.front import Front

COLLECTIONS: Final = ("customers", "invoices", "orders", "tickets")
"""In the order of their making: what a row refers to stands before it."""
ROWS_MAX: Final = 100
_FOLDER: Final = SAMPLES / "helpdesk" / "rows"
_KEY: Final = "number"
_LINKS: Final = {"customer": "customers", "invoice": "invoices"}

Row: TypeAlias = Mapping[str, Json]


def sample_rows(collection: str) -> list[Row]:
    """The rows of one collection as they are shipped: fields by name, references by `number`."""
    rows: list[Row] = json.loads((_FOLDER / f"{collection}.json").read_bytes())
    return rows


def chosen_rows(rows_max: int = ROWS_MAX) -> dict[str, list[Row]]:
    """The first rows of each collection; one whose customer or invoice is left out is left out too."""
    chosen: dict[str, list[Row]] = {}
    kept: set[tuple[str, Json]] = set()
    for collection in COLLECTIONS:
        rows = [row for row in sample_rows(collection) if kept.issuperset(_links(row).values())]
        chosen[collection] = rows[:rows_max]
        kept.update((collection, row[_KEY]) for row in chosen[collection])
    return chosen


def load_sample(front: Front, tenant: str, rows_max: int = ROWS_MAX) -> dict[str, int]:
    """Create up to `rows_max` rows of each collection in a tenant; how many are now there of each.

    Raises Refused when the caller may not create records, Failed naming collection, row and reason
    when one is not made; the rows before it stand.
    """
    ids: dict[tuple[str, Json], Json] = {}
    chosen = chosen_rows(rows_max)
    for collection, rows in chosen.items():
        for row in rows:
            values = {**row, **{name: ids[link] for name, link in _links(row).items()}}
            ids[collection, row[_KEY]] = _create(front, tenant, collection, values)
    return {collection: len(rows) for collection, rows in chosen.items()}


def _links(row: Row) -> dict[str, tuple[str, Json]]:
    return {name: (to, row[name]) for name, to in _LINKS.items() if name in row}


def _create(front: Front, tenant: str, collection: str, values: dict[str, Json]) -> Json:
    number = values[_KEY]
    arguments: dict[str, Json] = {
        "tenant": tenant,
        "collection": collection,
        "values": values,
        "idempotency_key": f"sample-{tenant}-{collection}-{number}",
    }
    try:
        answer = front.call("record_create", arguments)
    except Unlisted:
        raise Refused("This token may not create records.", code="tool_not_listed") from None
    done = answer.outcome
    record = None if done is None or done.result is None else done.result.get("record")
    if done is None or done.outcome != "done" or not isinstance(record, Mapping):
        why = answer.bad_input or (done.message or done.outcome if done is not None else "")
        raise Failed(f"{collection} {number} was not made: {why}", code="sample_row")
    return record["id"]
