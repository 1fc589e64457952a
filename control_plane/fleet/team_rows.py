"""Whether a tenant has rows in the team's own tables, which no archive of ours holds. Not the rows."""

from __future__ import annotations

from sqlalchemy import Connection, column, literal, select, table

from control_plane.databases.migrated import migrated, tables_behind
from control_plane.errors import Refused


def require_no_team_rows(connection: Connection, tenant: str) -> None:
    """Raise Refused (`team_rows_stand`; `rule` names the table) where a row would be lost.

    The connection reads the tenant's place.
    """
    for name in tables_behind(migrated(connection)):
        rows = table(name, column("tenant_id"))
        found = select(literal(1)).select_from(rows).where(rows.c.tenant_id == tenant).limit(1)
        if connection.execute(found).first() is not None:
            raise Refused(
                "The tenant has rows in a table of the team's own, which is in no backup: take "
                "them out first.",
                code="team_rows_stand",
                rule=name,
            )
