"""Which resources the internet could reach: each type that is judged, once open and once shut."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning import encryption, exposure
from control_plane.provisioning.rules import is_open
from tests.control_plane.provisioning.judged import one

Case = tuple[dict[str, Any], dict[str, Any]]

OPEN = ["10.0.0.0/8", "0.0.0.0/0"]
SHUT = ["10.0.0.0/8"]
BLOCKED = {
    "block_public_acls": True,
    "block_public_policy": True,
    "ignore_public_acls": True,
    "restrict_public_buckets": True,
}
NSG = {"direction": "Inbound", "access": "Allow"}
OCI_SUBNET = {"prohibit_public_ip_on_vnic": True}


def group(ranges: list[str]) -> dict[str, Any]:
    return {"ingress": [{"cidr_blocks": ranges, "ipv6_cidr_blocks": []}]}


def acl(address: str) -> dict[str, Any]:
    return {"ingress": [{"action": "allow", "cidr_block": address}]}


def between(first: str, last: str) -> dict[str, Any]:
    return {"start_ip_address": first, "end_ip_address": last}


def listed(source: str) -> dict[str, Any]:
    return {"ingress_security_rules": [{"source": source}]}


def sql(**settings: Any) -> dict[str, Any]:
    address = {"ipv4_enabled": False, "ssl_mode": "ENCRYPTED_ONLY"} | settings
    return {"settings": [{"ip_configuration": [address]}]}


def rules(**more: str) -> dict[str, Any]:
    return {"rules": [{"direction": "inbound", "action": "allow"} | more]}


INWARD = {"direction": "inbound", "action": "allow"}
HOLE: Final = between("0.0.0.0", "0.0.0.0")  # noqa: S104 - Azure's word for all of Azure
FIREWALL: Final[Case] = (HOLE, between("10.0.0.1", "10.0.0.9"))
PUBLIC_NETWORK: Final[Case] = ({}, {"public_network_access_enabled": False})
BALANCER: Final[Case] = ({}, {"internal": True})
ALWAYS: Final[Case] = ({}, {})

CASES: Final[dict[str, Case]] = {
    "aws_alb": BALANCER,
    "aws_db_instance": ({"publicly_accessible": True}, {}),
    "aws_default_security_group": (group(OPEN), group(SHUT)),
    "aws_eip": ALWAYS,
    "aws_elb": BALANCER,
    "aws_instance": ({"associate_public_ip_address": True}, {}),
    "aws_lambda_function_url": ({"authorization_type": "NONE"}, {"authorization_type": "AWS_IAM"}),
    "aws_lb": BALANCER,
    "aws_network_acl": (acl("0.0.0.0/0"), acl("10.0.0.0/8")),
    "aws_network_acl_rule": (
        {"egress": False, "rule_action": "allow", "cidr_block": "0.0.0.0/0"},
        {"egress": True, "rule_action": "allow", "cidr_block": "0.0.0.0/0"},
    ),
    "aws_rds_cluster_instance": ({"publicly_accessible": True}, {"publicly_accessible": False}),
    "aws_redshift_cluster": ({}, {"publicly_accessible": False}),
    "aws_s3_bucket": ({"acl": "public-read"}, {"acl": "private"}),
    "aws_s3_bucket_acl": ({"acl": "authenticated-read"}, {"acl": "private"}),
    "aws_s3_bucket_public_access_block": (BLOCKED | {"ignore_public_acls": None}, BLOCKED),
    "aws_security_group": (group(OPEN), group(SHUT)),
    "aws_security_group_rule": (
        {"type": "ingress", "cidr_blocks": OPEN},
        {"type": "egress", "cidr_blocks": OPEN},
    ),
    "aws_subnet": ({"map_public_ip_on_launch": True}, {}),
    "aws_vpc_security_group_ingress_rule": ({"cidr_ipv6": "::/0"}, {"cidr_ipv4": "10.0.0.0/8"}),
    "azurerm_cosmosdb_account": PUBLIC_NETWORK,
    "azurerm_mssql_firewall_rule": FIREWALL,
    "azurerm_mssql_server": PUBLIC_NETWORK,
    "azurerm_mysql_flexible_server": ({"public_network_access": "Enabled"}, {}),
    "azurerm_mysql_flexible_server_firewall_rule": FIREWALL,
    "azurerm_network_security_group": (
        {"security_rule": [NSG | {"source_address_prefix": "*"}]},
        {"security_rule": [NSG | {"source_address_prefix": "VirtualNetwork"}]},
    ),
    "azurerm_network_security_rule": (
        NSG | {"source_address_prefixes": OPEN},
        NSG | {"access": "Deny", "source_address_prefix": "*"},
    ),
    "azurerm_postgresql_flexible_server": PUBLIC_NETWORK,
    "azurerm_postgresql_flexible_server_firewall_rule": FIREWALL,
    "azurerm_public_ip": ALWAYS,
    "azurerm_public_ip_prefix": ALWAYS,
    "azurerm_redis_cache": PUBLIC_NETWORK,
    "azurerm_storage_account": ({}, {"allow_nested_items_to_be_public": False}),
    "azurerm_storage_container": (
        {"container_access_type": "blob"},
        {"container_access_type": "private"},
    ),
    "google_compute_address": ({}, {"address_type": "INTERNAL"}),
    "google_compute_firewall": (
        {"allow": [{"protocol": "tcp"}]},
        {"allow": [{"protocol": "tcp"}], "source_tags": ["app"]},
    ),
    "google_compute_forwarding_rule": ({}, {"load_balancing_scheme": "INTERNAL"}),
    "google_compute_global_address": ({}, {"address_type": "INTERNAL"}),
    "google_compute_global_forwarding_rule": (
        {"load_balancing_scheme": "EXTERNAL_MANAGED"},
        {"load_balancing_scheme": "INTERNAL_MANAGED"},
    ),
    "google_compute_instance": (
        {"network_interface": [{"access_config": [{}]}]},
        {"network_interface": [{"access_config": []}]},
    ),
    "google_sql_database_instance": (sql(ipv4_enabled=True), sql()),
    "google_storage_bucket": ({}, {"public_access_prevention": "enforced"}),
    "google_storage_bucket_access_control": ({"entity": "allUsers"}, {"entity": "user-a"}),
    "google_storage_bucket_acl": ({"predefined_acl": "publicRead"}, {"predefined_acl": "private"}),
    "google_storage_default_object_access_control": (
        {"entity": "allAuthenticatedUsers"},
        {"entity": "user-a"},
    ),
    "ibm_database": (
        {"service_endpoints": "public-and-private"},
        {"service_endpoints": "private"},
    ),
    "ibm_is_floating_ip": ALWAYS,
    "ibm_is_lb": ({}, {"type": "private"}),
    "ibm_is_network_acl": (rules(source="0.0.0.0/0"), rules(source="10.0.0.0/8")),
    "ibm_is_network_acl_rule": (
        INWARD | {"source": "0.0.0.0/0"},
        INWARD | {"source": "10.0.0.0/8"},
    ),
    "ibm_is_security_group_rule": (
        {"direction": "inbound"},
        {"direction": "inbound", "remote": "10.0.0.0/8"},
    ),
    "oci_core_default_security_list": (listed("0.0.0.0/0"), listed("10.0.0.0/8")),
    "oci_core_instance": (
        {"create_vnic_details": [{"assign_public_ip": "true"}]},
        {"create_vnic_details": [{"assign_public_ip": "false"}]},
    ),
    "oci_core_network_security_group_security_rule": (
        {"direction": "INGRESS", "source": "0.0.0.0/0"},
        {"direction": "EGRESS", "destination": "0.0.0.0/0"},
    ),
    "oci_core_public_ip": ALWAYS,
    "oci_core_security_list": (listed("::/0"), listed("10.0.0.0/8")),
    "oci_core_subnet": ({}, OCI_SUBNET),
    "oci_database_autonomous_database": ({}, {"subnet_id": "s"}),
    "oci_load_balancer_load_balancer": ({}, {"is_private": True}),
    "oci_network_load_balancer_network_load_balancer": ({"is_private": False}, {}),
    "oci_objectstorage_bucket": ({"access_type": "ObjectRead"}, {"access_type": "NoPublicAccess"}),
    "oci_objectstorage_preauthrequest": ALWAYS,
}

STORAGE: Final[Case] = ({}, {"storage_encrypted": True})
ENCRYPTED: Final[Case] = ({"encrypted": False}, {"encrypted": True})
TRANSPORT: Final[Case] = (
    {"name": "require_secure_transport", "value": "off"},
    {"name": "require_secure_transport", "value": "on"},
)
PLAIN: Final[dict[str, Case]] = {
    "aws_db_instance": STORAGE,
    "aws_docdb_cluster": STORAGE,
    "aws_ebs_volume": ENCRYPTED,
    "aws_efs_file_system": ENCRYPTED,
    "aws_elasticache_replication_group": (
        {"at_rest_encryption_enabled": True},
        {"at_rest_encryption_enabled": True, "transit_encryption_enabled": True},
    ),
    "aws_instance": (
        {"root_block_device": [{"encrypted": True}], "ebs_block_device": [{"encrypted": False}]},
        {"root_block_device": [{"encrypted": True}], "ebs_block_device": []},
    ),
    "aws_kinesis_stream": ({}, {"encryption_type": "KMS"}),
    "aws_neptune_cluster": STORAGE,
    "aws_opensearch_domain": ({}, {"encrypt_at_rest": [{"enabled": True}]}),
    "aws_rds_cluster": STORAGE,
    "aws_redshift_cluster": ENCRYPTED,
    "azurerm_mssql_database": ({"transparent_data_encryption_enabled": False}, {}),
    "azurerm_mysql_flexible_server_configuration": TRANSPORT,
    "azurerm_postgresql_flexible_server_configuration": TRANSPORT,
    "azurerm_redis_cache": ({"non_ssl_port_enabled": True}, {}),
    "azurerm_storage_account": ({"min_tls_version": "TLS1_0"}, {"min_tls_version": "TLS1_2"}),
    "google_redis_instance": ({}, {"transit_encryption_mode": "SERVER_AUTHENTICATION"}),
    "google_sql_database_instance": (sql(ssl_mode=None), sql()),
    "oci_core_volume_attachment": (
        {"attachment_type": "paravirtualized"},
        {"attachment_type": "paravirtualized", "is_pv_encryption_in_transit_enabled": True},
    ),
}

HIDDEN = {"references": ["terraform_data.t.output", "terraform_data.t"]}


def test_every_type_that_is_judged_has_its_case() -> None:
    assert CASES.keys() == exposure.RULES.keys()
    assert PLAIN.keys() == encryption.RULES.keys()


@pytest.mark.parametrize("kind", sorted(CASES))
def test_an_open_resource_is_public_and_a_shut_one_is_not(kind: str) -> None:
    opened, shut = CASES[kind]
    assert exposure.is_public(one(kind, opened))
    if CASES[kind] is not ALWAYS:
        assert not exposure.is_public(one(kind, shut))
    assert not exposure.is_public(one(kind, None, before=opened, actions=("delete",)))


@pytest.mark.parametrize("kind", sorted(PLAIN))
def test_an_unencrypted_resource_is_named_and_an_encrypted_one_is_not(kind: str) -> None:
    plain, encrypted = PLAIN[kind]
    assert encryption.is_unencrypted(one(kind, plain))
    assert not encryption.is_unencrypted(one(kind, encrypted))
    assert not encryption.is_unencrypted(one(kind, None, before=plain, actions=("delete",)))


# Of these a shut one is shut by more than one of its values.
MANIFOLD = ("_rule", "_volume_attachment", "_security_list", "_configuration")
FLAT = sorted(
    (judge, kind, name)
    for judge, cases in (("public", CASES), ("plain", PLAIN))
    for kind, (_bad, good) in cases.items()
    for name, value in good.items()
    if not kind.endswith(MANIFOLD) and not isinstance(value, list) and name != "subnet_id"
)
JUDGES: dict[str, Callable[[Any], bool]] = {
    "public": exposure.is_public,
    "plain": encryption.is_unencrypted,
}


@pytest.mark.parametrize(("judge", "kind", "name"), FLAT)
def test_what_is_given_by_something_unknown_is_not_proven(judge: str, kind: str, name: str) -> None:
    good = (CASES if judge == "public" else PLAIN)[kind][1]
    rest = {other: value for other, value in good.items() if other != name}
    given = {other: {"constant_value": value} for other, value in rest.items()} | {name: HIDDEN}
    assert JUDGES[judge](one(kind, rest, unknown={name: True}, given=given))


def test_what_is_only_unknown_because_nobody_gave_it_is_the_providers_default() -> None:
    group_alone = one("aws_security_group", {"name": "x"}, unknown={"ingress": True, "id": True})
    assert not exposure.is_public(group_alone)
    volume = one("aws_ebs_volume", {"size": 1}, unknown={"encrypted": True})
    assert encryption.is_unencrypted(volume)
    database = one("aws_db_instance", {}, unknown={"publicly_accessible": True})
    assert not exposure.is_public(database)


def test_a_block_that_a_dynamic_one_makes_of_something_unknown_is_not_proven() -> None:
    hidden = {"ingress": [{"cidr_blocks": True}]}
    rule = one("aws_security_group", {"ingress": [{"from_port": 1}]}, unknown=hidden, given={})
    assert exposure.is_public(rule)
    whole = one("oci_core_security_list", {}, unknown={"ingress_security_rules": True}, given={})
    assert exposure.is_public(whole)


def test_what_the_configuration_does_not_show_is_taken_as_given() -> None:
    rule = one("aws_db_instance", {}, unknown={"publicly_accessible": True}, told=False)
    assert exposure.is_public(rule)


@given(st.ip_addresses(v=4), st.integers(0, 7))
def test_a_range_wider_than_a_slash_8_is_the_internet_unless_it_is_private(
    address: object, prefix: int
) -> None:
    network = ip_network(f"{address}/{prefix}", strict=False)
    assert is_open(str(network)) is not network.is_private


@given(st.ip_addresses(), st.integers(16, 32))
def test_a_narrower_range_is_not_the_internet(address: object, prefix: int) -> None:
    assert not is_open(f"{address}/{prefix}")


@pytest.mark.parametrize("word", ["*", "Internet", "AzureCloud.WestEurope", "ANY", "0.0.0.0"])  # noqa: S104 - words
def test_a_word_for_everywhere_is_the_internet(word: str) -> None:
    assert is_open(word)


@pytest.mark.parametrize("word", ["VirtualNetwork", "sg-1", "10.0.0.0/8", "fc00::/7", ""])
def test_a_name_or_a_private_range_is_not(word: str) -> None:
    assert not is_open(word)
