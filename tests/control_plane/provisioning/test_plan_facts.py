"""What is read out of a plan's JSON. Not how Terraform makes it."""

from __future__ import annotations

import copy
from typing import Any

from control_plane.domain.canonical import canonical, digest
from control_plane.provisioning.plan_facts import plan_facts
from control_plane.provisioning.projection import projection

BUILTIN = "terraform.io/builtin/terraform"


def change(name: str, *actions: str, kind: str = "terraform_data", **more: Any) -> dict[str, Any]:
    return {
        "address": f"{kind}.{name}",
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider_name": BUILTIN,
        "change": {"actions": list(actions), "before": None, "after": None, **more},
    }


PLAN: dict[str, Any] = {
    "terraform_version": "1.11.4",
    "timestamp": "2026-11-21T04:58:53Z",
    "variables": {"plan": {"value": "pro"}, "token": {"value": "s3cret"}},
    "resource_changes": [
        change(
            "a",
            "create",
            after={"input": {"n": "s3cret", "m": "seen"}, "list": ["seen", "s3cret"]},
            after_sensitive={"input": {"n": True}, "list": [False, True]},
            after_unknown={"id": True},
        ),
        change("b", "update"),
        change("database", "delete", "create"),
        change("old", "delete"),
        change("bucket", "create", "delete", kind="aws_s3_bucket"),
        change("same", "no-op"),
        change("left", "forget"),
    ],
    "output_changes": {"db": {"actions": ["create"], "after": "s3cret", "after_sensitive": True}},
    "configuration": {
        "provider_config": {"terraform": {"name": "terraform", "full_name": BUILTIN}},
        "root_module": {
            "variables": {"plan": {}, "token": {"sensitive": True}},
            "module_calls": {
                "m": {"module": {"resources": [{"address": "x", "provisioners": [{}]}]}}
            },
        },
    },
}


def test_each_kind_of_change_is_counted() -> None:
    facts = plan_facts(PLAN)
    assert (facts.creates, facts.updates, facts.replaces, facts.deletes) == (1, 1, 2, 2)
    assert facts.stateful_deletes == ("aws_s3_bucket.bucket", "terraform_data.database")
    assert facts.resource_types == ("aws_s3_bucket", "terraform_data")
    assert facts.providers == (BUILTIN,)


def test_a_provisioner_in_a_nested_module_is_seen() -> None:
    assert plan_facts(PLAN).local_exec
    bare = copy.deepcopy(PLAN)
    bare["configuration"]["root_module"]["module_calls"] = {}
    assert not plan_facts(bare).local_exec


def project(plan: dict[str, Any], key: bytes = b"k" * 32) -> str:
    return digest(projection(plan, "0" * 64, "1" * 64, key))


def test_a_projection_holds_no_sensitive_value() -> None:
    held = canonical(projection(PLAN, "0" * 64, "1" * 64, b"k" * 32))
    assert b"s3cret" not in held
    assert b"seen" in held


def test_the_digest_ignores_the_time_the_order_and_the_refreshed_state() -> None:
    other = copy.deepcopy(PLAN)
    other["timestamp"] = "2027-01-01T00:00:00Z"
    other["prior_state"] = {"values": {"volatile": 1}}
    other["resource_changes"].reverse()
    assert project(other) == project(PLAN)


def test_the_digest_follows_every_value_and_the_key() -> None:
    secret = copy.deepcopy(PLAN)
    secret["variables"]["token"]["value"] = "other"
    shown = copy.deepcopy(PLAN)
    shown["resource_changes"][0]["change"]["after"]["input"]["m"] = "other"
    assert len({project(PLAN), project(secret), project(shown), project(PLAN, b"j" * 32)}) == 4
