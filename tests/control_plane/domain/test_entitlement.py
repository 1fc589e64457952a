"""Entitlements as they are declared: three kinds, each with its own parts, and limits that agree."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from control_plane.domain.entitlement import (
    BooleanEntitlement,
    Entitlement,
    Entitlements,
    MeteredEntitlement,
    meters,
)

ENTITLEMENTS: TypeAdapter[tuple[Entitlement, ...]] = TypeAdapter(Entitlements)
CALLS = {"kind": "metered", "feature": "calls"}


def read(*declared: dict[str, Any]) -> tuple[Entitlement, ...]:
    return ENTITLEMENTS.validate_json(json.dumps(declared), strict=True)


def test_the_three_kinds_are_read_and_sorted_by_feature() -> None:
    found = read(
        {"kind": "static", "feature": "file_mb", "value": 8},
        {"kind": "boolean", "feature": "sso"},
        {**CALLS, "soft_limit": "1000", "hard_limit": 2000, "grace_hours": 72},
    )
    assert [one.feature for one in found] == ["calls", "file_mb", "sso"]
    assert found[0] == MeteredEntitlement(
        kind="metered",
        feature="calls",
        soft_limit=Decimal(1000),
        hard_limit=Decimal(2000),
        grace_hours=72,
    )
    assert isinstance(found[2], BooleanEntitlement)
    assert found[2].granted
    assert meters(found) == {"calls"}


def test_a_meter_without_limits_is_granted_whole() -> None:
    (found,) = read(CALLS)
    assert isinstance(found, MeteredEntitlement)
    assert (found.soft_limit, found.hard_limit, found.grace_hours) == (None, None, None)


def test_a_soft_limit_may_be_the_hard_one() -> None:
    assert read({**CALLS, "soft_limit": "5", "hard_limit": "5"})


@pytest.mark.parametrize(
    ("declared", "rule"),
    [
        ([{**CALLS, "soft_limit": 6, "hard_limit": "5.5"}], "at most the hard one"),
        ([{**CALLS, "grace_hours": 1}], "grace needs a soft limit"),
        ([{**CALLS, "hard_limit": 1, "grace_hours": 1}], "grace needs a soft limit"),
        ([{**CALLS, "hard_limit": -1}], "0 or more"),
        ([{**CALLS, "soft_limit": 1, "grace_hours": 2161}], "less than or equal to 2160"),
        ([{**CALLS, "feature": "seats"}], "not called plan or seats"),
        ([{**CALLS, "feature": "plan"}], "not called plan or seats"),
        ([{**CALLS, "granted": True}], "not permitted"),
        ([CALLS, {"kind": "boolean", "feature": "calls"}], "only once"),
        ([{"kind": "static", "feature": "x", "value": True}], "number as text"),
        ([{"kind": "static", "feature": "x", "value": "many"}], "plain digits"),
        ([{"kind": "static", "feature": "x"}], "required"),
        ([{"kind": "boolean", "feature": "X"}], "pattern"),
        ([{"kind": "other", "feature": "x"}], "expected tags"),
    ],
)
def test_what_has_no_one_meaning_is_refused(declared: list[dict[str, Any]], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        read(*declared)
