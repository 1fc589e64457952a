"""Which SQL a migration may hold at all: a closed list of tree nodes. Not what a phase allows of it.

A text is parsed to a tree, each node of which must be on the list, with no part beside those named
here. What is executed is written anew from that very tree, so that the engine is given nothing that
was not looked at, whatever it would have made of the text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.dialect import Dialect as Language
from sqlglot.errors import ErrorLevel, SqlglotError

from control_plane.fleet.finding import Finding
from control_plane.fleet.migration_file import Dialect, Variant

STATEMENTS_MAX: Final = 100
NODES_MAX: Final = 5_000
TYPES: Final = frozenset(
    {
        exp.DType.TEXT,
        exp.DType.VARCHAR,
        exp.DType.SMALLINT,
        exp.DType.INT,
        exp.DType.BIGINT,
        exp.DType.BOOLEAN,
        exp.DType.DECIMAL,
        exp.DType.DOUBLE,
        exp.DType.DATE,
        exp.DType.TIMESTAMP,
        exp.DType.TIMESTAMPTZ,
        exp.DType.UUID,
        exp.DType.JSON,
        exp.DType.JSONB,
    }
)
_BINARY: Final = frozenset({"this", "expression"})
_THIS: Final = frozenset({"this"})
_LIST: Final = frozenset({"this", "expressions"})
# Every node that may stand anywhere, with the parts of it that may say something.
_ALLOWED: Final[Mapping[type[exp.Expr], frozenset[str]]] = {
    exp.Create: frozenset({"this", "kind", "unique", "concurrently"}),
    exp.Alter: frozenset({"this", "kind", "actions", "not_valid"}),
    exp.Drop: frozenset({"tables", "kind", "concurrently"}),
    exp.Update: frozenset({"this", "expressions", "where"}),
    exp.Delete: frozenset({"this", "where"}),
    exp.Insert: _BINARY,
    exp.Select: frozenset({"expressions", "from_", "where"}),
    exp.From: _THIS,
    exp.Where: _THIS,
    exp.Schema: _LIST,
    exp.Table: _THIS,
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.ColumnDef: frozenset({"this", "kind", "constraints"}),
    exp.ColumnConstraint: frozenset({"kind"}),
    exp.NotNullColumnConstraint: frozenset({"allow_null"}),
    exp.DefaultColumnConstraint: _THIS,
    exp.CheckColumnConstraint: _THIS,
    exp.UniqueColumnConstraint: frozenset({"this", "include"}),
    exp.PrimaryKey: frozenset({"expressions", "include"}),
    exp.ForeignKey: frozenset({"expressions", "reference"}),
    exp.Reference: _THIS,
    exp.Constraint: _LIST,
    exp.AddConstraint: frozenset({"expressions"}),
    exp.AlterColumn: frozenset({"this", "allow_null", "drop", "default"}),
    exp.DataType: _LIST,
    exp.DataTypeParam: _THIS,
    exp.Index: frozenset({"this", "table", "params"}),
    exp.IndexParameters: frozenset({"columns", "where"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Column: _THIS,
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Boolean: _THIS,
    exp.Null: frozenset(),
    exp.Paren: _THIS,
    exp.Not: _THIS,
    exp.Neg: _THIS,
    exp.And: _BINARY,
    exp.Or: _BINARY,
    exp.EQ: _BINARY,
    exp.NEQ: _BINARY,
    exp.GT: _BINARY,
    exp.GTE: _BINARY,
    exp.LT: _BINARY,
    exp.LTE: _BINARY,
    exp.Is: _BINARY | {"negate"},
    exp.Like: _BINARY,
    exp.In: _LIST,
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Add: _BINARY,
    exp.Sub: _BINARY,
    exp.Mul: _BINARY,
    exp.DPipe: frozenset({"this", "expression", "safe"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    exp.Cast: frozenset({"this", "to", "_type"}),
    exp.Coalesce: _LIST,
    exp.Lower: _THIS,
    exp.Upper: _THIS,
    exp.Length: _THIS,
    exp.Trim: _THIS,
    exp.CurrentTimestamp: frozenset(),
}
_FIRST: Final = (exp.Create, exp.Alter, exp.Drop, exp.Update, exp.Delete, exp.Insert)
# What the text is meant as, where the parser has no tree for it; it is refused all the same.
_REACHES: Final = "reaches_out"
_WORDS: Final[Mapping[type[exp.Expr], str]] = {
    exp.Attach: "ATTACH",
    exp.Detach: "DETACH",
    exp.Pragma: "PRAGMA",
    exp.Grant: "GRANT",
    exp.Copy: "COPY",
    exp.Set: "SET",
    exp.Use: "USE",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: where it begins, its tree, and the text that is made of the tree."""

    file: str
    line: int
    tree: exp.Expr
    sql: str


