"""Values of a team's columns between two engines: what SQLite keeps of each type, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, MetaData, Table, create_engine, delete, insert, select
from sqlalchemy.types import UserDefinedType

from control_plane.data.team_values import (
    Stored,
    TeamKind,
    from_sqlite,
    kept,
    settled,
    to_sqlite,
    told,
    told_as_kept,
)

# As the migrations' own columns are declared on SQLite: what it makes of a value follows from that.
DECLARED: Final = {
    "text": "TEXT(40)",
    "integer": "INTEGER",
    "boolean": "INTEGER",
    "decimal": "REAL(12, 4)",
    "double": "REAL",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "uuid": "UUID",
    "json": "JSON",
}
NUMBERS: Final = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
LEAVES: Final = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
DOCUMENTS: Final = st.one_of(
    NUMBERS.filter(lambda said: not said.startswith((".", "+"))),
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        json.dumps
    ),
)
MOMENTS: Final = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
# As Postgres writes a value of the kind in a session in UTC.
WRITTEN: Final[dict[str, st.SearchStrategy[str]]] = {
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "integer": st.integers(-(2**63), 2**63 - 1).map(str),
    "boolean": st.sampled_from(["true", "false"]),
    "decimal": st.decimals(-(10**8) + 1, 10**8 - 1, places=4).map(lambda said: f"{said:.4f}"),
    "double": st.floats(allow_nan=False).map(lambda said: repr(said).replace("inf", "Infinity")),
    "date": st.dates().map(str) | st.sampled_from(["infinity", "0044-03-15 BC", "12024-01-01"]),
    "timestamp": MOMENTS.map(
        lambda at: at.isoformat(sep=" ").rstrip("0") if at.microsecond else str(at)
    ),
    "timestamptz": MOMENTS.map(
        lambda at: (at.isoformat(sep=" ").rstrip("0") if at.microsecond else str(at)) + "+00"
    )
    | st.sampled_from(["-infinity", "0044-03-15 12:00:00+00 BC"]),
    "uuid": st.uuids().map(str),
    "json": DOCUMENTS,
}


class _Said(UserDefinedType[Any]):
    """What is given to SQLite as it is, in a column of the type."""

    cache_ok = True

    def __init__(self, declared: str) -> None:
        self.declared = declared

    def get_col_spec(self, **_: Any) -> str:
        return self.declared


ONE: Final = Table(
    "one", MetaData(), *(Column(name, _Said(declared)) for name, declared in DECLARED.items())
)


@pytest.fixture(scope="module")
def file() -> Iterator[Connection]:
    with create_engine("sqlite://").begin() as made:
        ONE.create(made)
        yield made


def through(file: Connection, family: str, stored: Stored) -> Stored:
    """What SQLite gives back of what it was given."""
    file.execute(delete(ONE))
    file.execute(insert(ONE).values({family: stored}))
    found: Stored = file.execute(select(ONE.c[family])).scalar_one()
    return found


def kind_of(family: Any) -> TeamKind:
    return TeamKind(family, 4 if family == "decimal" else None)


@pytest.mark.parametrize("family", sorted(DECLARED))
@given(data=st.data())
def test_what_postgres_has_comes_back_from_sqlite_or_is_refused(
    file: Connection, family: str, data: st.DataObject
) -> None:
    kind = kind_of(family)
    said = settled(kind, data.draw(WRITTEN[family]))
    try:
        stored = to_sqlite(kind, said)
    except ValueError:
        # Only a number may have more digits than eight bytes hold.
        assert family in ("decimal", "json")
        assert Decimal(repr(float(said))) != Decimal(said)
        return
    back = from_sqlite(kind, through(file, family, stored))
    assert told(kind, back) == told(kind, said)
    assert (to_sqlite(kind, None), from_sqlite(kind, None)) == (None, None)


@given(said=NUMBERS)
def test_a_decimal_of_any_length_is_kept_exactly_or_refused(file: Connection, said: str) -> None:
    kind = TeamKind("decimal")
    try:
        stored = to_sqlite(kind, said)
    except ValueError:
        return
    back = from_sqlite(kind, through(file, "double", stored))
    assert back is not None
    assert Decimal(back) == Decimal(said)


@given(one=NUMBERS, other=NUMBERS)
def test_numbers_are_told_alike_if_they_are_equal(one: str, other: str) -> None:
    kind = TeamKind("decimal")
    assert (told(kind, one) == told(kind, other)) == (Decimal(one) == Decimal(other))
    assert told(kind, f"{Decimal(one):f}") == told(kind, one)


@given(at=MOMENTS, minutes=st.integers(-15 * 60 - 59, 15 * 60 + 59))
def test_a_time_with_a_zone_is_the_same_moment_in_utc(at: datetime, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    said = from_sqlite(TeamKind("timestamptz"), at.replace(tzinfo=zone).isoformat())
    assert said is not None
    moment = datetime.fromisoformat(said).replace(tzinfo=UTC)
    assert moment == at.replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("family", "stored", "said"),
    [
        ("timestamptz", "2024-01-01 00:00:00", "2024-01-01 00:00:00"),
        ("timestamptz", "2024-01-01T02:00:00.1200+02:00", "2024-01-01 00:00:00.12"),
        ("timestamp", "2024-01-01T02:00Z", "2024-01-01 02:00:00"),
        ("timestamp", "2024-01-01", "2024-01-01 00:00:00"),
        ("uuid", "00000000000040008000000000000ABC", "00000000-0000-4000-8000-000000000abc"),
        ("decimal", 3, "3.0000"),
        ("decimal", 0.1, "0.1000"),
        ("json", 5, "5"),
        ("json", " [1] ", " [1] "),
        ("boolean", 1, "true"),
    ],
)
def test_what_programs_write_into_sqlite_is_understood(
    family: str, stored: Stored, said: str
) -> None:
    assert from_sqlite(kind_of(family), stored) == said


@pytest.mark.parametrize(
    ("family", "stored"),
    [
        ("text", 5),
        ("text", "nu\0l"),
        ("integer", 1.5),
        ("integer", "none"),
        ("boolean", 2),
        ("boolean", "true"),
        # A sum of tenths, which is no decimal of four places any more.
        ("decimal", 0.1 + 0.2),
        ("decimal", "many"),
        ("decimal", float("inf")),
        ("double", "x"),
        ("double", 2**53 + 1),
        ("date", "2024-02-30"),
        ("date", "2024-01-01 00:00:00"),
        ("date", 2024),
        ("timestamp", "2024-01-01 00:00:00+02:00"),
        ("timestamp", "2024-01-01 00:00:00.1234567"),
        ("timestamp", "24:00"),
        ("timestamptz", "2024-01-01 00:00:00+16:00"),
        ("timestamptz", "0001-01-01 00:00:00+01:00"),
        ("uuid", "no"),
        ("uuid", b"0123456789abcdef"),
        ("json", "{"),
        ("json", "NaN"),
        ("json", float("inf")),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(family: str, stored: Stored) -> None:
    with pytest.raises(ValueError, match=r"must|day|hour"):
        from_sqlite(kind_of(family), stored)


@pytest.mark.parametrize(
    ("family", "said"), [("double", "NaN"), ("decimal", "NaN"), ("decimal", "0.12345678901234567")]
)
def test_what_sqlite_cannot_keep_is_refused(family: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"must|day|hour"):
        to_sqlite(TeamKind(family), said)  # type: ignore[arg-type]


@given(
    stored=st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
def test_what_sqlite_keeps_is_told_so_that_it_can_be_kept_again(stored: Stored) -> None:
    again = kept(told_as_kept(stored))
    assert (type(again), again) == (type(stored), stored)


def test_a_date_is_no_text_of_another_day() -> None:
    assert from_sqlite(TeamKind("date"), str(date(2024, 2, 29))) == "2024-02-29"
