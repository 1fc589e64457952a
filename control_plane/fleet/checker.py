"""The check of a folder of migrations: every file for every engine, in order. Not a database's."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from control_plane.errors import BadInput
from control_plane.fleet.changes import Change, changes_of
from control_plane.fleet.finding import Finding
from control_plane.fleet.grammar import read_statements
from control_plane.fleet.migration_file import (
    DIALECTS,
    FOLDER,
    Dialect,
    Migration,
    read_migrations,
)
from control_plane.fleet.rules import Rules
from control_plane.fleet.team_tables import TeamTables


@dataclass(frozen=True, slots=True)
class Ready:
    """One engine's text of a migration, found in order: its changes, and the tables behind it."""

    migration: Migration
    dialect: Dialect
    changes: tuple[Change, ...]
    tables: tuple[str, ...]


def check(
    files: Mapping[str, bytes], declared: AnyCollection[str]
) -> tuple[tuple[Migration, ...], list[Finding]]:
    """The migrations of a folder, by bare file names, and everything that is wrong with them."""
    migrations, findings = read_migrations(files)
    if findings:
        return (), findings
    known: dict[Dialect, TeamTables] = {one: TeamTables() for one in DIALECTS}
    for migration in migrations:
        found: list[Finding] = []
        for dialect, tables in known.items():
            _, wrong = _read(migration, dialect, declared, tables)
            found += wrong
        if not found:
            found += _differing(migration, known)
        # One text for both engines is told once.
        findings += dict.fromkeys(found)
    return migrations, findings


def require_sound(
    files: Mapping[str, bytes], declared: AnyCollection[str]
) -> tuple[Migration, ...]:
    """The same, where nothing may be wrong. Raises BadInput with the first finding."""
    migrations, findings = check(files, declared)
    for one in findings:
        raise BadInput(f"{FOLDER}/{one.file}", f"line {one.line}: {one.rule}: {one.message}")
    return migrations


def ready(
    migrations: Sequence[Migration], dialect: Dialect, declared: AnyCollection[str]
) -> tuple[Ready, ...]:
    """What is applied on one engine, in order. Raises BadInput, as `require_sound` does.

    It is read anew from the text each time: what is executed has been looked at just before.
    """
    tables, made = TeamTables(), list[Ready]()
    for migration in migrations:
        changes, wrong = _read(migration, dialect, declared, tables)
        for one in wrong:
            raise BadInput(f"{FOLDER}/{one.file}", f"line {one.line}: {one.rule}: {one.message}")
        made.append(Ready(migration, dialect, tuple(changes), tuple(tables.names())))
    return tuple(made)


def texts(
    migrations: Sequence[Migration], declared: AnyCollection[str]
) -> dict[Dialect, tuple[Ready, ...]]:
    """The same for each engine."""
    return {one: ready(migrations, one, declared) for one in DIALECTS}


def _read(
    migration: Migration, dialect: Dialect, declared: AnyCollection[str], tables: TeamTables
) -> tuple[list[Change], list[Finding]]:
    variant = migration.variant(dialect)
    statements, findings = read_statements(variant, dialect)
    rules, changes = Rules(migration, dialect, declared), list[Change]()
    for statement in statements:
        for change in changes_of(statement):
            findings += rules.findings(change, tables)
            tables.follow(change, migration.number)
            changes.append(change)
    if not variant.header.transactional and len(statements) > 1:
        rule = "without a transaction it must hold one statement, so that it can be repeated"
        findings.append(Finding(variant.file, statements[1].line, "transactional", rule))
    return changes, findings


def _differing(migration: Migration, known: Mapping[Dialect, TeamTables]) -> Iterator[Finding]:
    first, second = (known[one].shape() for one in DIALECTS)
    if first != second:
        file = migration.variant(DIALECTS[1]).file
        rule = "the engines' texts must make the same tables, columns and indexes"
        yield Finding(file, 0, "engines", rule)