def read_statements(variant: Variant, dialect: Dialect) -> tuple[list[Statement], list[Finding]]:
    """The statements of a text; where one is not of the list, what is wrong and no statement."""
    language = Language.get_or_raise(dialect)
    try:
        tokens = language.tokenize(variant.text)
    except SqlglotError:
        return [], [Finding(variant.file, 0, "syntax", "cannot be read as SQL")]
    chunks = list(_chunks(tokens))
    if not chunks:
        return [], [Finding(variant.file, 0, "statement", "must hold a statement")]
    if len(chunks) > STATEMENTS_MAX:
        return [], [Finding(variant.file, 0, "statement", f"must hold at most {STATEMENTS_MAX}")]
    statements: list[Statement] = []
    findings: list[Finding] = []
    for chunk in chunks:
        line = chunk[0].line
        tree = _parsed(language, chunk, variant.text)
        if tree is None:
            findings.append(Finding(variant.file, line, "syntax", "cannot be read as SQL"))
            continue
        wrong = list(_strangers(variant.file, line, tree))
        findings += wrong[:1]
        if not wrong:
            tree = _deferring(tree) if dialect == "postgres" else tree
            sql = _written(tree, dialect)
            if sql is None or _parsed_text(language, sql) != _bare(tree):
                findings.append(Finding(variant.file, line, "engine", "is not for this engine"))
            else:
                statements.append(Statement(variant.file, line, tree, sql))
    return ([], findings) if findings else (statements, [])


def _chunks(tokens: list[Token]) -> Iterator[list[Token]]:
    chunk: list[Token] = []
    for token in tokens:
        if token.token_type != TokenType.SEMICOLON:
            chunk.append(token)
        elif chunk:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _parsed(language: Language, tokens: list[Token], text: str) -> exp.Expr | None:
    # It warns of what it does not know: that is refused here, with its line.
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        found = language.parser().parse(tokens, text)
    except (SqlglotError, RecursionError):
        return None
    finally:
        logger.setLevel(level)
    return found[0] if len(found) == 1 else None


def _deferring(tree: exp.Expr) -> exp.Expr:
    """References are looked at as they would be, and may wait for the end where rows are moved."""
    copy = tree.copy()
    for node in copy.find_all(exp.Reference):
        node.set("options", ["DEFERRABLE"])
    return copy


def _written(tree: exp.Expr, dialect: Dialect) -> str | None:
    # It doubts some texts that it writes well: each is read back and compared instead.
    ignored = ErrorLevel.IGNORE
    try:
        return tree.sql(dialect, identify=True, comments=False, unsupported_level=ignored)
    except SqlglotError:
        return None


def _parsed_text(language: Language, sql: str) -> exp.Expr | None:
    try:
        found = _parsed(language, language.tokenize(sql), sql)
    except SqlglotError:
        return None
    return None if found is None else _bare(found)


def _bare(tree: exp.Expr) -> exp.Expr:
    """The tree as it is compared: names without quotes, and types without what an engine calls them."""
    copy = tree.copy()
    for node in copy.walk():
        node.pop_comments()
        if isinstance(node, exp.Identifier):
            node.set("quoted", False)
        elif isinstance(node, exp.DataType):
            node.set("this", exp.DType.TEXT)
        elif isinstance(node, exp.Cast):
            node.set("_type", None)
    return copy


def _strangers(file: str, line: int, tree: exp.Expr) -> Iterator[Finding]:
    if not isinstance(tree, _FIRST):
        yield Finding(file, line, _REACHES, f"{_word(tree)} is not for a migration")
        return
    for count, node in enumerate(tree.walk()):
        if count > NODES_MAX:
            yield Finding(file, line, "statement", "is too long")
            return
        allowed = _ALLOWED.get(type(node))
        if allowed is None:
            yield Finding(file, line, "statement", f"{_word(node)} is not among what it may say")
        elif stranger := next((one for one in node.args if _says(node, one, allowed)), None):
            rule = _REACHES if isinstance(node, exp.Table) else "statement"
            yield Finding(file, line, rule, f"{_word(node)} must not say {stranger.rstrip('_')}")
        elif isinstance(node, exp.DataType) and (node.this not in TYPES):
            yield Finding(file, line, "type", "is not among the types that a column may have")


def _says(node: exp.Expr, part: str, allowed: frozenset[str]) -> bool:
    value: Any = node.args[part]
    return part not in allowed and value not in (None, False, [])


def _word(node: exp.Expr) -> str:
    if isinstance(node, exp.Command):
        return str(node.this).upper()
    return _WORDS.get(type(node), type(node).__name__)
