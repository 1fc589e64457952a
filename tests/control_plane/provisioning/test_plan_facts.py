"""What is read out of a plan's JSON. Not how Terraform makes it."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

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


def real() -> dict[str, Any]:
    """A plan that the real provider of AWS (5.100.0) made of resources with planted mistakes."""
    path = Path(__file__).with_name("recorded_plans") / "real-aws.json.gz"
    plan_json: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return plan_json


def test_the_facts_of_a_plan_of_the_real_provider_name_each_planted_mistake_and_nothing_else() -> (
    None
):
    facts = plan_facts(real())
    assert facts.public_ingress == (
        "aws_security_group.dyn",
        "aws_security_group.hidden",
        "aws_security_group.open",
        "aws_vpc_security_group_ingress_rule.hidden",
    )
    assert facts.unencrypted == ("aws_db_instance.d", "aws_ebs_volume.v", "aws_instance.i")
    assert facts.untagged == (
        "aws_db_instance.d",
        "aws_s3_bucket.b",
        "aws_vpc_security_group_ingress_rule.hidden",
    )
    assert (facts.iam_wildcards, facts.iam_unread, facts.touched_others) == ((), (), ())
    assert facts.regions == ("eu-central-1",)
    assert (facts.monthly_cost_minor, facts.unpriced) == (2746, ("aws_instance",))


def placed(kind: str, after: dict[str, Any], region: object = None) -> dict[str, Any]:
    """One resource that is made, its provider's region given by an expression."""
    resource = {
        **change("x", "create", kind=kind, after=after),
        "provider_name": "registry.terraform.io/p/p",
    }
    expressions = {} if region is None else {"region": region}
    provider = {"name": "p", "full_name": "registry.terraform.io/p/p", "expressions": expressions}
    configured = {
        "address": f"{kind}.x",
        "mode": "managed",
        "provider_config_key": "p",
        "expressions": {name: {"constant_value": value} for name, value in after.items()},
    }
    return {
        "variables": {"region": {"value": "eu-1"}, "shared": {"value": {"home": "us-1"}}},
        "resource_changes": [resource],
        "configuration": {
            "provider_config": {"p": provider},
            "root_module": {"resources": [configured]},
        },
    }


@pytest.mark.parametrize(
    ("kind", "after", "region", "found"),
    [
        ("x_y", {"region": "EU-1"}, None, ("eu-1",)),
        ("azurerm_x", {"location": "West Europe", "zone": "1"}, None, ("westeurope",)),
        ("x_y", {"location": "global"}, None, ()),
        ("aws_subnet", {"availability_zone": "eu-central-1b"}, None, ("eu-central-1",)),
        ("google_disk", {"zone": "europe-west3-a"}, None, ("europe-west3",)),
        ("ibm_is_subnet", {"zone": "eu-de-2"}, None, ("eu-de",)),
        ("ibm_cos_bucket", {"region_location": "eu-de"}, None, ("eu-de",)),
        ("x_y", {}, {"constant_value": "us-1"}, ("us-1",)),
        ("x_y", {}, {"references": ["var.region"]}, ("eu-1",)),
        ("x_y", {}, {"references": ["var.shared.home", "var.shared"]}, ("us-1",)),
        ("x_y", {}, {"references": ["var.gone"]}, ("unknown",)),
        ("x_y", {}, {"references": ["local.region"]}, ("unknown",)),
        ("x_y", {}, {"references": ["var.region", "var.shared"]}, ("unknown",)),
        ("oci_identity_policy", {}, {"constant_value": "us-1"}, ()),
    ],
)
def test_where_a_resource_lies_is_said_by_itself_or_its_provider(
    kind: str, after: dict[str, Any], region: object, found: tuple[str, ...]
) -> None:
    assert plan_facts(placed(kind, after, region)).regions == found


def test_a_region_that_is_given_by_something_unknown_is_unknown() -> None:
    plan = placed("x_y", {"location": "eu-1"})
    plan["resource_changes"][0]["change"] |= {"after": {}, "after_unknown": {"location": True}}
    assert plan_facts(plan).regions == ("unknown",)


def test_drift_counts_where_the_plan_reacts_to_it() -> None:
    drifted = [change("b", "update"), change("same", "update"), change("gone", "delete")]
    assert plan_facts(PLAN | {"resource_drift": drifted}).drift == 1


def test_without_a_name_of_whose_it_is_no_label_is_ours() -> None:
    labels = {"paybill_tenant": "acme", "paybill_workspace": "0a1b2c3d"}
    plan = placed("aws_s3_bucket", {"tags": labels})
    nobodys = plan_facts(plan)
    assert nobodys.untagged == nobodys.touched_others == ("aws_s3_bucket.x",)
    given = {"tenant_id": {"value": "acme"}, "labels": {"value": labels}}
    ours = plan_facts(plan | {"variables": given})
    assert ours.untagged == ours.touched_others == ()


def test_a_data_source_of_the_cloud_itself_does_not_reach_out() -> None:
    plan = placed("aws_s3_bucket", {})
    resources = plan["configuration"]["root_module"]["resources"]
    resources += [
        {"address": f"data.{kind}.x", "mode": "data", "type": kind}
        for kind in ("aws_caller_identity", "http", "terraform_remote_state", "awsome_secret")
    ]
    assert plan_facts(plan).reaches_out == (
        "data.awsome_secret.x",
        "data.http.x",
        "data.terraform_remote_state.x",
    )


def test_the_blast_radius_is_all_that_is_touched() -> None:
    facts = plan_facts(PLAN)
    assert facts.blast_radius == 6


def test_modules_that_are_nested_without_end_are_refused() -> None:
    nested: dict[str, Any] = {}
    for _depth in range(20):
        nested = {"module_calls": {"m": {"module": nested}}}
    with pytest.raises(ValueError, match="nested deeper"):
        plan_facts({"configuration": {"root_module": nested}})
