"""The plans that are kept of the shipped modules: still what Terraform makes of them, and wholly known to us."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.isolation import Cloud, Isolation, Size
from control_plane.provisioning import binary, encryption, exposure, grants, labelled, prices
from control_plane.provisioning.plan_facts import plan_facts
from control_plane.provisioning.planned import planned
from tests.support.recorded_plans import FOLDER, path_of, planned_anew, recorded, shipped

# Made anew in every run; the others are swept.
ALWAYS: Final = ("azure", "bridge")

# What shipped modules make and nothing can be wrong with that these rules look for: no way in, no data, no grant.
HARMLESS: Final = frozenset(
    {
        *("aws_db_parameter_group", "aws_db_subnet_group", "aws_kms_alias"),
        *("aws_s3_bucket_ownership_controls", "aws_s3_bucket_versioning"),
        "aws_s3_bucket_server_side_encryption_configuration",
        *("aws_secretsmanager_secret", "aws_secretsmanager_secret_version", "aws_ssm_parameter"),
        *("aws_vpc", "aws_vpc_security_group_egress_rule"),
        *("azurerm_key_vault", "azurerm_key_vault_key", "azurerm_key_vault_secret"),
        *("azurerm_postgresql_flexible_server_database", "azurerm_resource_group"),
        *("azurerm_private_dns_zone", "azurerm_private_dns_zone_virtual_network_link"),
        *("azurerm_private_endpoint", "azurerm_subnet", "azurerm_virtual_network"),
        *("azurerm_subnet_network_security_group_association", "azurerm_user_assigned_identity"),
        *("google_compute_network", "google_compute_subnetwork", "google_kms_crypto_key"),
        *("google_kms_key_ring", "google_project_service_identity", "google_service_account"),
        *("google_secret_manager_secret", "google_secret_manager_secret_version"),
        *("google_service_networking_connection", "google_sql_database", "google_sql_user"),
        *("ibm_cos_bucket", "ibm_iam_authorization_policy", "ibm_iam_service_id"),
        *("ibm_is_security_group", "ibm_is_subnet", "ibm_is_virtual_endpoint_gateway"),
        *("ibm_is_vpc", "ibm_is_vpc_address_prefix", "ibm_kms_key", "ibm_kms_key_policies"),
        *("ibm_resource_group", "ibm_resource_instance", "ibm_sm_secret_group"),
        *("oci_core_network_security_group", "oci_core_vcn", "oci_identity_compartment"),
        *("oci_identity_dynamic_group", "oci_kms_key", "oci_kms_vault", "oci_psql_db_system"),
        *("oci_vault_secret", "terraform_data"),
    }
)


def remade() -> list[Any]:
    return [
        pytest.param(*case, marks=[] if case == ALWAYS else pytest.mark.sweep) for case in shipped()
    ]


@pytest.mark.parametrize(("cloud", "isolation"), remade())
def test_terraform_makes_the_same_plan_of_a_shipped_module_again(
    tmp_path: Path, cloud: Cloud, isolation: Isolation
) -> None:
    terraform = binary.find(None, os.environ["PATH"])
    anew = planned_anew(terraform, tmp_path, cloud, isolation)
    assert anew == recorded(cloud, isolation), "make them anew: see tests/support/recorded_plans.py"


@pytest.mark.sweep
@pytest.mark.parametrize("size", ["small", "medium", "large"])
@pytest.mark.parametrize("cloud", sorted({cloud for cloud, _isolation in shipped()}))
def test_every_size_of_a_stack_of_ones_own_has_a_price(
    tmp_path: Path, cloud: Cloud, size: Size
) -> None:
    terraform = binary.find(None, os.environ["PATH"])
    found = plan_facts(planned_anew(terraform, tmp_path, cloud, "silo", size))
    assert found.unpriced == ()
    assert (found.monthly_cost_minor > 0) is (cloud != "local")


def test_there_is_a_plan_of_every_shipped_module_and_no_other() -> None:
    kept = {path for path in FOLDER.glob("*.gz") if not path.name.startswith("real-")}
    assert kept == {path_of(*case) for case in shipped()}


@pytest.mark.parametrize(("cloud", "isolation"), list(shipped()))
def test_a_shipped_module_is_tagged_priced_shut_and_in_its_place(
    cloud: Cloud, isolation: Isolation
) -> None:
    plan_json = recorded(cloud, isolation)
    found = plan_facts(plan_json)
    assert found.creates > 0
    assert (found.public_ingress, found.unencrypted, found.iam_wildcards) == ((), (), ())
    assert (found.untagged, found.touched_others, found.iam_unread) == ((), (), ())
    assert found.unpriced == ()
    assert set(found.regions) <= {plan_json["variables"]["region"]["value"]}


@pytest.mark.parametrize(("cloud", "isolation"), list(shipped()))
def test_every_type_of_a_shipped_module_is_priced_and_judged_or_known_to_be_harmless(
    cloud: Cloud, isolation: Isolation
) -> None:
    kinds = {one.type for one in planned(recorded(cloud, isolation))}
    table = prices.shipped_prices()
    assert kinds <= {*table.free, *table.types}
    judged = {kind for kind in kinds if kind in exposure.RULES or kind in encryption.RULES}
    judged |= {kind for kind in kinds if grants._rules_of(kind)}
    assert kinds - judged <= HARMLESS
    assert not judged & HARMLESS


@pytest.mark.parametrize(("cloud", "isolation"), list(shipped()))
def test_another_tenants_labels_on_any_labelled_resource_are_seen(
    cloud: Cloud, isolation: Isolation
) -> None:
    resources = planned(recorded(cloud, isolation))
    ours = {labelled.TENANT: "acme", labelled.WORKSPACE: "0a1b2c3d"}
    theirs = ours | {labelled.TENANT: "globex"}
    bearing = [one for one in resources if labelled._takes_labels(one)]
    assert all(labelled.is_foreign(one, theirs) for one in bearing)
    assert all(labelled.is_untagged(one, theirs) for one in bearing)
    assert not any(labelled.is_foreign(one, ours) for one in resources)
