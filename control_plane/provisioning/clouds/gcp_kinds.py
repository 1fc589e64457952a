"""Google's resources by their asset type, in Terraform's words. Not what they are."""

from __future__ import annotations

from typing import Any, Final

from control_plane.provisioning.clouds.port import Found

TERRAFORM: Final = {
    "storage.googleapis.com/Bucket": "google_storage_bucket",
    "sqladmin.googleapis.com/Instance": "google_sql_database_instance",
    "cloudkms.googleapis.com/CryptoKey": "google_kms_crypto_key",
    "secretmanager.googleapis.com/Secret": "google_secret_manager_secret",
    "compute.googleapis.com/GlobalAddress": "google_compute_global_address",
    "compute.googleapis.com/Address": "google_compute_address",
    "compute.googleapis.com/ForwardingRule": "google_compute_forwarding_rule",
    "compute.googleapis.com/Disk": "google_compute_disk",
    "compute.googleapis.com/Instance": "google_compute_instance",
}
# These import by their bare name, the others by their path.
_BY_NAME: Final = frozenset({"google_storage_bucket"})


def found_of(one: dict[str, Any]) -> Found:
    """A result of the asset search; its name is `//service/path`."""
    _, _, path = str(one["name"]).removeprefix("//").partition("/")
    kind = TERRAFORM.get(str(one["assetType"]), "")
    name = path.rsplit("/", 1)[-1]
    return Found(
        type=kind,
        import_id=name if kind in _BY_NAME else path,
        name=name,
        region=str(one.get("location", "")),
        labels=dict(one.get("labels", {})),
    )
