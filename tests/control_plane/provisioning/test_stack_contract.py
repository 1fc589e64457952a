"""What a module must offer, and that each lack of it is named. Not what Terraform makes of a module."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud
from control_plane.provisioning import stacks
from control_plane.provisioning.stack_contract import EPHEMERAL, OUTPUTS, VARIABLES, lacks

SHIPPED: Final = [
    pytest.param(cloud, folder, id=f"{cloud}-{isolation}")
    for cloud in CLOUDS
    for isolation in ISOLATIONS
    if (folder := stacks.MODULES / cloud / isolation).is_dir()
]
TYPES: Final = {"string": "number", "map(string)": "map(any)"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A stack of one's own for AWS that lacks nothing."""
    folder = tmp_path / "silo"
    folder.mkdir()
    variables = [f'variable "{name}" {{\n  type = {kind}\n}}\n' for name, kind in VARIABLES.items()]
    (folder / "variables.tf").write_text("\n".join(variables))
    (folder / "main.tf").write_text(
        'terraform {\n  required_version = ">= 1.11"\n  required_providers {\n    aws = {\n'
        '      source  = "hashicorp/aws"\n      version = "= 5.100.0"\n    }\n  }\n}\n'
        'provider "aws" {\n  region = var.region\n}\n'
        'resource "aws_vpc" "tenant" {\n  tags = var.labels\n}\n'
        'output "database" {\n  value = aws_vpc.tenant.id\n}\n'
    )
    return folder


def abouts(folder: Path, cloud: Cloud = "aws") -> list[str]:
    return [one.about for one in lacks(folder, cloud)]


def change(folder: Path, name: str, old: str, new: str) -> Path:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize(("cloud", "folder"), SHIPPED)
def test_each_shipped_stack_lacks_nothing(cloud: Cloud, folder: Path) -> None:
    assert lacks(folder, cloud) == ()


def test_each_variable_of_the_contract_is_what_a_stack_is_given() -> None:
    request = stacks.StackRequest(
        tenant="acme", run_id="run-1", cloud="local", isolation="silo", plan="pro", region="eu"
    )
    kinds = {"string": str, "map(string)": dict}
    given: dict[str, Any] = stacks.variables(request)
    assert {name: kinds[kind] for name, kind in VARIABLES.items()} == {
        name: type(value) for name, value in given.items()
    }


def test_a_stack_of_ones_own_that_lacks_nothing_is_taken(own: Path) -> None:
    assert lacks(own, "aws") == ()
    (own / "README.md").write_bytes(b"\xff")
    assert lacks(own, "aws") == ()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_is_missing_or_of_another_type_is_named(own: Path, name: str) -> None:
    kind = VARIABLES[name]
    declared = f'variable "{name}" {{\n  type = {kind}\n}}'
    change(own, "variables.tf", declared, f'variable "{name}" {{\n  type = {TYPES[kind]}\n}}')
    assert abouts(own) == [f"variable {name}"]
    change(own, "variables.tf", f'variable "{name}" {{\n  type = {TYPES[kind]}', "locals {\n a = 1")
    assert abouts(own) == [f"variable {name}"]
    assert VARIABLES[name] in lacks(own, "aws")[0].said


@pytest.mark.parametrize(
    ("block", "about"),
    [
        ('variable "more" {\n  type = string\n}', "variable more"),
        ('variable "more" {}', "variable more"),
        (f'variable "{EPHEMERAL}" {{\n  type = string\n}}', f"variable {EPHEMERAL}"),
        (
            f'variable "{EPHEMERAL}" {{\n  type = string\n  default = "x"\n}}',
            f"variable {EPHEMERAL}",
        ),
        (
            f'variable "{EPHEMERAL}" {{\n  type = string\n  ephemeral = false\n}}',
            f"variable {EPHEMERAL}",
        ),
    ],
)
def test_a_variable_that_nobody_gives_or_that_would_be_kept_is_named(
    own: Path, block: str, about: str
) -> None:
    (own / "more.tf").write_text(block + "\n")
    assert abouts(own) == [about]


@pytest.mark.parametrize(
    "block",
    [
        'variable "more" {\n  type = string\n  default = "x"\n}',
        'variable "more" { default = null }',
        f'variable "{EPHEMERAL}" {{\n  type = string\n  ephemeral = true\n}}',
        f'variable "{EPHEMERAL}" {{\n  ephemeral = true # kept nowhere\n  sensitive = true\n}}',
    ],
)
def test_a_variable_with_a_default_or_an_ephemeral_password_may_be_there(
    own: Path, block: str
) -> None:
    (own / "more.tf").write_text(block + "\n")
    assert abouts(own) == []


def test_a_word_in_a_comment_a_text_or_an_inner_block_declares_nothing(own: Path) -> None:
    change(own, "main.tf", 'output "database" {', 'output "other" {')
    (own / "more.tf").write_text(
        '# output "database" {}\nlocals {\n  x = "output \\"database\\" {"\n'
        "  output = {\n    database = {}\n  }\n}\n"
    )
    assert abouts(own) == [f"output {name}" for name in OUTPUTS]


def test_labels_must_be_used(own: Path) -> None:
    assert abouts(change(own, "main.tf", "var.labels", "{}")) == ["variable labels"]


@pytest.mark.parametrize(
    ("version", "pinned"),
    [
        ("= 5.100.0", True),
        ("5.100.0", True),
        ("=5.100.0", True),
        ("~> 5.0", False),
        (">= 5.0", False),
        ("< 6", False),
        ("", False),
        ("= 5.100.0, != 5.99.0", True),
        (">= 5.0, < 6.0", False),
    ],
)
def test_a_provider_is_pinned_to_one_version(own: Path, version: str, pinned: bool) -> None:
    change(own, "main.tf", '"= 5.100.0"', f'"{version}"')
    assert abouts(own) == ([] if pinned else ["provider aws"])


def test_a_stack_without_a_block_for_its_provider_is_named(own: Path) -> None:
    change(own, "main.tf", 'provider "aws" {\n  region = var.region\n}\n', "")
    (found,) = lacks(own, "aws")
    assert (found.about, "must have a block" in found.said) == ("provider aws", True)


def test_a_stack_that_says_no_version_of_terraform_is_named(own: Path) -> None:
    assert abouts(change(own, "main.tf", 'required_version = ">= 1.11"', "")) == ["terraform"]


@pytest.mark.parametrize(
    "text",
    [
        'provider "google" {}',
        'terraform {\n  backend "s3" {}\n}',
        'data "external" "x" {}',
        'module "m" {\n  source = "git::https://example.test/m"\n}',
        'resource "aws_vpc" "x" {\n  provisioner "local-exec" {}\n}',
        "locals {\n  x = <<A\nA\n}",
        'locals {\n  x = file("/etc/passwd")\n}',
    ],
)
def test_a_module_that_reaches_out_lacks_everything_at_once(own: Path, text: str) -> None:
    (own / "more.tf").write_text(text + "\n")
    assert abouts(own) == ["module"]


def test_a_module_of_another_cloud_or_none_is_named(own: Path, tmp_path: Path) -> None:
    assert abouts(own, "gcp") == ["module"]
    assert abouts(tmp_path / "nowhere") == ["module"]
    local = Path(shutil.copytree(stacks.MODULES / "local" / "silo", tmp_path / "local"))
    assert abouts(local, "local") == []
    (local / "bad.tf").write_bytes(b"\xff")
    assert abouts(local, "local") == ["module"]
