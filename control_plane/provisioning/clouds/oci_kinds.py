"""OCI's resources by their type in its search, in Terraform's words. Not what they are."""

from __future__ import annotations

from typing import Any, Final

from control_plane.provisioning.clouds.port import Found

GONE: Final = frozenset({"TERMINATED", "TERMINATING", "DELETED", "DELETING", "PENDING_DELETION"})
TERRAFORM: Final = {
    "bucket": "oci_objectstorage_bucket",
    "compartment": "oci_identity_compartment",
    "dynamicresourcegroup": "oci_identity_dynamic_group",
    "policy": "oci_identity_policy",
    "vcn": "oci_core_vcn",
    "subnet": "oci_core_subnet",
    "securitylist": "oci_core_security_list",
    "networksecuritygroup": "oci_core_network_security_group",
    "routetable": "oci_core_route_table",
    "servicegateway": "oci_core_service_gateway",
    "vault": "oci_kms_vault",
    "key": "oci_kms_key",
    "vaultsecret": "oci_vault_secret",
    "postgresqldbsystem": "oci_psql_db_system",
    "dbsystem": "oci_psql_db_system",
}


def found_of(one: Any, region: str, namespace: str) -> Found:
    """A result of the search. A bucket imports by namespace and name, the others by their OCID."""
    kind = TERRAFORM.get(str(one.resource_type).lower(), "")
    name = str(one.display_name or "")
    is_bucket = kind == "oci_objectstorage_bucket"
    return Found(
        type=kind,
        import_id=f"n/{namespace}/b/{name}" if is_bucket else str(one.identifier),
        name=name,
        region=region,
        labels=dict(one.freeform_tags or {}),
    )
