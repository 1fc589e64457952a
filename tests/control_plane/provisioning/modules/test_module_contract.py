"""What every shipped module has in common, read from its files. Not whether a cloud would take it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.isolation import Cloud
from control_plane.errors import Refused
from control_plane.provisioning import module, scan
from control_plane.provisioning.site import PROVIDERS
from tests.support.simulated.schema import ProviderSchema, read_schema, schema_path
from tests.support.stack_blocks import Block, Shipped, blocks, shipped

EVERY: Final = shipped()
IN_CLOUDS: Final = [one for one in EVERY if one.cloud != "local"]
FILES: Final = {"main.tf", "outputs.tf", "variables.tf", "versions.tf"}
VARIABLES: Final = ["tenant_id", "plan", "isolation", "region", "size", "name", "labels", "shared"]
PASSWORD: Final = "database_password"
OUTPUTS: Final = ["database", "storage", "key", "identity", "network", "labels"]
DATABASE: Final = ["engine", "model", "name", "host", "port", "secret"]
STORAGE: Final = ["kind", "name", "prefix"]
# What a provider calls the labels of a resource, and where they lie in a block.
LABELS: Final[dict[Cloud, tuple[str, ...]]] = {
    "aws": ("tags",),
    "azure": ("tags",),
    "gcp": ("labels", "settings/user_labels"),
    "oci": ("freeform_tags",),
    "ibm": ("tags",),
}
# Sensitive to the provider, and no secret: a pooled tenant's place, and where a password is taken from.
NO_SECRET: Final = {("aws_ssm_parameter", "value"), ("oci_psql_db_system", "password_type")}
OPEN_TYPES: Final = re.compile(
    r"_public_ip|_eip$|_internet_gateway|_nat_gateway|_floating_ip|_public_gateway|_firewall_rule$"
)
OPEN_RANGES: Final = {'"0.0.0.0/0"', '"::/0"', '"Internet"', '"internet"'}
CLOSED: Final = {"false", '"enforced"', '"NoPublicAccess"'}
# What a type must say, because saying nothing would leave it open or its data unprotected.
SAID: Final[dict[str, dict[str, str]]] = {
    "aws_db_instance": {"publicly_accessible": "false", "storage_encrypted": "true"},
    "aws_kms_key": {"enable_key_rotation": "true"},
    "azurerm_key_vault": {
        "network_acls/default_action": '"Deny"',
        "purge_protection_enabled": "true",
        "rbac_authorization_enabled": "true",
    },
    "azurerm_postgresql_flexible_server": {"public_network_access_enabled": "false"},
    "azurerm_storage_account": {
        "allow_nested_items_to_be_public": "false",
        "blob_properties/versioning_enabled": "true",
        "https_traffic_only_enabled": "true",
        "infrastructure_encryption_enabled": "true",
        "min_tls_version": '"TLS1_2"',
        "public_network_access_enabled": "false",
        "shared_access_key_enabled": "false",
    },
    "azurerm_storage_container": {"container_access_type": '"private"'},
    "google_compute_network": {"auto_create_subnetworks": "false"},
    "google_sql_database_instance": {
        "settings/backup_configuration/enabled": "true",
        "settings/ip_configuration/ipv4_enabled": "false",
        "settings/ip_configuration/ssl_mode": '"ENCRYPTED_ONLY"',
    },
    "google_storage_bucket": {
        "public_access_prevention": '"enforced"',
        "uniform_bucket_level_access": "true",
        "versioning/enabled": "true",
    },
    "oci_objectstorage_bucket": {"access_type": '"NoPublicAccess"', "versioning": '"Enabled"'},
}
SHUTS_WHEN_TRUE: Final = re.compile(r"^(block|ignore|restrict|prohibit)_")


def named(modules: list[Shipped]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "one", [pytest.param(one, id=f"{one.cloud}-{one.isolation}") for one in modules]
    )


def schema_of(cloud: Cloud) -> ProviderSchema:
    return read_schema(schema_path(cloud))


def of_kind(one: Shipped, kind: str) -> list[Block]:
    return [block for block in blocks(one.folder) if block.words[0] == kind]


def source_of(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))


def variable_texts(one: Shipped) -> dict[str, str]:
    """Each variable's text; what only says which model it is of reads the same everywhere."""
    text = (one.folder / "variables.tf").read_text(encoding="utf-8")
    text = text.replace(f'"{one.isolation}"', '"MODEL"').replace(
        f"makes {one.isolation} stacks", "makes MODEL stacks"
    )
    found = re.findall(r'^variable "(\w+)" \{\n.*?^\}\n', text, re.MULTILINE | re.DOTALL)
    whole = re.findall(r'^variable "\w+" \{\n.*?^\}\n', text, re.MULTILINE | re.DOTALL)
    assert "\n".join(whole) == text, "variables.tf holds something beside variables"
    return dict(zip(found, whole, strict=True))


