"""Which resources of a plan hold what cannot be made again: rows, objects, disks, keys, secrets. By type."""

from __future__ import annotations

from typing import Final

from control_plane.provisioning.planned import Planned

TYPES: Final = frozenset(
    {
        "aws_db_instance",
        "aws_docdb_cluster",
        "aws_dynamodb_table",
        "aws_ebs_volume",
        "aws_efs_file_system",
        "aws_elasticache_replication_group",
        "aws_kms_key",
        "aws_neptune_cluster",
        "aws_opensearch_domain",
        "aws_rds_cluster",
        "aws_redshift_cluster",
        "aws_s3_bucket",
        "aws_secretsmanager_secret",
        "azurerm_cosmosdb_account",
        "azurerm_key_vault",
        "azurerm_key_vault_key",
        "azurerm_key_vault_secret",
        "azurerm_managed_disk",
        "azurerm_mssql_database",
        "azurerm_mssql_server",
        "azurerm_mysql_flexible_server",
        "azurerm_postgresql_flexible_server",
        "azurerm_postgresql_flexible_server_database",
        "azurerm_resource_group",
        "azurerm_storage_account",
        "azurerm_storage_container",
        "google_bigquery_dataset",
        "google_compute_disk",
        "google_kms_crypto_key",
        "google_kms_key_ring",
        "google_redis_instance",
        "google_secret_manager_secret",
        "google_sql_database",
        "google_sql_database_instance",
        "google_storage_bucket",
        "ibm_cos_bucket",
        "ibm_database",
        "ibm_is_volume",
        "ibm_kms_key",
        "ibm_resource_instance",
        "ibm_sm_arbitrary_secret",
        "oci_core_volume",
        "oci_database_autonomous_database",
        "oci_identity_compartment",
        "oci_kms_key",
        "oci_kms_vault",
        "oci_mysql_mysql_db_system",
        "oci_objectstorage_bucket",
        "oci_psql_db_system",
        "oci_vault_secret",
    }
)


def is_stateful(one: Planned) -> bool:
    """Whether what the resource holds would be gone with it."""
    # The embedded modules have only one resource type, so there the name says what holds data.
    embedded = one.type == "terraform_data" and one.name == "database"
    return embedded or one.type in TYPES
