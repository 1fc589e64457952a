"""Which type becomes which kind, and what is said of a type that has none."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import NullType, TypeEngine

from control_plane.data.pulling.kinds import Kind, NoKind, default_of, kind_of
from control_plane.data.pulling.literals import Literal, NoLiteral, Number


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (sa.SmallInteger(), {"kind": "integer"}),
        (sa.BigInteger(), {"kind": "integer"}),
        (sa.Numeric(12, 2), {"kind": "decimal", "precision": 12, "scale": 2}),
        (sa.Numeric(5), {"kind": "decimal", "precision": 5, "scale": 0}),
        (sa.VARCHAR(80), {"kind": "string", "max_length": 80}),
        (sa.CHAR(5), {"kind": "string", "max_length": 5}),
        (sa.VARCHAR(4_000), {"kind": "text", "max_length": 4_000}),
        (sa.TEXT(), {"kind": "text", "max_length": 100_000}),
        (sa.Boolean(), {"kind": "boolean"}),
        (sa.Date(), {"kind": "date"}),
        (sa.TIMESTAMP(timezone=True), {"kind": "timestamp"}),
        (sa.Uuid(), {"kind": "uuid"}),
        (pg.JSONB(), {"kind": "json", "max_length": 100_000}),
        (pg.ENUM("a", "b", name="ab"), {"kind": "enum", "values": ["a", "b"]}),
    ],
)
def test_a_type_that_has_a_kind_keeps_its_bounds(
    found: TypeEngine[Any], options: dict[str, object]
) -> None:
    kind = kind_of(found, keyed=False)
    assert isinstance(kind, Kind)
    assert kind.options == options


NOT_MAPPED: list[tuple[TypeEngine[Any], str]] = [
    (sa.Float(), "proposal: decimal"),
    (sa.Double(), "proposal: decimal"),
    (sa.Numeric(), "without a precision"),
    (sa.Numeric(19, 4), "at most 18 digits"),
    (sa.Numeric(18, 12), "9 of them"),
    (sa.Numeric(3, -2), "at most 18 digits"),
    (sa.Time(), "TIME has no kind"),
    (pg.INTERVAL(), "proposal: integer"),
    (sa.LargeBinary(), "bytes have no kind"),
    (pg.BYTEA(), "bytes have no kind"),
    (pg.ARRAY(sa.Text()), "an array has no kind"),
    (pg.INT4RANGE(), "two fields"),
    (pg.TSVECTOR(), "TSVECTOR has no kind"),
    (pg.MONEY(), "currency is not known"),
    (pg.INET(), "proposal: string"),
    (pg.ENUM(*map(str, range(65)), name="many"), "1 to 64 distinct values"),
    (pg.ENUM("a" * 65, name="long"), "1 to 64 printable characters"),
    (NullType(), "not known here"),
]


@pytest.mark.parametrize(("found", "reason"), NOT_MAPPED)
def test_a_type_without_a_kind_is_told_with_a_proposal(found: TypeEngine[Any], reason: str) -> None:
    kind = kind_of(found, keyed=False)
    assert isinstance(kind, NoKind)
    assert reason in kind.reason


def test_what_a_kind_cannot_keep_is_noted() -> None:
    for found, note in (
        (sa.DateTime(), "no time zone"),
        (pg.CITEXT(), "without case"),
        (sa.VARCHAR(200_000), "more than 100000"),
        (sa.BigInteger(), "2^53"),
    ):
        kind = kind_of(found, keyed=False)
        assert isinstance(kind, Kind)
        assert any(note in one for one in kind.notes)


def test_a_text_that_a_key_uses_is_a_string_so_that_it_has_an_order() -> None:
    kind = kind_of(sa.Text(), keyed=True)
    assert isinstance(kind, Kind)
    assert kind.options == {"kind": "string", "max_length": 255}
    assert kind.notes


def test_a_domain_is_what_it_is_over_and_its_list_of_values_an_enum() -> None:
    plain = kind_of(pg.DOMAIN("year", sa.Integer(), check="VALUE >= 1901"), keyed=False)
    assert isinstance(plain, Kind)
    assert (plain.options, plain.notes) == (
        {"kind": "integer"},
        ("its domain's check is not mapped",),
    )
    listed = kind_of(pg.DOMAIN("size", sa.Text(), check="VALUE IN ('s', 'm')"), keyed=False)
    assert isinstance(listed, Kind)
    assert listed.options == {"kind": "enum", "values": ["s", "m"]}


@pytest.mark.parametrize(
    ("options", "literal", "default"),
    [
        ({"kind": "integer"}, Number("7"), 7),
        ({"kind": "integer"}, "-7", -7),
        ({"kind": "decimal", "precision": 5, "scale": 2}, Number("4.9"), "4.90"),
        ({"kind": "decimal", "precision": 5, "scale": 2}, Number("-0"), "0.00"),
        ({"kind": "decimal", "precision": 5, "scale": 2}, Number("-0.5"), "-0.50"),
        ({"kind": "decimal", "precision": 5, "scale": 0}, "12", "12"),
        ({"kind": "boolean"}, Number("1"), True),
        ({"kind": "boolean"}, "f", False),
        ({"kind": "string"}, "", ""),
    ],
)
def test_a_literal_becomes_a_value_of_the_kind(
    options: dict[str, object], literal: Literal, default: object
) -> None:
    assert default_of(Kind(options), literal) == default


@pytest.mark.parametrize(
    ("options", "literal"),
    [
        ({"kind": "integer"}, Number("1.5")),
        ({"kind": "integer"}, "seven"),
        ({"kind": "integer"}, True),
        ({"kind": "decimal", "precision": 5, "scale": 2}, Number("0.125")),
        ({"kind": "decimal", "precision": 5, "scale": 2}, "--1"),
        ({"kind": "boolean"}, "yes"),
        ({"kind": "string"}, Number("1")),
        ({"kind": "json"}, "{}"),
        ({"kind": "timestamp"}, "2020-01-01 00:00:00+00"),
    ],
)
def test_a_literal_of_another_kind_is_no_default(
    options: dict[str, object], literal: Literal
) -> None:
    with pytest.raises(NoLiteral):
        default_of(Kind(options), literal)