def without_rule(text: str) -> str:
    described = re.sub(r'^  description = ".*"\n', "", text, flags=re.MULTILINE)
    return re.sub(r"^  validation \{\n.*?^  \}\n", "", described, flags=re.MULTILINE | re.DOTALL)


def joined(tokens: tuple[str, ...]) -> str:
    return "".join(tokens)


def test_each_cloud_has_a_module_for_each_isolation_model() -> None:
    assert len(EVERY) == 3 * len({one.cloud for one in EVERY})
    assert {one.cloud for one in IN_CLOUDS} == set(LABELS)


@named(EVERY)
def test_a_module_has_its_files_and_a_lock_only_for_a_provider_that_is_to_be_had(
    one: Shipped,
) -> None:
    names = {path.name for path in one.folder.iterdir()}
    assert names >= FILES
    assert (module.LOCK_FILE in names) == (one.cloud == "aws")
    assert {path.suffix for path in one.folder.iterdir()} <= {".tf", ".hcl"}


@named(EVERY)
def test_a_module_declares_the_same_variables_in_the_same_order(one: Shipped) -> None:
    names = list(variable_texts(one))
    assert names == [*VARIABLES, *([PASSWORD] if PASSWORD in names else [])]


@pytest.mark.parametrize("name", [*VARIABLES, PASSWORD])
def test_a_variable_has_the_same_text_in_every_module(name: str) -> None:
    texts = [variable_texts(one).get(name, "") for one in EVERY]
    if name == "shared":  # only its rule may differ, by what the module asks for
        texts = [without_rule(text) for text in texts]
    assert len(set(texts) - {""}) == 1


@named(EVERY)
def test_a_variable_says_what_it_is_and_what_it_admits(one: Shipped) -> None:
    for block in blocks(one.folder, "variables.tf"):
        assert {"type", "description"} <= set(block.arguments), block.words
        free = block.words[1] == "shared" and not re.search(r"var\.shared\b", uses_of(one))
        assert free or [inner.words for inner in block.blocks] == [("validation",)], block.words


def uses_of(one: Shipped) -> str:
    """The module's text without its variables."""
    names = sorted(path.name for path in one.folder.glob("*.tf") if path.name != "variables.tf")
    return "\n".join((one.folder / name).read_text(encoding="utf-8") for name in names)


@named(EVERY)
def test_what_a_module_needs_of_the_shared_things_is_what_its_rule_names(one: Shipped) -> None:
    used = set(re.findall(r"var\.shared\.(\w+)", uses_of(one)))
    text = variable_texts(one)["shared"]
    asked = re.search(r"for one in \[(.*?)\] : lookup\(var\.shared, one, \"\"\) != \"\"", text)
    named_there = set(re.findall(r'"(\w+)"', asked[1])) if asked else set[str]()
    assert named_there == used
    if used:
        said = re.search(r'error_message = "shared: (.*) must be named\."', text)
        assert said is not None
        assert set(re.split(r", | and ", said[1])) == used
    assert used or one.isolation == "silo" or one.cloud == "local"


def keys_of(tokens: tuple[str, ...]) -> list[str]:
    """The names in an object, without those in what they are set to."""
    found, depth = list[str](), 0
    for word, after in itertools.pairwise(tokens):
        depth += (word in {"(", "[", "{"}) - (word in {")", "]", "}"})
        if depth == 1 and after == "=":
            found.append(word)
    return found


