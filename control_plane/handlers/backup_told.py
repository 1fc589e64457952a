"""The handler that lists a tenant's backups, and how one is told. It opens no archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control_plane.commands import Command
from control_plane.data.tables import APPLIED, UNDO
from control_plane.database_commands import ListBackups
from control_plane.domain.backup_record import Backup
from control_plane.domain.canonical import Json, instant
from control_plane.facts.load import tenant_facts
from control_plane.handlers.handler import Subject, View
from control_plane.handlers.newest import Newest
from control_plane.store import tables

_TABLE = tables.backup
# Beside the records: none of it is counted as one.
_BESIDE: Final = frozenset({APPLIED.name, UNDO.name})


def told_of(backup: Backup) -> dict[str, Json]:
    """A backup as its row tells it: how many rows, of which tables, and no value of any."""
    counts = {name: rows for name, rows in _counts(backup).items() if name not in _BESIDE}
    return {
        "backup": backup.id,
        "tenant": backup.tenant,
        "state": _state(backup),
        "made_at": backup.made_at,
        "verified_at": backup.verified_at,
        "restorable_until": backup.keep_until,
        "removed_at": backup.removed_at,
        "isolation": backup.isolation,
        "kind": backup.kind or "canonical",
        "bytes": backup.bytes,
        "records": sum(counts.values()),
        "tables": {name: counts[name] for name in sorted(counts)},
        "schema_digest": backup.schema_digest,
        "run_id": backup.run_id,
    }


class ListBackupsHandler:
    """Lists a tenant's backups, the newest first; those too whose archive is gone by now."""

    _NEWEST = Newest(Backup, _TABLE.c.made_at, _TABLE.c.id)

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant, offboarded or not."""
        assert isinstance(command, ListBackups)
        now = instant(view.ports.clock.now())
        facts = tenant_facts(view.connection, view.caller, command.tenant, now)
        return Subject(id=command.tenant, facts=facts, tenant=command.tenant)

    def page(self, command: Command, view: View) -> list[Subject]:
        """The backups of one scan, each decided as its tenant is."""
        assert isinstance(command, ListBackups)
        facts = self.subject(command, view).facts
        where = _TABLE.c.tenant == command.tenant
        if command.verified:
            where &= _TABLE.c.verified_at.is_not(None) & _TABLE.c.removed_at.is_(None)

        def member(row: Backup) -> Subject:
            return Subject(id=row.id, facts=facts, tenant=row.tenant, loaded=row)

        return self._NEWEST.page(command, view, where, member)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The backups, and where the next page begins."""
        assert isinstance(command, ListBackups)
        found, following = self._NEWEST.listed(command, view, page)
        return {
            "tenant": command.tenant,
            "backups": [told_of(one) for one in found],
            "next_after": following,
        }


def _state(backup: Backup) -> str:
    if backup.removed_at is not None:
        return "removed"
    return "unproven" if backup.verified_at is None else "verified"


def _counts(backup: Backup) -> dict[str, int]:
    told = backup.contents.get("tables")
    named: Mapping[str, Json] = told if isinstance(told, Mapping) else {}
    return {name: int(str(one["rows"])) for name, one in named.items() if isinstance(one, Mapping)}
