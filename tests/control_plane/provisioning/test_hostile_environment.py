"""What lies around a worker and might steer its Terraform: variables, files, plugins. None has an effect, or the module is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.canonical import digest
from control_plane.errors import Failed, Refused
from control_plane.provisioning import binary, module, stacks
from control_plane.provisioning.accounts import CloudAccount, Clouds, FromEnvironment
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import PROVIDERS, Sites
from control_plane.provisioning.stacks import StackRequest
from tests.control_plane.provisioning.modules.test_lifecycle import (
    clouds_with,
    request_for,
    unlocked,
)
from tests.support.simulated.mirror import os_arch

REQUEST: Final = StackRequest(
    tenant="acme", run_id="run-1", cloud="local", isolation="silo", plan="pro", region="eu"
)
SHIPPED: Final = stacks.module_path(REQUEST, {})
NULL: Final = "registry.terraform.io/hashicorp/null"
# All that a child of ours sees beside an account's credentials.
SEEN: Final = {
    *("PATH", "HOME", "TMPDIR", "LANG", "TF_IN_AUTOMATION", "TF_INPUT", "CHECKPOINT_DISABLE"),
    *("TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "TF_VAR_database_password"),
}


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "module"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Is there once anything planted has run."""
    return tmp_path / "marker"


def planted_program(path: Path, marker: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch '{marker}'\nexit 1\n")
    path.chmod(0o755)
    return path


def provisioner_of(
    terraform: Terraform,
    root: Path,
    folder: Path,
    admitted: frozenset[str] = frozenset(),
    providers: frozenset[str] = frozenset(),
) -> TerraformProvisioner:
    return TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        admitted_modules=admitted,
        module_overrides={("local", "silo"): folder},
        allowed_providers=providers,
    )


def hostile_variables(tmp_path: Path, marker: Path) -> dict[str, str]:
    """Whatever steers Terraform, its providers or the loader, all at once."""
    home = tmp_path / "home"
    planted = planted_program(
        home / ".terraform.d" / "plugins" / NULL / "3.2.0" / os_arch() / "terraform-provider-null",
        marker,
    )
    overrides = f'provider_installation {{\n  dev_overrides {{\n    "{NULL}" = "{planted.parent}"\n'
    configuration = f"{overrides}  }}\n  direct {{}}\n}}\n"
    for place in (home / ".terraformrc", tmp_path / "evil.rc"):
        place.write_text(configuration)
    proxy = "http://127.0.0.1:9"
    return {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / ".terraform.d"),
        "XDG_DATA_DIRS": str(home / ".terraform.d"),
        "TF_CLI_CONFIG_FILE": str(tmp_path / "evil.rc"),
        "TERRAFORM_CONFIG": str(tmp_path / "evil.rc"),
        "TF_CLI_ARGS": "-no-such-option",
        "TF_CLI_ARGS_init": "-backend=false",
        "TF_CLI_ARGS_plan": "-destroy",
        "TF_CLI_ARGS_apply": "-destroy",
        "TF_VAR_plan": "enterprise",
        "TF_VAR_tenant_id": "globex",
        "TF_VAR_database_password": "known-to-all",
        "TF_DATA_DIR": str(tmp_path / "data"),
        "TF_WORKSPACE": "other",
        "TF_LOG": "TRACE",
        "TF_LOG_CORE": "TRACE",
        "TF_LOG_PROVIDER": "TRACE",
        "TF_LOG_PATH": str(tmp_path / "trace.log"),
        "TF_TEMP_LOG_PATH": str(tmp_path / "trace.log"),
        "TF_PLUGIN_CACHE_DIR": str(tmp_path / "cache"),
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",
        "TF_REATTACH_PROVIDERS": json.dumps({NULL: {"Protocol": "grpc", "Pid": 1, "Test": True}}),
        "TF_STATE_PERSIST_INTERVAL": "9999",
        "TF_REGISTRY_CLIENT_TIMEOUT": "1",
        "TF_TOKEN_registry_terraform_io": "token",
        "TF_ENCRYPTION": "x",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy),
        "SSL_CERT_FILE": "/dev/null",
        "GODEBUG": "x509ignoreCN=0",
        "AWS_ACCESS_KEY_ID": "AKIAEVIL",
        "AWS_PROFILE": "evil",
        "AWS_ENDPOINT_URL": proxy,
        "ARM_CLIENT_SECRET": "evil",
        "GOOGLE_APPLICATION_CREDENTIALS": "/evil",
        "PG_CONN_STR": "postgres://evil",
        "PYTHONPATH": str(tmp_path / "evil"),
        "PAYBILL_SECRET": "evil",
    }


def counting_module(folder: Path, seen: Path) -> frozenset[str]:
    """Let an apply write down its environment; the digest that admits the module."""
    (folder / "effect.tf").write_text(
        'resource "terraform_data" "effect" {\n  provisioner "local-exec" {\n'
        f"    command = {json.dumps(f'/usr/bin/env > {seen}')}\n  }}\n}}\n"
    )
    return frozenset({module.tree_digest(folder)})