@named(IN_CLOUDS)
def test_the_outputs_are_those_of_the_contract_and_none_is_a_secret(one: Shipped) -> None:
    found = blocks(one.folder, "outputs.tf")
    assert [block.words for block in found] == [("output", name) for name in OUTPUTS]
    for block in found:
        assert set(block.arguments) == {"description", "value"}
        assert PASSWORD not in joined(block.arguments["value"])
    assert joined(found[-1].arguments["value"]) == "var.labels"
    assert keys_of(found[0].arguments["value"]) == DATABASE
    assert keys_of(found[1].arguments["value"]) == STORAGE


@named(IN_CLOUDS)
def test_terraform_and_the_provider_are_pinned_as_the_schema_is(one: Shipped) -> None:
    terraform, *providers = blocks(one.folder, "versions.tf")
    schema = schema_of(one.cloud)
    assert joined(terraform.arguments["required_version"]) == '">= 1.11, < 2.0"'
    declared = dict(next(terraform.inner("required_providers")).arguments)
    assert list(declared) == [PROVIDERS[one.cloud].name]
    assert {block.words for block in providers} == {("provider", PROVIDERS[one.cloud].name)}
    said = joined(declared[PROVIDERS[one.cloud].name])
    assert f'version="= {schema.version}"' in said
    source = re.search(r'source="([^"]+)"', said)
    assert source is not None
    assert f"registry.terraform.io/{source[1]}".lower() == schema.provider.lower()
    assert schema.provider.lower() == PROVIDERS[one.cloud].source


@pytest.mark.parametrize("cloud", sorted({one.cloud for one in IN_CLOUDS}))
def test_a_clouds_modules_share_one_file_of_versions(cloud: Cloud) -> None:
    texts = {(one.folder / "versions.tf").read_text() for one in EVERY if one.cloud == cloud}
    assert len(texts) == 1


@named(IN_CLOUDS)
def test_the_schema_holds_every_type_that_the_module_uses(one: Shipped) -> None:
    schema = schema_of(one.cloud)
    assert {block.words[1] for block in of_kind(one, "resource")} <= set(schema.resources)
    assert {block.words[1] for block in of_kind(one, "data")} <= set(schema.data)


@pytest.mark.parametrize("cloud", sorted({one.cloud for one in IN_CLOUDS}))
def test_the_schema_holds_no_type_that_no_module_uses(cloud: Cloud) -> None:
    schema, modules = schema_of(cloud), [one for one in EVERY if one.cloud == cloud]
    resources = {block.words[1] for one in modules for block in of_kind(one, "resource")}
    assert set(schema.resources) <= resources
    sources = {block.words[1] for one in modules for block in of_kind(one, "data")}
    assert set(schema.data) <= sources


def takes(declared: dict[str, Any], path: str) -> bool:
    """Whether a type's schema has a settable argument at the path."""
    *above, name = path.split("/")
    for inner in above:
        if inner not in declared.get("block_types", {}):
            return False
        declared = declared["block_types"][inner]["block"]
    found = declared["attributes"].get(name, {})
    return bool(found.get("optional") or found.get("required"))


@named(IN_CLOUDS)
def test_everything_that_takes_labels_bears_them(one: Shipped) -> None:
    schema, labelled = schema_of(one.cloud), 0
    values = {
        name: joined(said) for b in of_kind(one, "locals") for name, said in b.arguments.items()
    }
    for block in of_kind(one, "resource"):
        for path in LABELS[one.cloud]:
            if not takes(schema.resources[block.words[1]], path):
                continue
            above, _, name = path.rpartition("/")
            for inner in block.inner(above):
                said = joined(inner.arguments.get(name, ()))
                said += "".join(values[local] for local in re.findall(r"local\.(\w+)", said))
                assert "var.labels" in said, f"{block.words[1:]} bears no labels"
                labelled += 1
    assert labelled >= 1


