"""The statements that change a table which stands, as SQLAlchemy has none for them. Not when to use one.

Names and literals are written by the dialect's own compiler.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler


class AddColumn(ExecutableDDLElement):
    """ADD COLUMN, as the column stands in its table."""

    inherit_cache = False

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


class DropColumn(ExecutableDDLElement):
    """DROP COLUMN."""

    inherit_cache = False

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


class SetType(ExecutableDDLElement):
    """The column's type, its collation with it."""

    inherit_cache = False

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


class SetNullable(ExecutableDDLElement):
    """Whether the column may be empty."""

    inherit_cache = False

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


class SetDefault(ExecutableDDLElement):
    """The default that the database itself fills in, or none."""

    inherit_cache = False

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


class AddCheck(ExecutableDDLElement):
    """A check under a name, which rows that stand are not yet held to."""

    inherit_cache = False

    def __init__(self, table: Table, check: CheckConstraint, name: str) -> None:
        self.table = table
        self.check = check
        self.name = name


class DropConstraintNamed(ExecutableDDLElement):
    """DROP CONSTRAINT by the name that the database gave it."""

    inherit_cache = False

    def __init__(self, table: Table, name: str) -> None:
        self.table = table
        self.name = name


class ValidateConstraint(ExecutableDDLElement):
    """Hold the rows that stand to a constraint."""

    inherit_cache = False

    def __init__(self, table: Table, name: str) -> None:
        self.table = table
        self.name = name


class RenameTable(ExecutableDDLElement):
    """RENAME TO."""

    inherit_cache = False

    def __init__(self, table: Table, name: str) -> None:
        self.table = table
        self.name = name


def _altered(table: Table, compiler: DDLCompiler) -> str:
    return f"ALTER TABLE {compiler.preparer.format_table(table)}"


def _altered_column(column: Column[Any], compiler: DDLCompiler) -> str:
    name = compiler.preparer.format_column(column)
    return f"{_altered(column.table, compiler)} ALTER COLUMN {name}"


@compiles(AddColumn)
def _add_column(element: AddColumn, compiler: DDLCompiler, **_: Any) -> str:
    column = element.column
    specified = compiler.get_column_specification(column)
    return f"{_altered(column.table, compiler)} ADD COLUMN {specified}"


@compiles(DropColumn)
def _drop_column(element: DropColumn, compiler: DDLCompiler, **_: Any) -> str:
    column = element.column
    name = compiler.preparer.format_column(column)
    return f"{_altered(column.table, compiler)} DROP COLUMN {name}"


@compiles(SetType)
def _set_type(element: SetType, compiler: DDLCompiler, **_: Any) -> str:
    kind = compiler.dialect.type_compiler_instance.process(element.column.type)
    return f"{_altered_column(element.column, compiler)} TYPE {kind}"


@compiles(SetNullable)
def _set_nullable(element: SetNullable, compiler: DDLCompiler, **_: Any) -> str:
    what = "DROP" if element.column.nullable else "SET"
    return f"{_altered_column(element.column, compiler)} {what} NOT NULL"


@compiles(SetDefault)
def _set_default(element: SetDefault, compiler: DDLCompiler, **_: Any) -> str:
    default = compiler.get_column_default_string(element.column)
    what = "DROP DEFAULT" if default is None else f"SET DEFAULT {default}"
    return f"{_altered_column(element.column, compiler)} {what}"


@compiles(AddCheck)
def _add_check(element: AddCheck, compiler: DDLCompiler, **_: Any) -> str:
    name = compiler.preparer.quote(element.name)
    checked = compiler.process(element.check)
    return f"{_altered(element.table, compiler)} ADD CONSTRAINT {name} {checked} NOT VALID"


@compiles(DropConstraintNamed)
def _drop_constraint(element: DropConstraintNamed, compiler: DDLCompiler, **_: Any) -> str:
    name = compiler.preparer.quote(element.name)
    return f"{_altered(element.table, compiler)} DROP CONSTRAINT {name}"


@compiles(ValidateConstraint)
def _validate(element: ValidateConstraint, compiler: DDLCompiler, **_: Any) -> str:
    name = compiler.preparer.quote(element.name)
    return f"{_altered(element.table, compiler)} VALIDATE CONSTRAINT {name}"


@compiles(RenameTable)
def _rename(element: RenameTable, compiler: DDLCompiler, **_: Any) -> str:
    name = compiler.preparer.quote(element.name)
    return f"{_altered(element.table, compiler)} RENAME TO {name}"
