"""Literals in a schema's expressions: defaults and lists of values. Not a reader of SQL.

Only the few forms are understood in which both databases tell a literal, a list of literals and a
cast of one. Everything else is no literal: nothing is guessed from a part of an expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

_CHARS_MAX: Final = 20_000
_DEPTH_MAX: Final = 16
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")+"|`[^`]+`)
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w.]))
    | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<mark>::|[()\[\],=.])
    )""",
    re.VERBOSE,
)
# Words that end the name of a type: `varying IN` is no type.
_OPERATORS: Final = frozenset({"IN", "ANY", "ARRAY", "AND", "OR", "NOT", "IS"})
_WORDS: Final = {"TRUE": True, "FALSE": False}

Literal: TypeAlias = "str | bool | Number | None"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: decimal digits with a sign and at most one point."""

    digits: str


@dataclass(frozen=True, slots=True)
class Membership:
    """A column whose values are among these, in their order."""

    column: str
    values: tuple[str | Number, ...]


class NoLiteral(Exception):
    """The expression is none of the forms that are understood."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def default_literal(expression: str) -> Literal:
    """The literal that a column's default is; None for NULL. Raises NoLiteral."""
    tokens = _without_casts(_tokens(expression))
    for _ in range(_DEPTH_MAX):
        if len(tokens) == 1:
            return _literal(tokens[0])
        tokens = _stripped(tokens)
    raise NoLiteral


def membership(expression: str) -> Membership:
    """The column and values of `x IN (...)`, `x = ANY (ARRAY[...])` or `x = '...'`. Raises NoLiteral."""
    tokens = _without_casts(_tokens(expression))
    for _ in range(_DEPTH_MAX):
        try:
            return _Members(tokens).whole()
        except NoLiteral:
            tokens = _stripped(tokens)
    raise NoLiteral


def _tokens(expression: str) -> list[_Token]:
    if len(expression) > _CHARS_MAX:
        raise NoLiteral
    found: list[_Token] = []
    place, text = 0, expression.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise NoLiteral
        found.append(_Token(match.lastgroup, match.group(match.lastgroup)))
        place = match.end()
    return found


def _without_casts(tokens: list[_Token]) -> list[_Token]:
    kept: list[_Token] = []
    place = 0
    while place < len(tokens):
        if tokens[place].text == "::" and tokens[place].kind == "mark":
            place = _after_type(tokens, place + 1)
        else:
            kept.append(tokens[place])
            place += 1
    return kept


def _after_type(tokens: list[_Token], place: int) -> int:
    start = place
    while place < len(tokens) and _names_a_type(tokens[place]):
        place += 1
    if place == start:
        raise NoLiteral
    for opening, closing in (("(", ")"), ("[", "]")):
        if place < len(tokens) and tokens[place].text == opening:
            while place < len(tokens) and tokens[place].text != closing:
                place += 1
            place += 1
    return place


def _names_a_type(token: _Token) -> bool:
    if token.kind == "word":
        return token.text.upper() not in _OPERATORS
    return token.kind == "name" or token.text == "."


def _stripped(tokens: list[_Token]) -> list[_Token]:
    if len(tokens) < 3 or tokens[0].text != "(" or tokens[-1].text != ")":  # noqa: PLR2004 - ( x )
        raise NoLiteral
    return tokens[1:-1]


def _literal(token: _Token) -> Literal:
    if token.kind == "text":
        return _unquoted(token)
    if token.kind == "number":
        return Number(token.text)
    word = token.text.upper()
    if token.kind == "word" and word in _WORDS:
        return _WORDS[word]
    if token.kind == "word" and word == "NULL":
        return None
    raise NoLiteral


def _unquoted(token: _Token) -> str:
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)


class _Members:
    """One pass over the tokens of a list of values, without a way back."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0

    def whole(self) -> Membership:
        column = self._column(_DEPTH_MAX)
        if self._word("IN"):
            values = self._listed("(", ")")
        else:
            self._mark("=")
            values = self._any() if self._word("ANY") else (self._value(_DEPTH_MAX),)
        if self._place != len(self._tokens):
            raise NoLiteral
        return Membership(column, values)

    def _any(self) -> tuple[str | Number, ...]:
        self._mark("(")
        depth = 1
        while self._at("(") and depth < _DEPTH_MAX:
            self._mark("(")
            depth += 1
        if not self._word("ARRAY"):
            raise NoLiteral
        values = self._listed("[", "]")
        for _ in range(depth):
            self._mark(")")
        return values

    def _listed(self, opening: str, closing: str) -> tuple[str | Number, ...]:
        self._mark(opening)
        values = [self._value(_DEPTH_MAX)]
        while self._at(","):
            self._mark(",")
            values.append(self._value(_DEPTH_MAX))
        self._mark(closing)
        return tuple(values)

    def _column(self, depth: int) -> str:
        if depth and self._at("("):
            self._mark("(")
            name = self._column(depth - 1)
            self._mark(")")
            return name
        token = self._next()
        if token.kind == "name":
            return _unquoted(token)
        if token.kind == "word" and token.text.upper() not in _OPERATORS:
            return token.text
        raise NoLiteral

    def _value(self, depth: int) -> str | Number:
        if depth and self._at("("):
            self._mark("(")
            value = self._value(depth - 1)
            self._mark(")")
            return value
        found = _literal(self._next())
        if isinstance(found, str | Number):
            return found
        raise NoLiteral

    def _next(self) -> _Token:
        if self._place == len(self._tokens):
            raise NoLiteral
        self._place += 1
        return self._tokens[self._place - 1]

    def _at(self, mark: str) -> bool:
        tokens, place = self._tokens, self._place
        return place < len(tokens) and tokens[place] == _Token("mark", mark)

    def _mark(self, mark: str) -> None:
        if self._next() != _Token("mark", mark):
            raise NoLiteral

    def _word(self, word: str) -> bool:
        tokens, place = self._tokens, self._place
        found = place < len(tokens) and tokens[place].kind == "word"
        found = found and tokens[place].text.upper() == word
        self._place += found
        return found
