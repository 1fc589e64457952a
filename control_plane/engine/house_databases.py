"""What the house has to ask for about tenants' databases: backups that are due, and copies whose time is over. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from control_plane.database_commands import BackUpDatabase, DropClone
from control_plane.domain.canonical import instant
from control_plane.domain.house import Cause
from control_plane.domain.plans import PlanCatalog
from control_plane.engine.house_due import Wish
from control_plane.errors import NotFound
from control_plane.store.database_tables import database
from control_plane.store.tables import backup, tenant

_NEVER: Final = "never"
_AT: Final = func.max(backup.c.verified_at).label("at")
# Without a row of a database it stands as by default; one that is under way is left alone.
_UNDER_WAY: Final = (
    select(database.c.id)
    .where(database.c.tenant == tenant.c.id)
    .where(database.c.purpose == "serving")
    .where(database.c.state.not_in(("available", "deleted")))
    .exists()
)
_BACKED_UP: Final = (
    select(tenant.c.id, tenant.c.plan, _AT)
    .select_from(
        tenant.outerjoin(
            backup, (backup.c.tenant == tenant.c.id) & backup.c.verified_at.is_not(None)
        )
    )
    .where(tenant.c.state == "active")
    .where(tenant.c.plan.in_(bindparam("plans", expanding=True)))
    .where(~_UNDER_WAY)
    .group_by(tenant.c.id, tenant.c.plan)
    .order_by(tenant.c.id)
)
_COPIES: Final = (
    select(database.c.tenant, database.c.id, database.c.kept_until)
    .select_from(database.join(tenant, tenant.c.id == database.c.tenant))
    .where(tenant.c.state.in_(("active", "suspended")))
    .where(database.c.purpose == "clone")
    .where(database.c.state.in_(("available", "stopped", "failed")))
    .where(database.c.kept_until <= bindparam("now"))
    .order_by(database.c.tenant, database.c.kept_until)
)


def database_wishes(connection: Connection, now: datetime, plans: PlanCatalog) -> list[Wish]:
    """Everything of it that stands to be asked for at `now` (aware)."""
    return [*_copies(connection, now), *_backups(connection, now, plans)]


def _copies(connection: Connection, now: datetime) -> Iterator[Wish]:
    for row in connection.execute(_COPIES, {"now": instant(now)}):
        yield Wish(
            "database_clone_drop",
            row.tenant,
            DropClone(tenant=row.tenant, database=row.id),
            row.id,
            Cause(reason="clone_over", told=f"The copy was to be kept until {row.kept_until}."),
        )


def _backups(connection: Connection, now: datetime, plans: PlanCatalog) -> Iterator[Wish]:
    every = _days(plans)
    if not every:
        return
    for row in connection.execute(_BACKED_UP, {"plans": sorted(every)}):
        due = instant(now - timedelta(days=every[row.plan]))
        if row.at is None or row.at <= due:
            yield Wish(
                "database_backup",
                row.id,
                BackUpDatabase(tenant=row.id),
                row.at or _NEVER,
                Cause(reason="backup_due", told=f"The last proven backup: {row.at or _NEVER}."),
            )


def _days(plans: PlanCatalog) -> dict[str, int]:
    """After how many days each plan has its tenants backed up; without those that do not."""
    found: dict[str, int] = {}
    for name in {one.name for one in plans.plans}:
        try:
            days = plans.offer(name).backups.every_days
        except NotFound:
            continue
        if days is not None:
            found[name] = days
    return found
