"""What masked values are: of the same kind, within the field's rules, and not what they were."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.data.collection import Collection
from control_plane.data.masking import Masking, groups_of, in_clear, shows_handled
from control_plane.data.tables import APPLIED, UNDO
from control_plane.data.values import Value, ValueReader, to_json
from control_plane.errors import Refused

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
KINDS: dict[str, tuple[dict[str, Any], Value]] = {
    "string": ({"max_length": 40}, "Ada Lovelace-1815"),
    "text": ({}, "What she wrote to me in confidence."),
    "integer": ({}, 48_212),
    "date": ({}, date(1815, 12, 10)),
    "timestamp": ({}, datetime(2024, 2, 29, 23, 59, tzinfo=UTC)),
    "uuid": ({}, "5f1c4c0e-7d0b-4a53-9a54-0c2f3f1d7b11"),
    "money": ({"currency": "EUR"}, -98_765_432),
    "decimal": ({"precision": 9, "scale": 3}, Decimal("123456.789")),
    "json": ({}, {"diagnosis": "secret"}),
}


def people(**fields: dict[str, Any]) -> Collection:
    """A collection of these fields."""
    declared = {"name": "people", "description": "People.", "fields": fields}
    return Collection.model_validate_json(json.dumps(declared))


def row(number: int, **values: Value | None) -> tuple[str, dict[str, Value | None]]:
    """A row of it."""
    return "people", {"id": f"{number:032x}", "version": 1, **values}


def masked(
    collection: Collection, *values: Value | None, key: bytes = KEY, groups: str = "pii"
) -> list[Value | None]:
    """What becomes of a column's values, a row each."""
    rows = [row(number, secret=value) for number, value in enumerate(values)]
    carried = Masking((collection,), {groups}, key).carried(rows)
    return [one["secret"] for _, one in carried]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_value_of_each_kind_becomes_another_that_fits(kind: str) -> None:
    options, value = KINDS[kind]
    collection = people(secret={"kind": kind, "group": "pii", **options})
    (made,) = masked(collection, value)
    assert made != value
    assert type(made) is type(value)
    reader = ValueReader(collection.fields["secret"], stored=True)
    assert reader.read(to_json(made)) == made


def test_the_same_value_is_masked_alike_in_one_copy_and_in_no_other() -> None:
    collection = people(secret={"kind": "string", "group": "pii"})
    one, same, other = masked(collection, "ada@example.com", "ada@example.com", "eve@example.com")
    assert (one == same, one == other) == (True, False)
    assert masked(collection, "ada@example.com", key=OTHER_KEY) != [one]
    assert re.fullmatch(r"[a-z]{3}@[a-z]{7}\.[a-z]{3}", str(one))


def test_of_few_values_the_same_tells_nothing() -> None:
    for declared, value in (
        ({"kind": "boolean", "group": "pii"}, True),
        ({"kind": "enum", "values": ["ill", "well"], "group": "pii"}, "ill"),
    ):
        made = masked(people(secret=declared), *[value] * 64)
        assert len(set(map(str, made))) == 2


def test_what_is_empty_stays_so_and_open_fields_and_references_are_left() -> None:
    collection = people(
        secret={"kind": "string", "group": "pii", "nullable": True},
        boss={"kind": "reference", "collection": "people", "group": "pii", "nullable": True},
        city={"kind": "string"},
    )
    rows = [row(1, secret=None, boss="0" * 32, city="London")]
    ((_, made),) = Masking((collection,), {"pii"}, KEY).carried(rows)
    assert made == rows[0][1]
    ((_, made),) = Masking((collection,), {"general"}, KEY).carried(rows)
    assert made["city"] != "London"


@pytest.mark.parametrize(
    "declared",
    [
        {"kind": "string", "max_length": 2, "pattern": "[a-z0-9]{2}"},
        {"kind": "integer"},
        {"kind": "enum", "values": [f"v{number}" for number in range(30)]},
        {"kind": "date"},
    ],
)
def test_what_is_unique_stays_unique(declared: dict[str, Any]) -> None:
    every: dict[str, list[Value]] = {
        "string": [f"{chr(97 + number)}{number % 10}" for number in range(26)],
        "integer": list(range(10, 60)),
        "enum": [f"v{number}" for number in range(30)],
        "date": [date(2020, 1, number) for number in range(1, 31)],
    }
    values = every[declared["kind"]]
    made = masked(people(secret={**declared, "unique": True, "group": "pii"}), *values)
    assert len(set(map(str, made))) == len(values)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"[^@\s]+@[^@\s]+", "ada@example.com"),
        (r"CUST-[0-9]{6}", "CUST-004711"),
        (r"[A-Z]{3}/2024", "ABC/2024"),
        (r"(DE|FR)[0-9]{9}", "DE123456789"),
    ],
)
def test_a_pattern_holds_for_what_is_masked(pattern: str, value: str) -> None:
    collection = people(secret={"kind": "string", "pattern": pattern, "group": "pii"})
    (made,) = masked(collection, value)
    assert made != value
    assert re.fullmatch(pattern, str(made))


def test_where_nothing_fits_the_field_is_named_and_no_value() -> None:
    collection = people(secret={"kind": "string", "pattern": "only-this", "group": "pii"})
    with pytest.raises(Refused) as caught:
        masked(collection, "only-this")
    assert (caught.value.code, caught.value.fact) == ("mask_does_not_fit", "people.secret")
    assert "only-this" not in str(caught.value)


def test_nothing_of_what_runs_and_calls_have_left_comes_with_it() -> None:
    collection = people(secret={"kind": "string", "group": "pii"})
    left: dict[str, Value | None] = {"call_id": "c", "images": "Ada"}
    rows = [(name, left) for name in (APPLIED.name, UNDO.name)]
    assert list(Masking((collection,), {"pii"}, KEY).carried(rows)) == []


def test_groups_are_told_by_what_would_show() -> None:
    collection = people(
        secret={"kind": "string", "group": "pii"},
        state={"kind": "string", "group": "health"},
        city={"kind": "string"},
    )
    assert groups_of((collection,)) == {"pii", "health", "general"}
    assert in_clear((collection,), {"pii"}) == ("health",)
    assert in_clear((collection,), {"pii", "health"}) == ()
    assert not shows_handled((collection,), set())


@given(
    value=st.decimals(
        min_value=Decimal("-999999.999"), max_value=Decimal("999999.999"), places=3
    ).map(lambda one: one or abs(one))
)
def test_every_decimal_stays_one_of_its_field(value: Decimal) -> None:
    collection = people(secret={"kind": "decimal", "precision": 9, "scale": 3, "group": "pii"})
    (made,) = masked(collection, value)
    reader = ValueReader(collection.fields["secret"], stored=True)
    assert reader.read(to_json(made)) == made


@given(value=st.dates(min_value=date(1000, 1, 1)))
def test_every_date_stays_one(value: date) -> None:
    (made,) = masked(people(secret={"kind": "date", "group": "pii"}), value)
    assert isinstance(made, date)
    assert 1000 <= made.year <= 9999
