"""What a module may hold, read before Terraform runs. Not what a plan of it would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.errors import Refused
from control_plane.provisioning import module, scan, stacks
from control_plane.provisioning.site import PROVIDERS

AWS = PROVIDERS["aws"].source
ALLOWED = frozenset({scan.BUILTIN, AWS})

REFUSED = [
    # where state lies, and what is adopted or forgotten
    ('terraform {\n  backend "s3" {\n    bucket = "x"\n  }\n}', "backend_not_admitted"),
    ('terraform { backend "local" {} }', "backend_not_admitted"),
    ('terraform {\n  cloud {\n    organization = "x"\n  }\n}', "backend_not_admitted"),
    ('terraform {\n  required_version = ">= 1.11"\n  cloud {\n  }\n}', "backend_not_admitted"),
    ('terraform {\n  provider_meta "aws" {\n  }\n}', "backend_not_admitted"),
    ('import {\n  to = aws_s3_bucket.x\n  id = "another"\n}', "block_not_admitted"),
    ("removed {\n  from = aws_s3_bucket.x\n}", "block_not_admitted"),
    ('action "aws_lambda_invoke" "x" {\n}', "block_not_admitted"),
    ('list "aws_s3_bucket" "all" {\n}', "block_not_admitted"),
    ("whatever_comes_next {\n}", "block_not_admitted"),
    # what it asks
    ('data "external" "x" {\n}', "data_source_not_admitted"),
    ('data "http" "x" {\n}', "data_source_not_admitted"),
    ('data "terraform_remote_state" "x" {\n}', "data_source_not_admitted"),
    ('check "up" {\n  data "http" "x" {\n  }\n}', "data_source_not_admitted"),
    ('check "up" {\n  data "external" "x" {\n  }\n}', "data_source_not_admitted"),
    ('check "up" {\n  data "null_data_source" "x" {\n  }\n}', "provider_not_admitted"),
    ('ephemeral "external" "x" {\n}', "data_source_not_admitted"),
    ('ephemeral "vault_kv" "x" {\n}', "provider_not_admitted"),
    # what it runs
    ('resource "aws_vpc" "x" {\n  provisioner "remote-exec" {\n  }\n}', "provisioner_not_admitted"),
    # whose code it is
    ('module "m" {\n  source = "hashicorp/consul/aws"\n}', "module_source_not_admitted"),
    (
        'module "m" {\n  source  = "hashicorp/consul/aws"\n  version = "1.0.0"\n}',
        "module_source_not_admitted",
    ),
    (
        'module "m" {\n  source = "git::ssh://git@example.test/m?ref=main"\n}',
        "module_source_not_admitted",
    ),
    ('module "m" {\n  source = "/opt/m"\n}', "module_source_not_admitted"),
    ('module "m" {\n  source = "../m"\n}', "module_source_not_admitted"),
    ("module m {\n  source = var.source\n}", "module_source_not_admitted"),
    ('resource "null_resource" "x" {\n}', "provider_not_admitted"),
    (
        'terraform {\n  required_providers {\n    aws = {\n      source = "evil/aws"\n    }\n  }\n}',
        "provider_not_admitted",
    ),
    # as whom
    (
        'provider "aws" {\n  access_key = "AKIA0000000000000000"\n}',
        "provider_setting_not_admitted",
    ),
    ('provider "aws" {\n  region = "eu-west-1"\n  token = "t"\n}', "provider_setting_not_admitted"),
    (
        'provider "aws" {\n  assume_role {\n    role_arn = "arn:aws:iam::1:role/admin"\n  }\n}',
        "provider_setting_not_admitted",
    ),
    (
        'provider "aws" {\n  shared_credentials_files = ["/etc/keys"]\n}',
        "provider_setting_not_admitted",
    ),
    # what of the machine it reads
    ('locals {\n  x = file("/etc/passwd")\n}', "function_not_admitted"),
    ('locals {\n  x = file("../x")\n}', "function_not_admitted"),
    ('locals {\n  x = file("${path.module}/../../x")\n}', "function_not_admitted"),
    ('locals {\n  x = file("${path.root}/x")\n}', "function_not_admitted"),
    ('locals {\n  x = file("~/.aws/credentials")\n}', "function_not_admitted"),
    ("locals {\n  x = file(var.x)\n}", "function_not_admitted"),
    ("locals {\n  x = core::file(var.x)\n}", "function_not_admitted"),
    ('locals {\n  x = "a ${file(var.x)} b"\n}', "function_not_admitted"),
    ('locals {\n  x = "%{if fileexists(var.x)}y%{endif}"\n}', "function_not_admitted"),
    ('locals {\n  x = filebase64("/etc/shadow")\n}', "function_not_admitted"),
    ('locals {\n  x = filesha256(\n    "/etc/shadow")\n}', "function_not_admitted"),
    ('locals {\n  x = templatefile("x.tftpl", {})\n}', "function_not_admitted"),
    ('locals {\n  x = fileset("/etc", "*")\n}', "function_not_admitted"),
    ('locals {\n  x = pathexpand("~")\n}', "function_not_admitted"),
    ('locals {\n  x = abspath(".")\n}', "function_not_admitted"),
]

ADMITTED = [
    'moved {\n  from = aws_s3_bucket.a\n  to = aws_s3_bucket.b\n}\nresource "aws_s3_bucket" "b" {\n}',
    'provider "aws" {\n  region = var.region\n}',
    'provider "aws" {\n  alias  = "here"\n  region = "eu-west-1"\n}',
    'terraform {\n  required_version = ">= 1.11"\n}',
    'locals {\n  x = file("x.json")\n  y = filebase64("${path.module}/parts/y.bin")\n}',
    'module "m" {\n  source = "./m"\n}',
    'data "aws_caller_identity" "here" {\n}',
    'check "up" {\n  assert {\n    condition     = true\n    error_message = "down"\n  }\n}',
    'locals {\n  # import { removed {\n  file = "file(/etc/passwd)"\n  import = "x"\n}',
    'resource "aws_vpc" "x" {\n  tags = {\n    import = "a"\n    backend = "b"\n  }\n}',
]


def code_of(text: str, name: str = "main.tf") -> str:
    try:
        scan.check({Path(name): text + "\n"}, ALLOWED, provisioners_admitted=False)
    except Refused as refused:
        return refused.code
    return ""


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_a_module_is_refused_for_what_it_holds(text: str, code: str) -> None:
    assert code_of(text) == code


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_a_nested_module_is_read_like_the_root(text: str, code: str) -> None:
    assert code_of(text, "parts/inner/main.tf") == code


@pytest.mark.parametrize("text", ADMITTED)
def test_what_only_says_what_is_made_is_admitted(text: str) -> None:
    assert code_of(text) == ""


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([case for case in REFUSED if "\n" in case[0]]),
    st.lists(
        st.sampled_from(["# note", "/* a\n b */", "", 'locals {\n  a = "{"\n}', "// }"]),
        max_size=4,
    ),
)
def test_nothing_before_it_hides_what_is_refused(case: tuple[str, str], before: list[str]) -> None:
    assert code_of("\n".join([*before, case[0]])) == case[1]


def test_every_shipped_module_is_admitted_with_its_own_provider_alone() -> None:
    for cloud, provider in PROVIDERS.items():
        for path in sorted((stacks.MODULES / cloud).iterdir()):
            module.check(module.read(path), frozenset(), frozenset({scan.BUILTIN, provider.source}))
    for path in sorted((stacks.MODULES / "local").iterdir()):
        module.check(module.read(path))
