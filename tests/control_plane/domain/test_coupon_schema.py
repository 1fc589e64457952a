"""The published JSON Schema of coupons.yaml: as it is made, and as editors use it."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from control_plane.data.collection import SAMPLES
from control_plane.domain.coupon_schema import coupon_schema

PUBLISHED: Final = "docs/reference/coupons.schema.json"
COUPON: Final[dict[str, Any]] = {"code": "SPRING", "title": "Spring", "duration": "once"}


def valid(**changed: Any) -> bool:
    validator: Any = Draft202012Validator(coupon_schema())
    return bool(validator.is_valid({"coupons": [{**COUPON, **changed}]}))


def test_the_published_text_is_the_schema(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / PUBLISHED).read_text(encoding="utf-8")
    assert text == json.dumps(coupon_schema(), indent=2, ensure_ascii=False) + "\n"
    Draft202012Validator.check_schema(json.loads(text))


def test_the_sample_keeps_the_schema() -> None:
    validator: Any = Draft202012Validator(coupon_schema())
    text = (SAMPLES / "billing" / "coupons.yaml").read_text(encoding="utf-8")
    assert validator.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    "right",
    [
        {"percent_off": "12.5"},
        {"percent_off": 20},
        {"amount_off": {"minor": 500, "currency": "EUR"}},
        {"duration": "intervals", "intervals": 3, "redemptions_max": 5, "plans": ["team"]},
    ],
)
def test_an_editor_takes_what_the_catalog_takes(right: dict[str, Any]) -> None:
    assert valid(**right)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "spring"},
        {"title": ""},
        {"duration": "twice"},
        {"intervals": 0},
        {"percent_off": "-1"},
        {"amount_off": 500},
        {"colour": "red"},
    ],
)
def test_an_editor_is_told_of_what_the_catalog_would_refuse(wrong: dict[str, Any]) -> None:
    assert not valid(**wrong)


def test_every_option_has_a_description() -> None:
    schema = coupon_schema()
    silent = [
        f"{place}.{name}"
        for place, model in {"": schema, **schema["$defs"]}.items()
        for name, option in model.get("properties", {}).items()
        if not option.get("description")
    ]
    assert silent == []
