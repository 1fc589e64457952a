"""Whether a collection's policy is exact as a filter over its rows: as it was proved, else as far as its text tells. No proof itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, insert, select, update

from control_plane.audit.recorder import guard
from control_plane.data.collection import Collection
from control_plane.domain.canonical import Json
from control_plane.errors import Refused
from control_plane.facts.row import is_exact
from control_plane.handlers.catalog_in_force import applied_digest
from control_plane.handlers.handler import Ports
from control_plane.ports import Recorder
from control_plane.store import tables

SETTING: Final = "catalog.exact"
_NAME: Final = tables.setting.c.name == SETTING


def require_exact(connection: Connection, collection: Collection, ports: Ports) -> None:
    """Refused (`policy_not_exact`) where the policy's filter may say other than its rules over rows."""
    named = ports.catalog.row_rules.get(collection.name)
    if named is None:
        return
    proved = proved_exact(connection, ports.catalog.digest).get(collection.name)
    if not (is_exact(collection, named) if proved is None else proved is True):
        raise Refused(
            "The rows' policy is not exact as a filter: what is done to many rows at once would "
            "touch others than it allows.",
            code="policy_not_exact",
            rule=f"rows_{collection.name}",
        )


def proved_exact(connection: Connection, catalog: str) -> Mapping[str, Json]:
    """Of each collection whose policy was looked at, by name, whether it was proved."""
    exact = _kept(connection).get(catalog)
    return exact if isinstance(exact, Mapping) else {}


def keep_proved(
    connection: Connection, recorder: Recorder, catalog: str, exact: Mapping[str, Json], now: str
) -> None:
    """Write what was proved of a catalog, with its leaf; ``now`` is an instant.

    What was proved of the one in force stays: calls are decided by it until this one is.
    """
    in_force = applied_digest(connection)
    standing = {name: one for name, one in _kept(connection).items() if name == in_force}
    told: dict[str, Json] = {**standing, catalog: dict(exact)}
    named = (tables.setting.name, SETTING)
    found = guard(connection, *named)
    values = {"value": told, "updated_at": now}
    if connection.execute(update(tables.setting).where(_NAME).values(**values)).rowcount == 0:
        connection.execute(insert(tables.setting).values(name=SETTING, **values))
    recorder.record(connection, "catalog.proved", "", told, (named,), (found,))


def _kept(connection: Connection) -> Mapping[str, Json]:
    found: Json = connection.execute(select(tables.setting.c.value).where(_NAME)).scalar()
    return found if isinstance(found, Mapping) else {}
