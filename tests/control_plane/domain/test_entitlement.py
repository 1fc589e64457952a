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
CALLS = {"kind": "metered", "name": "calls"}


def read(*declared: dict[str, Any]) -> tuple[Entitlement, ...]:
    return ENTITLEMENTS.validate_json(json.dumps(declared), strict=True)


def test_the_three_kinds_are_read_and_sorted_by_name() -> None:
    found = read(
        {"kind": "static", "name": "support_hours", "value": 8},
        {"kind": "boolean", "name": "sso"},
        {**CALLS, "soft_limit": "1000", "hard_limit": 2000, "grace_days": 3},
    )
    assert [one.name for one in found] == ["calls", "sso", "support_hours"]
    assert found[0] == MeteredEntitlement(
        kind="metered",
        name="calls",
        soft_limit=Decimal(1000),
        hard_limit=Decimal(2000),
        grace_days=3,
    )
    assert isinstance(found[1], BooleanEntitlement)
    assert found[1].granted
    assert meters(found) == {"calls"}


def test_a_meter_without_limits_is_granted_whole() -> None:
    (found,) = read(CALLS)
    assert isinstance(found, MeteredEntitlement)
    assert (found.soft_limit, found.hard_limit, found.grace_days) == (None, None, 0)


def test_a_soft_limit_may_be_the_hard_one() -> None:
    assert read({**CALLS, "soft_limit": "5", "hard_limit": "5"})


@pytest.mark.parametrize(
    ("declared", "rule"),
    [
        ([{**CALLS, "soft_limit": 6, "hard_limit": "5.5"}], "not above the hard limit"),
        ([{**CALLS, "grace_days": 1}], "grace needs a hard limit"),
        ([{**CALLS, "soft_limit": 1, "grace_days": 1}], "grace needs a hard limit"),
        ([{**CALLS, "hard_limit": -1}], "0 or more"),
        ([{**CALLS, "hard_limit": 1, "grace_days": 366}], "less than or equal to 365"),
        ([{**CALLS, "name": "seats"}], "not called plan or seats"),
        ([{**CALLS, "name": "plan"}], "not called plan or seats"),
        ([{**CALLS, "granted": True}], "not permitted"),
        ([CALLS, {"kind": "boolean", "name": "calls"}], "only once"),
        ([{"kind": "static", "name": "x", "value": True}], "valid integer"),
        ([{"kind": "static", "name": "x", "value": ""}], "at least 1"),
        ([{"kind": "static", "name": "x"}], "required"),
        ([{"kind": "boolean", "name": "X"}], "pattern"),
        ([{"kind": "other", "name": "x"}], "expected tags"),
    ],
)
def test_what_has_no_one_meaning_is_refused(declared: list[dict[str, Any]], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        read(*declared)
