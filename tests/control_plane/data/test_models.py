"""The models of a collection: what comes in strictly, what goes out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.data.collection import Collection
from control_plane.data.models import input_model, output_model, patch_model


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


ROW_ID = "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"code": None},
        {"code": 7},
        {"code": "ab1"},
        {"code": "abcdefghi"},
        {"code": "abc\n"},
        {"code": "a", "extra": 1},
        {"code": "a", "id": ROW_ID},
        {"code": "a", "tenant_id": "acme"},
        {"code": "a", "label": "x" * 21},
        {"code": "a", "label": "nul\x00"},
        {"code": "a", "label": "\ud800"},
        {"code": "a", "count": "1"},
        {"code": "a", "count": 1.0},
        {"code": "a", "count": True},
        {"code": "a", "count": 2**53},
        {"code": "a", "active": "no"},
        {"code": "a", "active": 1},
        {"code": "a", "born": "20240101"},
        {"code": "a", "born": "2023-02-29"},
        {"code": "a", "born": "0999-01-01"},
        {"code": "a", "born": 0},
        {"code": "a", "seen": "2024-01-01T00:00:00"},
        {"code": "a", "seen": "2024-01-01T25:00:00Z"},
        {"code": "a", "seen": "9999-12-31T23:59:59-01:00"},
        {"code": "a", "seen": datetime(2024, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"code": "a", "born": datetime(2024, 1, 1, tzinfo=UTC)},
        {"code": "a", "other": ROW_ID.replace("-", "")},
        {"code": "a", "status": "Lead"},
        {"code": "a", "balance": 1.5},
        {"code": "a", "price": "12.5"},
        {"code": "a", "price": "12.500"},
        {"code": "a", "price": "012.50"},
        {"code": "a", "price": "+1.00"},
        {"code": "a", "price": "-0.00"},
        {"code": "a", "price": "1e3"},
        {"code": "a", "price": "1.00\n"},
        {"code": "a", "price": "\u0661.00"},
        {"code": "a", "price": "1000000.00"},
        {"code": "a", "price": 12},
        {"code": "a", "price": 12.5},
        {"code": "a", "price": Decimal("12.505")},
        {"code": "a", "price": Decimal("Infinity")},
        {"code": "a", "price": Decimal("1E+9999")},
        {"code": "a", "details": 1.0},
        {"code": "a", "details": [float("nan")]},
        {"code": "a", "details": 2**53},
        {"code": "a", "details": {"a": "nul\x00"}},
        {"code": "a", "details": {"\ud800": 1}},
        {"code": "a", "details": {1: 1}},
        {"code": "a", "details": "x" * 199},
        {"code": "a", "details": nested(17)},
        {"code": "a", "parent": "acme"},
        {"code": "a", "tag": "a-lead"},
    ],
)
def test_what_is_not_exactly_of_its_kind_is_refused(
    things: Collection, values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        input_model(things).model_validate(values)


def test_json_values_come_in_typed(things: Collection) -> None:
    row = input_model(things).model_validate(
        {
            "code": "abc",
            "born": "2024-02-29",
            "seen": "2024-01-01T02:00:00.5+02:00",
            "balance": -1,
            "status": "lead",
            "other": ROW_ID,
        }
    )
    values = row.model_dump()
    assert values["born"] == date(2024, 2, 29)
    assert values["seen"] == datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert values["label"] is None


def test_json_text_and_parsed_json_are_read_alike(things: Collection) -> None:
    model = input_model(things)
    text = '{"code": "abc", "born": "2024-02-29", "seen": "2024-01-01T02:00:00Z"}'
    parsed = {"code": "abc", "born": "2024-02-29", "seen": "2024-01-01T02:00:00Z"}
    assert model.model_validate_json(text) == model.model_validate(parsed)


def test_the_schema_of_the_input_carries_every_limit(things: Collection) -> None:
    schema = input_model(things).model_json_schema()
    properties = schema["properties"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["code"]
    assert properties["code"]["maxLength"] == 8
    assert properties["code"]["pattern"] == "^(?:[a-z]+|[0-9]+)$"
    assert properties["status"]["anyOf"][0]["enum"] == ["lead", "customer"]
    assert properties["seen"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert "EUR" in str(properties["balance"])


def test_a_masked_field_is_absent_and_an_empty_one_is_null(things: Collection) -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    row = {"id": ROW_ID, "version": 1, "created_at": moment, "label": None}
    out = output_model(things).model_validate(row)
    assert out.model_dump(mode="json", exclude_unset=True) == {
        "id": ROW_ID,
        "version": 1,
        "created_at": "2024-01-01T00:00:00.000000Z",
        "label": None,
    }


def test_the_schema_of_the_output_requires_only_what_is_always_there(things: Collection) -> None:
    schema = output_model(things).model_json_schema(mode="serialization")
    assert schema["required"] == ["id"]
    assert "tenant_id" not in schema["properties"]
    assert "default" not in schema["properties"]["code"]


def test_decimals_and_documents_come_in_exactly(things: Collection) -> None:
    sent = {"code": "a", "price": "-999999.99", "details": {"b": [nested(14)], "a": None}}
    row = input_model(things).model_validate(sent)
    assert row.model_dump()["price"] == Decimal("-999999.99")
    assert row.model_dump(mode="json", exclude_unset=True) == sent
    again = input_model(things).model_validate({**sent, "price": Decimal("-999999.990")})
    assert again == row


def test_an_absent_value_is_the_default(things: Collection) -> None:
    assert input_model(defaulted()).model_validate({}).model_dump() == {
        "word": "x",
        "count": 0,
        "on": False,
        "day": date(2024, 2, 29),
        "price": Decimal("0.00"),
    }
    told = input_model(defaulted()).model_json_schema()
    assert told["properties"]["price"]["default"] == "0.00"
    assert "required" not in told
    emptied = input_model(defaulted()).model_validate({"word": None, "price": "1.00"})
    assert emptied.model_dump()["word"] is None
    with pytest.raises(ValidationError):
        input_model(defaulted()).model_validate({"count": None})


def defaulted() -> Collection:
    return Collection.model_validate_json(
        """{"name": "rows", "description": "Defaults.", "fields": {
            "word": {"kind": "string", "nullable": true, "default": "x"},
            "count": {"kind": "integer", "default": 0},
            "on": {"kind": "boolean", "default": false},
            "day": {"kind": "date", "default": "2024-02-29"},
            "price": {"kind": "decimal", "precision": 4, "scale": 2, "default": "0.00"}}}"""
    )


def test_a_patch_sets_what_is_sent_and_nothing_else(things: Collection) -> None:
    patch = patch_model(things).model_validate({"label": None, "price": "1.00"})
    assert patch.model_dump(exclude_unset=True) == {"label": None, "price": Decimal("1.00")}
    assert patch_model(defaulted()).model_validate({"on": True}).model_dump(exclude_unset=True) == {
        "on": True
    }


@pytest.mark.parametrize(
    "values",
    [{}, {"code": None}, {"code": "A"}, {"tag": "x"}, {"id": ROW_ID}, {"price": "1"}],
)
def test_a_patch_that_breaks_a_rule_is_refused(things: Collection, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        patch_model(things).model_validate(values)


def test_the_schema_of_a_patch_requires_one_field_and_tells_no_default(things: Collection) -> None:
    schema = patch_model(things).model_json_schema()
    assert schema["minProperties"] == 1
    assert "required" not in schema
    assert schema["additionalProperties"] is False
    assert "tag" not in schema["properties"]
    assert [name for name, one in schema["properties"].items() if "default" in one] == []


def test_a_computed_field_goes_out_as_its_result(things: Collection) -> None:
    row = {"id": ROW_ID, "version": 1, "created_at": datetime(2024, 1, 1, tzinfo=UTC)}
    values = {"tag": "a-lead", "debt": Decimal("-1.50"), "details": [1], "parent": ROW_ID}
    out = output_model(things).model_validate({**row, **values})
    told = out.model_dump(mode="json", exclude_unset=True)
    assert {name: told[name] for name in values} == {**values, "debt": "-1.50"}
