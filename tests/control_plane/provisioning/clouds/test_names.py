"""The names that a preflight asks for are those that the shipped modules give. Not whether they are free."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from control_plane.domain.isolation import ISOLATIONS, Cloud, Isolation
from control_plane.provisioning.clouds import aws, azure_kinds, gcp, ibm, oci
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import MODULES, StackRequest

_EYES = {"aws": aws.AwsEyes, "gcp": gcp.GcpEyes, "oci": oci.OciEyes, "ibm": ibm.IbmEyes}
_BUCKETS = {
    "aws": ('resource "aws_s3_bucket" "tenant"', "bucket = var.name"),
    "gcp": ('resource "google_storage_bucket" "tenant"', "name = var.name"),
    "oci": ('resource "oci_objectstorage_bucket" "tenant"', "name = var.name"),
    "ibm": ('resource "ibm_cos_bucket" "tenant"', "bucket_name = var.name"),
}


def request(cloud: Cloud, isolation: Isolation) -> StackRequest:
    return StackRequest(
        tenant="acme",
        run_id="r",
        cloud=cloud,
        isolation=isolation,
        plan="pro",
        region="eu-1",
        workspace="0a1b2c3d",
    )


def module(cloud: Cloud, isolation: Isolation) -> str:
    """The text of a module, its spaces made one."""
    paths = sorted(Path(MODULES / cloud / isolation).glob("*.tf"))
    return "\n".join(
        " ".join(line.split()) for path in paths for line in path.read_text().splitlines()
    )


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("cloud", list(_EYES))
def test_a_bucket_of_the_tenants_own_has_the_tenants_name(
    cloud: Cloud, isolation: Isolation
) -> None:
    names = cast("Any", _EYES[cloud]).names(None, request(cloud, isolation))
    resource, line = _BUCKETS[cloud]
    text = module(cloud, isolation)
    assert (resource in text) is (names != ())
    expected: tuple[tuple[Part, str], ...] = (("storage", "pb-0a1b2c3d-acme"),)
    if names:
        assert names == expected
        assert line in text.split(resource, 1)[1].split("}", 1)[0]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_azures_short_names_are_those_of_the_module(isolation: Isolation) -> None:
    names = azure_kinds.names(request("azure", isolation))
    text = module("azure", isolation)
    rule = 'short_name = "pb${substr(sha256(var.name), 0, 20)}"'
    assert (rule in text) is (names != ())
    for part, kind in (("storage", "azurerm_storage_account"), ("key", "azurerm_key_vault")):
        resource = f'resource "{kind}" "tenant"'
        assert (resource in text) is (part in dict(names))
        if names:
            assert "name = local.short_name" in text.split(resource, 1)[1].split("}", 1)[0]
    # sha256("pb-0a1b2c3d-acme"), by a program that is not ours
    assert {name for _part, name in names} <= {"pb73b37719c74f4f07826a"}
