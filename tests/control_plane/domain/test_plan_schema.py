"""The published JSON Schema of plans.yaml: as it is made, and as editors use it."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from control_plane.data.collection import SAMPLES
from control_plane.domain.plan_schema import plan_schema

PUBLISHED: Final = "docs/reference/plans.schema.json"
PRICE: Final[dict[str, Any]] = {"model": "flat", "currency": "USD", "amount_minor": 4900}
PLAN: Final[dict[str, Any]] = {
    "name": "team",
    "version": 1,
    "rank": 20,
    "tier": "team",
    "title": "Team",
    "isolations": ["pooled"],
    "regions": ["local"],
    "quotas": {"records_max": 10, "seats_max": 5},
}


def valid(**changed: Any) -> bool:
    validator: Any = Draft202012Validator(plan_schema())
    return bool(validator.is_valid({"plans": [{**PLAN, **changed}]}))


def priced(price: dict[str, Any]) -> dict[str, Any]:
    return {"charges": [{"interval": "month", "prices": [price]}]}


def test_the_published_text_is_the_schema(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / PUBLISHED).read_text(encoding="utf-8")
    assert text == json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"
    Draft202012Validator.check_schema(json.loads(text))


def test_the_sample_keeps_the_schema() -> None:
    validator: Any = Draft202012Validator(plan_schema())
    assert validator.is_valid(yaml.safe_load((SAMPLES / "plans.yaml").read_text(encoding="utf-8")))


RIGHT: list[dict[str, Any]] = [
    {},
    priced(PRICE),
    priced({"model": "per_seat", "currency": "EUR", "unit_amount_minor": "0.5"}),
    priced({"model": "volume", "currency": "EUR", "tiers": [{"up_to": 5}, {"up_to": None}]}),
    {"entitlements": [{"kind": "metered", "feature": "calls", "soft_limit": 5, "grace_hours": 1}]},
    {"entitlements": [{"kind": "static", "feature": "file_mb", "value": "0.5"}]},
    {"trial": {"days": 14}, "term_intervals": 12, "pausable": True, "proration": "day"},
    {"dunning": {"retry_days": [0, 1], "rungs": [{"day": 3, "level": "read_only"}]}},
]
WRONG: list[dict[str, Any]] = [
    {"colour": "red"},
    {"name": "Team"},
    {"version": 0},
    {"isolations": []},
    {"quotas": {"records_max": 10}},
    priced({**PRICE, "amount_minor": "49"}),
    priced({**PRICE, "model": "fixed"}),
    priced({**PRICE, "unit_amount_minor": 1}),
    priced({"model": "per_seat", "currency": "EUR", "unit_amount_minor": "-1"}),
    {"entitlements": [{"kind": "boolean", "feature": "sso", "hard_limit": 1}]},
    {"trial": {"days": 0}},
    {"proration": "hour"},
    {"dunning": {"rungs": [{"day": 3, "level": "shut"}]}},
]


@pytest.mark.parametrize("right", RIGHT)
def test_an_editor_takes_what_the_catalog_takes(right: dict[str, Any]) -> None:
    assert valid(**right)


@pytest.mark.parametrize("wrong", WRONG)
def test_an_editor_is_told_of_what_the_catalog_would_refuse(wrong: dict[str, Any]) -> None:
    assert not valid(**wrong)


def test_every_option_has_a_description() -> None:
    schema = plan_schema()
    silent = [
        f"{place}.{name}"
        for place, model in {"": schema, **schema["$defs"]}.items()
        for name, option in model.get("properties", {}).items()
        if not option.get("description")
    ]
    assert silent == []
