"""Which resources of a plan the internet could reach, by type. Not who may then do what: see grants.py.

Only what a type can say of itself is judged. Unset is read as the provider reads it; where that is
open, saying nothing is as bad as opening it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from control_plane.provisioning.planned import Planned
from control_plane.provisioning.rules import (
    Rule,
    all_of,
    always,
    among,
    any_of,
    flag,
    inside,
    missing,
    not_among,
    open_to_all,
    wide_range,
)

_OPEN_ACL: Final = ("public-read", "public-read-write", "authenticated-read")
_EVERYBODY: Final = ("allusers", "allauthenticatedusers")

_AWS_RANGES: Final = any_of(open_to_all("cidr_blocks"), open_to_all("ipv6_cidr_blocks"))
_AWS_GROUP: Final = inside("ingress", _AWS_RANGES)
_AWS_ACL: Final = any_of(open_to_all("cidr_block"), open_to_all("ipv6_cidr_block"))
_AWS_BALANCER: Final = flag("internal", safe=True, unset=False)

AWS: Final[Mapping[str, Rule]] = {
    "aws_alb": _AWS_BALANCER,
    "aws_db_instance": flag("publicly_accessible", safe=False, unset=False),
    "aws_default_security_group": _AWS_GROUP,
    "aws_eip": always,
    "aws_elb": _AWS_BALANCER,
    "aws_instance": flag("associate_public_ip_address", safe=False, unset=False),
    "aws_lambda_function_url": not_among("authorization_type", "aws_iam", unset=True),
    "aws_lb": _AWS_BALANCER,
    "aws_network_acl": inside("ingress", all_of(among("action", "allow"), _AWS_ACL)),
    "aws_network_acl_rule": all_of(
        flag("egress", safe=True, unset=False), among("rule_action", "allow"), _AWS_ACL
    ),
    "aws_rds_cluster_instance": flag("publicly_accessible", safe=False, unset=False),
    "aws_redshift_cluster": flag("publicly_accessible", safe=False, unset=True),
    "aws_s3_bucket": among("acl", *_OPEN_ACL),
    "aws_s3_bucket_acl": among("acl", *_OPEN_ACL),
    "aws_s3_bucket_public_access_block": any_of(
        *(
            flag(name, safe=True, unset=False)
            for name in (
                "block_public_acls",
                "block_public_policy",
                "ignore_public_acls",
                "restrict_public_buckets",
            )
        )
    ),
    "aws_security_group": _AWS_GROUP,
    "aws_security_group_rule": all_of(among("type", "ingress"), _AWS_RANGES),
    "aws_subnet": flag("map_public_ip_on_launch", safe=False, unset=False),
    "aws_vpc_security_group_ingress_rule": any_of(
        open_to_all("cidr_ipv4"), open_to_all("cidr_ipv6")
    ),
}

_AZURE_RULE: Final = all_of(
    among("direction", "inbound"),
    among("access", "allow"),
    any_of(open_to_all("source_address_prefix"), open_to_all("source_address_prefixes")),
)
# From 0.0.0.0 to 0.0.0.0 is whatever runs in Azure, of anybody's.
_AZURE_FIREWALL: Final = wide_range("start_ip_address", "end_ip_address")
_AZURE_NETWORK: Final = flag("public_network_access_enabled", safe=False, unset=True)

AZURE: Final[Mapping[str, Rule]] = {
    "azurerm_cosmosdb_account": _AZURE_NETWORK,
    "azurerm_mssql_firewall_rule": _AZURE_FIREWALL,
    "azurerm_mssql_server": _AZURE_NETWORK,
    "azurerm_mysql_flexible_server": among("public_network_access", "enabled"),
    "azurerm_mysql_flexible_server_firewall_rule": _AZURE_FIREWALL,
    "azurerm_network_security_group": inside("security_rule", _AZURE_RULE),
    "azurerm_network_security_rule": _AZURE_RULE,
    "azurerm_postgresql_flexible_server": _AZURE_NETWORK,
    "azurerm_postgresql_flexible_server_firewall_rule": _AZURE_FIREWALL,
    "azurerm_public_ip": always,
    "azurerm_public_ip_prefix": always,
    "azurerm_redis_cache": _AZURE_NETWORK,
    "azurerm_storage_account": flag("allow_nested_items_to_be_public", safe=False, unset=True),
    "azurerm_storage_container": not_among("container_access_type", "private", unset=False),
}

_GOOGLE_BALANCER: Final = among("load_balancing_scheme", "external", "external_managed", unset=True)

GOOGLE: Final[Mapping[str, Rule]] = {
    "google_compute_address": not_among("address_type", "internal", unset=True),
    # Without sources or tags a rule holds for everybody.
    "google_compute_firewall": all_of(
        not_among("direction", "egress", unset=True),
        inside("allow", always),
        flag("disabled", safe=True, unset=False),
        any_of(
            open_to_all("source_ranges"),
            all_of(
                missing("source_ranges"), missing("source_tags"), missing("source_service_accounts")
            ),
        ),
    ),
    "google_compute_forwarding_rule": _GOOGLE_BALANCER,
    "google_compute_global_address": not_among("address_type", "internal", unset=True),
    "google_compute_global_forwarding_rule": _GOOGLE_BALANCER,
    "google_compute_instance": inside("network_interface.access_config", always),
    "google_sql_database_instance": any_of(
        flag("settings.ip_configuration.ipv4_enabled", safe=False, unset=True),
        open_to_all("settings.ip_configuration.authorized_networks.value"),
    ),
    "google_storage_bucket": not_among("public_access_prevention", "enforced", unset=True),
    "google_storage_bucket_access_control": among("entity", *_EVERYBODY),
    "google_storage_bucket_acl": among("predefined_acl", "publicread", "publicreadwrite"),
    "google_storage_default_object_access_control": among("entity", *_EVERYBODY),
}

_OCI_LIST: Final = inside("ingress_security_rules", open_to_all("source"))

OCI: Final[Mapping[str, Rule]] = {
    "oci_core_default_security_list": _OCI_LIST,
    "oci_core_instance": among("create_vnic_details.assign_public_ip", "true"),
    "oci_core_network_security_group_security_rule": all_of(
        among("direction", "ingress"), open_to_all("source")
    ),
    "oci_core_public_ip": always,
    "oci_core_security_list": _OCI_LIST,
    "oci_core_subnet": all_of(
        flag("prohibit_public_ip_on_vnic", safe=True, unset=False),
        flag("prohibit_internet_ingress", safe=True, unset=False),
    ),
    # Without a subnet it stands in the open, for the addresses that are listed or for all.
    "oci_database_autonomous_database": all_of(
        missing("subnet_id"), open_to_all("whitelisted_ips", unset=True)
    ),
    "oci_load_balancer_load_balancer": flag("is_private", safe=True, unset=False),
    "oci_network_load_balancer_network_load_balancer": flag("is_private", safe=True, unset=True),
    "oci_objectstorage_bucket": not_among("access_type", "nopublicaccess", unset=False),
    "oci_objectstorage_preauthrequest": always,
}

IBM: Final[Mapping[str, Rule]] = {
    "ibm_database": not_among("service_endpoints", "private", unset=True),
    "ibm_is_floating_ip": always,
    "ibm_is_lb": not_among("type", "private", "private_path", unset=True),
    "ibm_is_network_acl": inside(
        "rules",
        all_of(among("direction", "inbound"), among("action", "allow"), open_to_all("source")),
    ),
    "ibm_is_network_acl_rule": all_of(
        among("direction", "inbound"), among("action", "allow"), open_to_all("source")
    ),
    # A rule that names no remote is for every address; one that names a group is for its members.
    "ibm_is_security_group_rule": all_of(
        among("direction", "inbound"), open_to_all("remote", unset=True)
    ),
}

RULES: Final[Mapping[str, Rule]] = MappingProxyType({**AWS, **AZURE, **GOOGLE, **OCI, **IBM})


def is_public(one: Planned) -> bool:
    """Whether the resource, as it would be, can be reached from the internet."""
    rule = RULES.get(one.type)
    return rule is not None and one.stands and rule(one.after)
