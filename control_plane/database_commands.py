"""The commands about tenants' databases, their backups and copies. Not the tools' schemas, and no deeds."""

from __future__ import annotations

from typing import ClassVar

from control_plane.commands import Command, NewestFirst
from control_plane.domain.canonical import Json


class ListDatabases(Command):
    """List databases, in the order of their tenants. An empty field restricts nothing."""

    name: ClassVar[str] = "list_databases"
    tenant: str = ""
    state: str = ""
    purpose: str = ""
    limit: int = 50
    after: str | None = None

    def filter(self) -> dict[str, Json]:
        """What the listing is restricted to: a cursor is good for no other."""
        return self.model_dump(mode="json", exclude={"limit", "after"})


class GetDatabase(Command):
    """Read one database of a tenant; without an id, the one that serves it."""

    name: ClassVar[str] = "get_database"
    tenant: str
    database: str = ""


class ListBackups(NewestFirst):
    """List a tenant's backups, the newest first."""

    name: ClassVar[str] = "list_backups"
    tenant: str
    verified: bool = False


class BackUpDatabase(Command):
    """Back a tenant's database up, and prove the backup by a restore on trial."""

    name: ClassVar[str] = "back_up_database"
    tenant: str


class RestoreDatabase(Command):
    """Bring a tenant's data back to what a backup holds, or go back to a database that was left.

    Exactly one of ``backup`` and ``former`` is named; the other is empty.
    """

    name: ClassVar[str] = "restore_database"
    tenant: str
    backup: str = ""
    former: str = ""
    keep_days: int = 7


class CloneDatabase(Command):
    """Make a masked copy of a tenant's database. ``mask`` names the field groups to mask."""

    name: ClassVar[str] = "clone_database"
    tenant: str
    mask: tuple[str, ...] | None = None
    keep_days: int = 7


class DropClone(Command):
    """Remove a copy of a tenant's database, before its time or once that is over."""

    name: ClassVar[str] = "drop_clone"
    tenant: str
    database: str


class MigrateDatabase(Command):
    """Bring a tenant's database to the migrations in force; `through` is the last one, 0 all of them."""

    name: ClassVar[str] = "migrate_database"
    tenant: str
    through: int = 0


class RotateCredentials(Command):
    """Give the tenant's own services another credential for its database."""

    name: ClassVar[str] = "rotate_credentials"
    tenant: str


class GetConnection(Command):
    """Tell a tenant's own services where its database is, and by which credential."""

    name: ClassVar[str] = "get_connection"
    tenant: str


class AcknowledgeConnection(Command):
    """Say that a tenant's own services follow a version of what they were told."""

    name: ClassVar[str] = "acknowledge_connection"
    tenant: str
    version: int
