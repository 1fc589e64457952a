"""The names that modules derive, for the longest tenant there can be. Not whether a name is free."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.isolation import ISOLATIONS, Cloud, Isolation
from control_plane.errors import Failed
from control_plane.provisioning import binary
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from tests.control_plane.provisioning.modules.test_lifecycle import clouds_with, request_for

LONGEST: Final = "a--" + "b" * 36 + "c"
# What each cloud takes, as its documentation has it: type, argument, form.
FORMS: Final[dict[Cloud, list[tuple[str, str, str]]]] = {
    "azure": [
        ("azurerm_resource_group", "name", r"[\w.()-]{0,89}[\w()-]"),
        ("azurerm_storage_account", "name", r"[a-z0-9]{3,24}"),
        ("azurerm_storage_container", "name", r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
        ("azurerm_key_vault", "name", r"(?!.*--)[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]"),
        ("azurerm_key_vault_secret", "name", r"[a-zA-Z0-9-]{1,127}"),
        ("azurerm_postgresql_flexible_server", "name", r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
        ("azurerm_postgresql_flexible_server_database", "name", r"[A-Za-z_][\w-]{0,62}"),
        ("azurerm_user_assigned_identity", "name", r"[A-Za-z0-9][\w-]{2,127}"),
        ("azurerm_virtual_network", "name", r"[A-Za-z0-9][\w.-]{0,62}\w"),
        ("azurerm_private_endpoint", "name", r"[A-Za-z0-9][\w.-]{0,62}\w"),
    ],
    "gcp": [
        ("google_compute_network", "name", r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"),
        ("google_compute_subnetwork", "name", r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"),
        ("google_compute_global_address", "name", r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"),
        ("google_kms_key_ring", "name", r"[\w-]{1,63}"),
        ("google_kms_crypto_key", "name", r"[\w-]{1,63}"),
        ("google_service_account", "account_id", r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        # Together with the project's, which has at most 30, no more than 98.
        ("google_sql_database_instance", "name", r"[a-z][a-z0-9-]{0,66}"),
        ("google_sql_database", "name", r"[a-z_]\w{0,62}"),
        ("google_storage_bucket", "name", r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]"),
        ("google_secret_manager_secret", "secret_id", r"[\w-]{1,255}"),
    ],
}
ALWAYS: Final[tuple[Cloud, Isolation]] = ("azure", "silo")


def planned(home: Path, cloud: Cloud, isolation: Isolation, clouds: Clouds) -> dict[str, Any]:
    """What would be made for the longest tenant, by address."""
    provisioner = TerraformProvisioner(
        binary.find(None, os.environ["PATH"]),
        RunnerSettings(),
        home / "stacks",
        b"k" * 32,
        sites=Sites(home / "stacks", clouds, fetch_credentials=lambda _credentials: {}),
    )
    request = request_for(cloud, isolation).model_copy(update={"tenant": LONGEST})
    changes: Any = provisioner.observe(request).projection["resource_changes"]
    return {one["address"]: one for one in changes}


@pytest.mark.long
@pytest.mark.parametrize(
    ("cloud", "isolation"),
    [
        pytest.param(cloud, model, marks=[] if (cloud, model) == ALWAYS else pytest.mark.sweep)
        for cloud in FORMS
        for model in ISOLATIONS
    ],
)
def test_the_longest_tenant_gets_names_that_the_cloud_takes(
    tmp_path: Path, cloud: Cloud, isolation: Isolation
) -> None:
    assert len(LONGEST) == 40
    clouds = clouds_with(cloud, isolation, tmp_path / "mirror")
    made = planned(tmp_path, cloud, isolation, clouds)
    looked_at = 0
    for one in made.values():
        for _, argument, form in (form for form in FORMS[cloud] if form[0] == one["type"]):
            name = one["change"]["after"][argument]
            assert re.fullmatch(form, name), f"{one['address']}: {name}"
            looked_at += 1
    assert looked_at >= (2 if isolation == "pooled" else 3)


@pytest.mark.sweep
@pytest.mark.parametrize("addresses", ["0.0.0.0/0", "203.0.113.0/16", "203.0.113.7", "*"])
def test_a_vault_on_azure_is_not_opened_to_many(tmp_path: Path, addresses: str) -> None:
    clouds = clouds_with("azure", "silo", tmp_path / "mirror")
    account = clouds.accounts["azure"]
    shared = {region: {"worker_cidr": addresses} for region in account.shared}
    wide = clouds.model_copy(
        update={"accounts": {"azure": account.model_copy(update={"shared": shared})}}
    )
    with pytest.raises(Failed) as failed:
        planned(tmp_path, "azure", "silo", wide)
    assert addresses not in str(failed.value)
