"""IBM's resources by their CRN, in Terraform's words. Not what they are."""

from __future__ import annotations

from typing import Any, Final

from control_plane.provisioning.clouds.port import Found

_CRN_PARTS: Final = 10
# By service and kind of resource; an instance's kind is empty.
TERRAFORM: Final = {
    ("databases-for-postgresql", ""): "ibm_database",
    ("cloud-object-storage", ""): "ibm_resource_instance",
    ("kms", ""): "ibm_resource_instance",
    ("hs-crypto", ""): "ibm_resource_instance",
    ("secrets-manager", ""): "ibm_resource_instance",
    ("is", "vpc"): "ibm_is_vpc",
    ("is", "subnet"): "ibm_is_subnet",
    ("is", "network-acl"): "ibm_is_network_acl",
    ("is", "security-group"): "ibm_is_security_group",
    ("is", "endpoint-gateway"): "ibm_is_virtual_endpoint_gateway",
    ("resource-controller", "resource-group"): "ibm_resource_group",
    ("iam-identity", "serviceid"): "ibm_iam_service_id",
}


def found_of(one: dict[str, Any]) -> Found:
    """A result of the search. Networks and identities import by their own id, instances by CRN."""
    crn = str(one["crn"])
    parts = crn.split(":")
    service, region, kind, own = "", "", "", crn
    if len(parts) == _CRN_PARTS:
        service, region, kind, own = parts[4], parts[5], parts[8], parts[9]
    return Found(
        type=TERRAFORM.get((service, kind), ""),
        import_id=own if kind else crn,
        name=str(one.get("name", "")),
        region=str(one.get("region") or region),
        labels=labels_of(one),
    )


def labels_of(one: dict[str, Any]) -> dict[str, str]:
    """IBM's tags are texts; ours are `name:value`."""
    tags: list[object] = one.get("tags") or []
    pairs = (str(tag).partition(":") for tag in tags)
    return {name: value for name, separator, value in pairs if separator}
