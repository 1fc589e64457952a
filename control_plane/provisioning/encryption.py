"""Which resources of a plan would keep or carry data unencrypted, by type. Not whose the key is.

What a cloud encrypts at rest whatever one says (every storage account and managed disk of Azure, all of
Google's, Oracle's and IBM's storage, every bucket and table of AWS) has no rule for that here; there it is
the way to the data that may be open.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from control_plane.provisioning.planned import Planned
from control_plane.provisioning.rules import Rule, all_of, among, any_of, flag, inside, not_among

_STORAGE: Final = flag("storage_encrypted", safe=True, unset=False)
_ENCRYPTED: Final = flag("encrypted", safe=True, unset=False)
_SECURE_TRANSPORT_OFF: Final = all_of(
    among("name", "require_secure_transport"), among("value", "off")
)
_GOOGLE_TLS: Final = ("encrypted_only", "trusted_client_certificate_required")

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "aws_db_instance": _STORAGE,
        "aws_docdb_cluster": _STORAGE,
        "aws_ebs_volume": _ENCRYPTED,
        "aws_efs_file_system": _ENCRYPTED,
        "aws_elasticache_replication_group": any_of(
            flag("at_rest_encryption_enabled", safe=True, unset=False),
            flag("transit_encryption_enabled", safe=True, unset=False),
        ),
        "aws_instance": any_of(
            flag("root_block_device.encrypted", safe=True, unset=False),
            inside("ebs_block_device", _ENCRYPTED),
        ),
        "aws_kinesis_stream": not_among("encryption_type", "kms", unset=True),
        "aws_neptune_cluster": _STORAGE,
        "aws_opensearch_domain": flag("encrypt_at_rest.enabled", safe=True, unset=False),
        "aws_rds_cluster": _STORAGE,
        "aws_redshift_cluster": _ENCRYPTED,
        "azurerm_mssql_database": flag(
            "transparent_data_encryption_enabled", safe=True, unset=True
        ),
        "azurerm_mysql_flexible_server_configuration": _SECURE_TRANSPORT_OFF,
        "azurerm_postgresql_flexible_server_configuration": _SECURE_TRANSPORT_OFF,
        "azurerm_redis_cache": flag("non_ssl_port_enabled", safe=False, unset=False),
        "azurerm_storage_account": any_of(
            flag("https_traffic_only_enabled", safe=True, unset=True),
            not_among("min_tls_version", "tls1_2", "tls1_3", unset=False),
        ),
        "google_redis_instance": not_among(
            "transit_encryption_mode", "server_authentication", unset=True
        ),
        "google_sql_database_instance": not_among(
            "settings.ip_configuration.ssl_mode", *_GOOGLE_TLS, unset=True
        ),
        "oci_core_volume_attachment": all_of(
            among("attachment_type", "paravirtualized"),
            flag("is_pv_encryption_in_transit_enabled", safe=True, unset=False),
        ),
    }
)


def is_unencrypted(one: Planned) -> bool:
    """Whether the resource, as it would be, leaves data unencrypted where it lies or on its way."""
    rule = RULES.get(one.type)
    return rule is not None and one.stands and rule(one.after)
