"""The freezes that are in force, as the store keeps them: what begins no run. Not who may set one, and no run is moved here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, cast

from sqlalchemy import Connection, delete, insert, select

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.domain.canonical import Json
from control_plane.domain.record import Record
from control_plane.errors import Refused
from control_plane.ports import Recorder
from control_plane.store import tables

Scope: TypeAlias = Literal["workspace", "tenant", "cloud"]
FROZEN: Final = "frozen"
"""The code with which a run is refused, or for which it waits."""
_SETTING: Final = "freeze"
_DOT: Final = "."
# Made once: it is asked of every call that would become a run.
_ALL: Final = (
    select(tables.setting.c.name, tables.setting.c.value)
    .where(
        (tables.setting.c.name == _SETTING)
        | tables.setting.c.name.startswith(f"{_SETTING}{_DOT}", autoescape=True)
    )
    .order_by(tables.setting.c.name)
)


class Frozen(Refused):
    """Nothing begins here until somebody lifts the freeze; nothing was done."""

    code = "frozen"

    def __init__(self) -> None:
        super().__init__(
            "Runs are frozen: none begins until an operator lifts it.",
            rule="runs.freeze",
            fact="frozen",
        )


class Freeze(Record):
    """What begins no run: every one of the workspace, a tenant's, or those in a cloud.

    ``of`` is the tenant's id or the cloud's name, and empty for the workspace.
    """

    scope: Scope
    of: str
    reason: str
    by: str
    at: str

    def holds(self, tenant: str, cloud: str) -> bool:
        """Whether it keeps a run about this tenant and cloud from beginning; "" is neither's."""
        if self.scope == "workspace":
            return True
        return bool(self.of) and self.of == (tenant if self.scope == "tenant" else cloud)


def freezes(connection: Connection) -> tuple[Freeze, ...]:
    """Every freeze in force; mostly none. One statement."""
    found = connection.execute(_ALL).all()
    return tuple(_parsed(row.name, row.value) for row in found)


def any_holds(known: Iterable[Freeze], tenant: str, cloud: str) -> bool:
    """Whether any of them keeps a run from beginning."""
    return any(one.holds(tenant, cloud) for one in known)


def is_frozen(connection: Connection, tenant: str, proposed_cloud: str = "") -> bool:
    """Whether no run about a tenant may begin; ``proposed_cloud`` is where it is to stand.

    Without one it counts where the tenant stands. An empty ``tenant`` is about the workspace alone.
    """
    known = freezes(connection)
    if not known:
        return False
    return any_holds(known, tenant, proposed_cloud or cloud_of(connection, tenant))


def cloud_of(connection: Connection, tenant: str) -> str:
    """Where a tenant stands; empty where there is none of the name."""
    table = tables.tenant
    found = connection.execute(select(table.c.cloud).where(table.c.id == tenant)).first()
    if found is None:
        return ""
    return found.cloud or "local"


def put(connection: Connection, recorder: Recorder, freeze: Freeze) -> None:
    """Set it, or set it anew with another reason, with a leaf that vouches for its row."""
    table, name = tables.setting, _name(freeze.scope, freeze.of)
    found = guard(connection, table.name, name)
    connection.execute(delete(table).where(table.c.name == name))
    told = {"reason": freeze.reason, "by": freeze.by, "at": freeze.at}
    connection.execute(insert(table).values(name=name, value=told, updated_at=freeze.at))
    _record(connection, recorder, "freeze.set", freeze, found)


def lift(connection: Connection, recorder: Recorder, freeze: Freeze) -> None:
    """Take it away, with a leaf; ``freeze`` says by whom and why. Nothing where none is in force."""
    table, name = tables.setting, _name(freeze.scope, freeze.of)
    found = guard(connection, table.name, name)
    if found.digest is None:
        return
    connection.execute(delete(table).where(table.c.name == name))
    _record(connection, recorder, "freeze.lifted", freeze, found)


def _record(
    connection: Connection, recorder: Recorder, kind: str, freeze: Freeze, found: Guard
) -> None:
    tenant = freeze.of if freeze.scope == "tenant" else ""
    guards = ((found.table, found.key),)
    recorder.record(connection, kind, tenant, freeze.model_dump(mode="json"), guards, (found,))


def _name(scope: Scope, of: str) -> str:
    return _SETTING if scope == "workspace" else f"{_SETTING}{_DOT}{scope}{_DOT}{of}"


def _parsed(name: str, value: Mapping[str, Json]) -> Freeze:
    _, scope, of = (*name.split(_DOT, 2), "workspace", "")[:3]
    return Freeze(scope=cast("Scope", scope), of=of, **cast("Mapping[str, str]", value))