@named(IN_CLOUDS)
def test_nothing_is_open_to_the_internet(one: Shipped) -> None:
    for block in of_kind(one, "resource"):
        assert not OPEN_TYPES.search(block.words[1]), block.words[1]
        for inner in block.everything():
            assert_shut(block, inner)


def assert_shut(resource: Block, block: Block) -> None:
    said = {name: joined(tokens) for name, tokens in block.arguments.items()}
    denies = said.get("access") == '"Deny"'
    for name, value in said.items():
        where = f"{resource.words[1:]}: {name}"
        leaves = "egress" in " ".join((*block.words, *resource.words)) or said.get(
            "direction", ""
        ).lower() in {'"egress"', '"outbound"'}
        if not denies and not leaves:
            assert OPEN_RANGES.isdisjoint(block.arguments[name]), where
        if "public" in name and not name.endswith("_ids"):
            wanted = {"true"} if SHUTS_WHEN_TRUE.match(name) else CLOSED
            assert value in wanted, where


@named(IN_CLOUDS)
def test_what_shuts_a_resource_is_said_and_not_left_to_the_provider(one: Shipped) -> None:
    for block in of_kind(one, "resource"):
        for path, wanted in SAID.get(block.words[1], {}).items():
            above, _, name = path.rpartition("/")
            found = [joined(inner.arguments.get(name, ())) for inner in block.inner(above)]
            assert found == [wanted], f"{block.words[1:]}: {path}"


def settable(block: Block, declared: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(argument, what it is set to, how it is declared) of a resource and the blocks within."""
    for name, tokens in block.arguments.items():
        if name in declared["attributes"]:
            yield name, joined(tokens), declared["attributes"][name]
    for inner in block.blocks:
        dynamic = inner.words[0] == "dynamic"
        name = inner.words[1] if dynamic else inner.words[0]
        nested = declared.get("block_types", {}).get(name)
        for one in (inner.blocks if dynamic else (inner,)) if nested else ():
            yield from settable(one, nested["block"])


@named(IN_CLOUDS)
def test_a_secret_goes_only_into_arguments_that_are_kept_nowhere(one: Shipped) -> None:
    schema, uses = schema_of(one.cloud), 0
    for block in of_kind(one, "resource"):
        kind, found = block.words[1], list(settable(block, schema.resources[block.words[1]]))
        for name, said, declared in found:
            secret = f"var.{PASSWORD}" in said
            uses += secret
            assert declared.get("write_only") or not secret, f"{kind}: {name}"
            kept = declared.get("sensitive") and not declared.get("write_only")
            assert not kept or (kind, name) in NO_SECRET, f"{kind}: {name} stays in the state"
        written = {name for name, _, declared in found if declared.get("write_only")}
        assert {f"{name}_version" for name in written} <= {name for name, _, _ in found}, kind
    assert uses == len(re.findall(rf"var\.{PASSWORD}\b", uses_of(one)))
    assert (uses > 0) == (PASSWORD in variable_texts(one))
    assert uses == 0 or one.isolation != "pooled"


@named([one for one in IN_CLOUDS if PASSWORD in variable_texts(one)])
def test_the_password_is_ephemeral_and_hidden(one: Shipped) -> None:
    (password,) = (b for b in blocks(one.folder, "variables.tf") if b.words[1] == PASSWORD)
    assert password.arguments["ephemeral"] == password.arguments["sensitive"] == ("true",)
    assert "default" not in password.arguments


@named(EVERY)
def test_a_module_reaches_nothing_but_its_own_provider(one: Shipped) -> None:
    files = module.read(one.folder)
    if one.cloud == "local":
        module.check(files)
        return
    source = PROVIDERS[one.cloud].source
    module.check(files, allowed_providers=frozenset({scan.BUILTIN, source}))
    with pytest.raises(Refused) as refused:
        module.check(files)
    assert refused.value.code == "provider_not_admitted"


@named(IN_CLOUDS)
def test_a_region_of_another_cloud_is_turned_away(one: Shipped) -> None:
    rules = [
        joined(inner.arguments["condition"])
        for block in of_kind(one, "resource")
        for inner in block.inner("lifecycle/precondition")
    ]
    assert any("var.region" in rule for rule in rules)