def test_no_variable_of_the_worker_reaches_terraform_or_changes_a_plan(
    terraform: Terraform,
    tmp_path: Path,
    copied: Path,
    marker: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = tmp_path / "seen"
    admitted = counting_module(copied, seen)
    provisioner = provisioner_of(terraform, tmp_path / "stacks", copied, admitted)
    before = provisioner.observe(REQUEST)
    for name, value in hostile_variables(tmp_path, marker).items():
        monkeypatch.setenv(name, value)
    observed = provisioner.observe(REQUEST)
    assert observed.digest == before.digest
    provisioner.apply(REQUEST, observed.artifact)
    assert provisioner.settle(REQUEST) == "present"
    lines = seen.read_text().splitlines()
    # A shell adds some of its own.
    shells = {"PWD", "SHLVL", "_", "OLDPWD"}
    assert {line.partition("=")[0] for line in lines} - shells == SEEN
    assert not [line for line in lines if "evil" in line or "known-to-all" in line]
    assert not any((tmp_path / name).exists() for name in ("data", "cache", "trace.log", "marker"))


def test_a_provider_that_lies_in_the_users_home_is_not_found(
    terraform: Terraform,
    tmp_path: Path,
    copied: Path,
    marker: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (copied / "more.tf").write_text('resource "null_resource" "x" {}\n')
    root = tmp_path / "stacks"
    # Where a worker's own Terraform might look without our configuration.
    for name, value in hostile_variables(tmp_path, marker).items():
        monkeypatch.setenv(name, value)
    planted_program(
        root / ".plugins" / NULL / "3.2.0" / os_arch() / "terraform-provider-null_v3.2.0", marker
    )
    provisioner = provisioner_of(terraform, root, copied, providers=frozenset({NULL}))
    with pytest.raises(Failed) as failed:
        provisioner.observe(REQUEST)
    assert failed.value.code == "no_provider"
    assert not marker.exists()


def in_folder(name: str, text: str = "") -> Callable[[Path, Path], None]:
    def plant(folder: Path, _marker: Path) -> None:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    return plant


def plugin(folder: Path, marker: Path) -> None:
    name = Path("terraform.d", "plugins", NULL, "3.2.0", os_arch(), "terraform-provider-null")
    planted_program(folder / name, marker)


EVIL_STATE: Final = json.dumps({"version": 4, "serial": 9, "lineage": "x", "resources": []})
EVIL_BACKEND: Final = 'terraform {\n  backend "local" {\n    path = "/tmp/evil.tfstate"\n  }\n}\n'
EVIL_OUTPUT: Final = 'output "database" {\n  value = "evil"\n}\n'
REFUSED: Final[dict[str, Callable[[Path, Path], None]]] = {
    "values": in_folder("terraform.tfvars", 'plan = "enterprise"\n'),
    "values in JSON": in_folder("terraform.tfvars.json", "{}"),
    "automatic values": in_folder("zz.auto.tfvars", 'database_password = "known"\n'),
    "automatic values in JSON": in_folder("zz.auto.tfvars.json", "{}"),
    "state": in_folder("terraform.tfstate", EVIL_STATE),
    "backup of a state": in_folder("terraform.tfstate.backup", EVIL_STATE),
    "state of a workspace": in_folder("terraform.tfstate.d/other/terraform.tfstate", EVIL_STATE),
    "override": in_folder("override.tf", EVIL_OUTPUT),
    "later override": in_folder("zz_override.tf", EVIL_OUTPUT),
    "override in JSON": in_folder("zz_override.tf.json", "{}"),
    "our override": in_folder(module.OVERRIDE_FILE, "{}"),
    "test": in_folder("evil.tftest.hcl", 'run "x" {}\n'),
    "tests in a folder": in_folder("tests/evil.tftest.hcl", 'run "x" {}\n'),
    "settings of a backend": in_folder("evil.tfbackend", 'path = "/tmp/evil"\n'),
    "backend": in_folder("evil.tf", EVIL_BACKEND),
    "plugin": plugin,
    "made folder in an inner module": in_folder("inner/.terraform/modules/modules.json", "{}"),
    "link to a made folder": lambda folder, _marker: (folder / "inner").symlink_to("/tmp"),
}


@pytest.mark.parametrize("plant", REFUSED.values(), ids=REFUSED)
def test_what_terraform_would_read_by_itself_makes_a_module_refused(
    tmp_path: Path, copied: Path, marker: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(copied, marker)
    never_run = Terraform(("/no/such/terraform",), "1.11.4", "test")
    with pytest.raises(Refused) as refused:
        provisioner_of(never_run, tmp_path / "stacks", copied).observe(REQUEST)
    assert refused.value.code in {"bad_module", "backend_not_admitted", "module_unreadable"}


UNREAD: Final[dict[str, Callable[[Path, Path], None]]] = {
    "made folder": in_folder(".terraform/terraform.tfstate", EVIL_STATE),
    "modules of a made folder": in_folder(
        ".terraform/modules/modules.json", '{"Modules":[{"Key":"","Source":"","Dir":"/tmp"}]}'
    ),
    "workspace of a made folder": in_folder(".terraform/environment", "other"),
    "configuration": in_folder(".terraformrc", "disable_checkpoint = false\n"),
    "configuration by another name": in_folder("terraform.rc", "provider_installation {}\n"),
    "half a file": in_folder("main.tf~", EVIL_OUTPUT),
    "text": in_folder("README.md", EVIL_OUTPUT),
}


def test_what_else_lies_in_a_module_has_no_effect(
    terraform: Terraform, tmp_path: Path, copied: Path, marker: Path
) -> None:
    root = tmp_path / "stacks"
    before = provisioner_of(terraform, root, copied).observe(REQUEST)
    for plant in UNREAD.values():
        plant(copied, marker)
    provisioner = provisioner_of(terraform, root, copied)
    observed = provisioner.observe(REQUEST)
    planned, planned_before = dict(observed.projection), dict(before.projection)
    planned.pop("module_digest")
    planned_before.pop("module_digest")
    assert digest(planned) == digest(planned_before)
    outputs: Mapping[str, Any] = provisioner.apply(REQUEST, observed.artifact).outputs
    assert outputs["database"]["engine"] == "sqlite"
    assert (root / "acme" / "silo" / "terraform.tfstate").is_file()


def test_what_lies_in_the_workers_current_folder_has_no_effect(
    terraform: Terraform, tmp_path: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name, text in {
        "terraform.tfvars": 'plan = "enterprise"\n',
        "main.tf": EVIL_OUTPUT,
        ".terraformrc": "provider_installation {}\n",
        "terraform.tfstate": EVIL_STATE,
    }.items():
        (here / name).write_text(text)
    provisioner = provisioner_of(terraform, tmp_path / "stacks", copied)
    before = provisioner.observe(REQUEST).digest
    monkeypatch.chdir(here)
    assert provisioner.observe(REQUEST).digest == before
    assert sorted(one.name for one in here.iterdir()) == [
        ".terraformrc",
        "main.tf",
        "terraform.tfstate",
        "terraform.tfvars",
    ]


def test_credentials_give_no_variable_of_ours_another_value(
    terraform: Terraform, tmp_path: Path
) -> None:
    folder = tmp_path / "module"
    folder.mkdir()
    shown = "\n".join(
        f'output "{name}" {{ value = var.{name} }}' for name in ("plan", "tenant_id", "more")
    )
    (folder / "main.tf").write_text(
        'variable "plan" {}\nvariable "tenant_id" {}\nvariable "more" {}\n'
        'variable "database_password" { ephemeral = true }\n'
        'resource "terraform_data" "x" {\n  lifecycle {\n    precondition {\n'
        '      condition = startswith(var.database_password, "Pb1-")\n'
        '      error_message = "another password"\n    }\n  }\n}\n' + shown + "\n"
    )
    account = CloudAccount(
        account="one",
        regions=("eu",),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
    )
    planted = {
        "TF_VAR_plan": "enterprise",
        "TF_VAR_tenant_id": "globex",
        "TF_VAR_database_password": "known-to-all",
        "TF_VAR_more": "given",
    }
    request = REQUEST.model_copy(update={"cloud": "aws"})
    root = tmp_path / "stacks"
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=Sites(
            root, Clouds(accounts={"aws": account}), fetch_credentials=lambda _source: planted
        ),
        module_overrides={("aws", "silo"): folder},
    )
    outputs = provisioner.apply(request, provisioner.observe(request).artifact).outputs
    assert outputs == {"plan": "pro", "tenant_id": "acme", "more": "given"}


@pytest.mark.long
def test_a_planted_provider_in_what_is_kept_between_operations_is_not_run(
    terraform: Terraform, tmp_path: Path, marker: Path
) -> None:
    request = request_for("aws", "pooled")
    root, mirror = tmp_path / "stacks", tmp_path / "mirror"
    clouds = clouds_with("aws", "pooled", mirror)
    (package,) = (mirror / PROVIDERS["aws"].source).glob(f"*/{os_arch()}/*")
    planted_program(root / ".plugins" / package.relative_to(mirror), marker)
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=Sites(root, clouds, fetch_credentials=lambda _source: {}),
        module_overrides={("aws", "pooled"): unlocked("aws", "pooled", tmp_path / "module")},
    )
    # The cache is filled anew from the mirror.
    assert provisioner.observe(request).facts.creates > 0
    kept = list((root / "acme" / ".initialised").rglob(os_arch()))
    assert kept
    for link in kept:
        link.unlink()
        planted_program(link / package.name, marker)
    with pytest.raises(Failed) as failed:
        provisioner.observe(request)
    assert failed.value.code == "provider_changed"
    assert not marker.exists()
