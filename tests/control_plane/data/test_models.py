"""The models of a collection: what comes in strictly, what goes out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.data.collection import Collection
from control_plane.data.models import input_model, output_model

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


def test_the_schema_of_the_output_requires_only_what_is_never_masked(things: Collection) -> None:
    schema = output_model(things).model_json_schema(mode="serialization")
    assert schema["required"] == ["id", "version", "created_at"]
    assert "tenant_id" not in schema["properties"]
    assert "default" not in schema["properties"]["code"]
