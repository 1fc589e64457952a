"""A plan's dunning policy: what it says where a plan says nothing, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.domain import canonical
from control_plane.domain.dunning_policy import DunningPolicy

DAY_S = 86_400


def test_a_plan_that_says_nothing_has_the_usual_schedule() -> None:
    usual = DunningPolicy()
    assert usual.retry_days == (0, 1, 3, 5, 7, 9, 11, 14)
    assert usual.gateway_waits_s == (300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400)
    assert usual.unknown_waits_s == (300, 3_600, DAY_S, DAY_S, DAY_S, DAY_S, DAY_S)
    assert usual.pending_waits_s == (3_600, DAY_S)
    assert [(one.day, one.level) for one in usual.rungs] == [
        (0, "no_upgrades"),
        (7, "no_new_resources"),
        (14, "read_only"),
        (21, "no_access"),
        (30, "deprovision"),
    ]
    assert (usual.when_exhausted, usual.retention_days) == ("unpaid", 30)


def test_a_policy_is_read_from_plain_data_and_written_as_such() -> None:
    plain = {
        "retry_days": [0, 2],
        "rungs": [{"day": 3, "level": "read_only"}],
        "thresholds": [{"minor": 500, "currency": "EUR"}],
        "when_exhausted": "cancel",
    }
    policy = DunningPolicy.model_validate_json(json.dumps(plain))
    assert DunningPolicy.model_validate_json(canonical.canonical(policy)) == policy


def test_a_currency_without_a_threshold_owes_from_the_first_minor_unit() -> None:
    policy = DunningPolicy.model_validate_json('{"thresholds":[{"minor":500,"currency":"EUR"}]}')
    assert (policy.threshold_minor("EUR"), policy.threshold_minor("JPY")) == (500, 0)


def test_the_day_of_a_level_is_the_first_that_closes_as_much() -> None:
    policy = DunningPolicy.model_validate_json(
        '{"rungs":[{"day":1,"level":"no_upgrades"},{"day":9,"level":"no_access"}]}'
    )
    assert policy.day_of("no_upgrades") == 1
    assert policy.day_of("read_only") == policy.day_of("no_access") == 9
    assert policy.day_of("deprovision") is None


@pytest.mark.parametrize(
    "plain",
    [
        {"retry_days": []},
        {"retry_days": [0, 0]},
        {"retry_days": [3, 1]},
        {"retry_days": [-1]},
        {"gateway_waits_s": [0]},
        {"gateway_waits_s": [1.5]},
        {"rungs": []},
        {"rungs": [{"day": 0, "level": "clear"}]},
        {"rungs": [{"day": 1, "level": "no_access"}, {"day": 2, "level": "read_only"}]},
        {"rungs": [{"day": 2, "level": "read_only"}, {"day": 2, "level": "no_access"}]},
        {"rungs": [{"day": 2, "level": "read_only"}, {"day": 3, "level": "read_only"}]},
        {"rungs": [{"day": 1, "level": "shut"}]},
        {"thresholds": [{"minor": -1, "currency": "EUR"}]},
        {"thresholds": [{"minor": 1, "currency": "EUR"}, {"minor": 2, "currency": "EUR"}]},
        {"when_exhausted": "pause"},
        {"retention_days": 0},
        {"grace_days": 3},
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DunningPolicy.model_validate_json(json.dumps(plain))
