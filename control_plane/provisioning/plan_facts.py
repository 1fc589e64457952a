"""What a plan would do, as counts and names that a policy can judge. Not the plan itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

STATEFUL_TYPES: Final = frozenset(
    {
        "aws_db_instance",
        "aws_dynamodb_table",
        "aws_ebs_volume",
        "aws_efs_file_system",
        "aws_kms_key",
        "aws_rds_cluster",
        "aws_s3_bucket",
        "azurerm_key_vault",
        "azurerm_mssql_database",
        "azurerm_postgresql_flexible_server",
        "azurerm_postgresql_flexible_server_database",
        "azurerm_storage_account",
        "azurerm_storage_container",
        "google_kms_crypto_key",
        "google_sql_database",
        "google_sql_database_instance",
        "google_storage_bucket",
        "ibm_cos_bucket",
        "ibm_database",
        "oci_database_autonomous_database",
        "oci_objectstorage_bucket",
        "oci_psql_db_system",
    }
)
_MODULE_DEPTH_MAX: Final = 16


class PlanFacts(BaseModel):
    """Counts of resources per kind of change; addresses where a name matters.

    A replacement counts once, in `replaces`. `stateful_deletes` names every resource with data of
    its own that would go, by deletion or by replacement. `local_exec` is true when the
    configuration holds any provisioner, of whatever type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    creates: int
    updates: int
    replaces: int
    deletes: int
    stateful_deletes: tuple[str, ...]
    local_exec: bool
    resource_types: tuple[str, ...]
    providers: tuple[str, ...]


def plan_facts(plan_json: Mapping[str, Any]) -> PlanFacts:
    """The facts of a plan as `terraform show -json` prints it."""
    changes = [one for one in plan_json.get("resource_changes", ()) if one["mode"] == "managed"]
    kinds = [_kind(tuple(one["change"]["actions"])) for one in changes]
    touched = [one for one, kind in zip(changes, kinds, strict=True) if kind]
    configuration = plan_json.get("configuration", {})
    declared = (one["full_name"] for one in configuration.get("provider_config", {}).values())
    return PlanFacts(
        creates=kinds.count("create"),
        updates=kinds.count("update"),
        replaces=kinds.count("replace"),
        deletes=kinds.count("delete"),
        stateful_deletes=tuple(
            sorted(
                one["address"]
                for one, kind in zip(changes, kinds, strict=True)
                if kind in {"delete", "replace"} and _is_stateful(one)
            )
        ),
        local_exec=any("provisioners" in one for one in _resources(configuration)),
        resource_types=tuple(sorted({str(one["type"]) for one in touched})),
        providers=tuple(sorted({*declared, *(str(one["provider_name"]) for one in touched)})),
    )


def _kind(actions: tuple[str, ...]) -> str:
    if "delete" in actions and "create" in actions:
        return "replace"
    # "forget" drops a resource from the state and leaves it running: nothing obeys us any more.
    return {
        "create": "create",
        "update": "update",
        "delete": "delete",
        "forget": "delete",
    }.get(actions[0], "")


def _is_stateful(change: Mapping[str, Any]) -> bool:
    # The embedded modules have only one resource type, so there the name says what holds data.
    embedded = change["type"] == "terraform_data" and change["name"] == "database"
    return embedded or change["type"] in STATEFUL_TYPES


def _resources(configuration: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    level = [configuration.get("root_module", {})]
    for _depth in range(_MODULE_DEPTH_MAX):
        for module in level:
            yield from module.get("resources", ())
        level = [
            call.get("module", {})
            for module in level
            for call in module.get("module_calls", {}).values()
        ]
        if not level:
            return
    raise ValueError(f"modules are nested deeper than {_MODULE_DEPTH_MAX}")
