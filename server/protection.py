"""What a human alone lifts from a tenant, or lays on it: deletion protection, legal hold. Not the offboarding that they stop."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.audit.recorder import guard
from control_plane.domain.canonical import Json
from control_plane.domain.tenant import Tenant
from control_plane.errors import BadInput, NotFound
from control_plane.facts.load import tenant_row
from control_plane.ports import Recorder
from control_plane.store import rows, tables


def protect(
    connection: Connection,
    recorder: Recorder,
    tenant: str,
    *,
    deletion_protection: bool | None = None,
    legal_hold: bool | None = None,
) -> Tenant:
    """Set what is given, with its leaf; the tenant as it then stands. What is so already stays.

    A plan that was made before is void by it: both are facts in its digest, decided on at every
    step. Raises NotFound (``tenant_absent``), BadInput where nothing is given.
    """
    asked = {"deletion_protection": deletion_protection, "legal_hold": legal_hold}
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        raise BadInput("options", "must name at least one of the two")
    found = tenant_row(connection, tenant)
    if found is None:
        raise NotFound("there is no such tenant", code="tenant_absent")
    if all(getattr(found, name) == value for name, value in given.items()):
        return found
    table = tables.tenant
    stood = guard(connection, table.name, tenant)
    rows.change(connection, table, table.c.id == tenant, version=table.c.version + 1, **given)
    payload: dict[str, Json] = {"tenant": tenant, **given}
    recorder.record(
        connection, "tenant.protection", tenant, payload, ((table.name, tenant),), (stood,)
    )
    changed = tenant_row(connection, tenant)
    assert changed is not None, "a tenant's row is never deleted"
    return changed
