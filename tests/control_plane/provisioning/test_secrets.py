"""Fifty planted secrets and where each may stand: after plan, apply, failure, kill and destroy. Not how they are kept elsewhere."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.canonical import canonical
from control_plane.domain.isolation import CLOUDS, Cloud, Isolation
from control_plane.errors import Failed, PaybillError, Unknown
from control_plane.provisioning import artifact, binary
from control_plane.provisioning.accounts import Credentials, FromCommand, FromEnvironment, FromFile
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.credentials import fetch
from control_plane.provisioning.progress import Progress
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from tests.control_plane.provisioning.modules.test_lifecycle import (
    clouds_with,
    request_for,
    unlocked,
)
from tests.support.simulated.mirror import WORLD

# What each cloud's provider is told in secret, by variable.
SECRET_NAMES: Final[dict[Cloud, tuple[str, ...]]] = {
    "aws": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_WEB_IDENTITY_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "TF_VAR_more"),
    ),
    "azure": (
        *("ARM_CLIENT_SECRET", "ARM_CLIENT_CERTIFICATE", "ARM_CLIENT_CERTIFICATE_PASSWORD"),
        *("ARM_OIDC_TOKEN", "ARM_OIDC_REQUEST_TOKEN", "ARM_ACCESS_KEY", "ARM_SAS_TOKEN"),
        "TF_VAR_more",
    ),
    "gcp": (
        *("GOOGLE_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_ENCRYPTION_KEY"),
        *("GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON", "TF_VAR_more"),
    ),
    "oci": (
        *("OCI_PRIVATE_KEY", "OCI_PRIVATE_KEY_PASSWORD", "TF_VAR_private_key", "OCI_TOKEN"),
        *("OCI_SESSION_TOKEN", "TF_VAR_more"),
    ),
    "ibm": (
        *("IC_API_KEY", "IBMCLOUD_API_KEY", "IAAS_CLASSIC_API_KEY", "IC_IAM_TOKEN"),
        *("IC_IAM_REFRESH_TOKEN", "IBMCLOUD_COS_HMAC_SECRET", "AWS_SECRET_ACCESS_KEY"),
        "TF_VAR_more",
    ),
}
# Each cloud has a password of its database too, and a secret among its provider's settings and one
# that its errors repeat.
EACH_HAS_BESIDES: Final = ("password", "setting", "error")
# Where a secret stands by right. A provider's setting is a part of the configuration, which a saved
# plan holds whole: so that is sealed, and secrets are better passed as credentials.
LAWFUL: Final = {("setting", "saved plan")}
# And where it stands besides until the next operation sweeps up after a worker that was killed.
LEFT_BEHIND: Final = {("setting", "file paybill_override.tf.json")}
WITH_PASSWORD: Final[Isolation] = "bridge"


def test_there_are_fifty() -> None:
    own = sum(len(names) for names in SECRET_NAMES.values())
    assert own + len(EACH_HAS_BESIDES) * len(SECRET_NAMES) + len(KEPT) >= 50
    assert {*SECRET_NAMES, "local"} == set(CLOUDS)


@dataclass
class Planted:
    """The secrets of one cloud, and everything that was said about its stack."""

    cloud: Cloud
    folder: Path
    secrets: dict[str, str]
    said: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def say(self, where: str, what: object) -> None:
        """Keep something that somebody outside may read."""
        self.said.setdefault(where, []).append(str(what))

    def found(self) -> set[tuple[str, str]]:
        """Which secret stands where: in what was said, and in every file that there is now."""
        texts = {where: "\n".join(each) for where, each in self.said.items()}
        for path in files_of(self.folder):
            where = "state" if path.name.startswith("terraform.tfstate") else f"file {path.name}"
            texts[where] = texts.get(where, "") + path.read_bytes().decode("utf-8", "replace")
        return {
            (name, where)
            for name, secret in self.secrets.items()
            for where, text in texts.items()
            if secret in text
        }


def files_of(folder: Path) -> Iterator[Path]:
    """What lies below a folder now, but for the programs that play the providers."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and "mirror" not in path.parts:
            yield path


def texts_of(packed: bytes) -> str:
    """Whatever a saved plan holds, unpacked."""
    with zipfile.ZipFile(io.BytesIO(artifact.unpack(packed).plan)) as plan:
        return "\n".join(plan.read(name).decode("utf-8", "replace") for name in plan.namelist())


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


def planted_in(cloud: Cloud, folder: Path) -> Planted:
    names = (*SECRET_NAMES[cloud], *EACH_HAS_BESIDES)
    return Planted(cloud, folder, {name: f"pl4nt3d-{cloud}-{name}-s3cr3t" for name in names})


def source_of(planted: Planted) -> tuple[Credentials, dict[str, str]]:
    """The credentials by another way from cloud to cloud, and the environment that they need."""
    pairs = {name: planted.secrets[name] for name in SECRET_NAMES[planted.cloud]}
    outside = planted.folder.parent / f"{planted.folder.name}.credentials"
    outside.write_text(json.dumps(pairs))
    outside.chmod(0o600)
    ways: list[Credentials] = [
        FromEnvironment(kind="environment", names=tuple(pairs)),
        FromFile(kind="file", path=outside),
        FromCommand(kind="command", argv=("cat", str(outside))),
    ]
    return ways[list(SECRET_NAMES).index(planted.cloud) % len(ways)], pairs | {
        "PATH": os.environ["PATH"]
    }


class Life:
    """One stack with planted secrets, through all that may happen to it."""

    def __init__(self, terraform: Terraform, planted: Planted) -> None:
        self.planted = planted
        self.request = request_for(planted.cloud, WITH_PASSWORD)
        self.world = planted.folder / "mirror" / WORLD
        self.pids: list[int] = []
        clouds = clouds_with(planted.cloud, WITH_PASSWORD, planted.folder / "mirror")
        account = clouds.accounts[planted.cloud]
        settings = dict.fromkeys(account.provider, planted.secrets["setting"])
        source, environment = source_of(planted)
        account = account.model_copy(update={"provider": settings, "credentials": source})
        root = planted.folder / "stacks"
        self.provisioner = TerraformProvisioner(
            terraform,
            RunnerSettings(on_started=self.pids.append),
            root,
            b"k" * 32,
            sites=Sites(
                root,
                clouds.model_copy(update={"accounts": {planted.cloud: account}}),
                fetch_credentials=lambda one: fetch(one, environment),
            ),
            module_overrides={
                (planted.cloud, WITH_PASSWORD): unlocked(
                    planted.cloud, WITH_PASSWORD, planted.folder / "module"
                )
            },
        )
        planted.secrets["password"] = self.provisioner._password(self.request)

    def plan(self) -> bytes:
        """An observed plan, all of whose parts are kept."""
        observed = self.provisioner.observe(self.request)
        self.planted.say("projection", canonical(observed.projection).decode())
        self.planted.say("facts", observed.facts.model_dump_json())
        self.planted.say("saved plan", texts_of(observed.artifact))
        return observed.artifact

    def told(self, progress: Progress) -> None:
        """What is told of an apply."""
        self.planted.say("run_event", progress.model_dump_json())

    def apply(self, packed: bytes) -> None:
        """Apply it; what stands is kept as it is told."""
        applied = self.provisioner.apply(self.request, packed, tell=self.told)
        self.planted.say("outputs", applied)

    def apply_and_die(self, packed: bytes) -> None:
        """Apply it in a worker of its own, which is killed with its Terraform at the first word."""

        def die(_progress: Progress) -> None:
            os.kill(self.pids[-1], signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

        worker = os.fork()
        if worker == 0:
            try:
                self.provisioner.apply(self.request, packed, tell=die)
            finally:
                os._exit(1)
        _pid, status = os.waitpid(worker, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL

    def forget_state(self) -> None:
        """Begin anew, whatever the killed one has left: how a lost state is found again is told elsewhere."""
        stack = f"{self.request.cloud}-{self.request.isolation}"
        for path in (self.planted.folder / "stacks").glob(f"*/{stack}/terraform.tfstate*"):
            path.unlink()


def errors_of(error: BaseException | None) -> str:
    """An error with all that stands behind it, as a log would have it."""
    said: list[str] = []
    while error is not None:
        said.append(f"{error!r} {error} {vars(error)}")
        error = error.__cause__ or error.__context__
    return "\n".join(said)


@pytest.mark.long
@pytest.mark.parametrize(
    "cloud",
    [
        pytest.param(cloud, marks=[] if cloud == "ibm" else pytest.mark.sweep)
        for cloud in SECRET_NAMES
    ],
)
def test_a_secret_stands_nowhere_after_plan_kill_failure_apply_and_destroy(
    terraform: Terraform,
    tmp_path: Path,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "all" / "temporary").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "all" / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    planted = planted_in(cloud, tmp_path / "all")
    life = Life(terraform, planted)
    life.apply_and_die(life.plan())
    assert planted.found() <= LAWFUL | LEFT_BEHIND
    life.forget_state()
    life.apply(life.plan())
    planted.say("standing", life.provisioner.look(life.request))
    planted.say("drift", life.provisioner.drift(life.request))
    life.world.write_text(json.dumps([{"type": first_made(planted), "fails": "delete"}]))
    with pytest.raises((Failed, Unknown)) as failed:
        life.provisioner.destroy(life.request, tell=life.told)
    planted.say("error", errors_of(failed.value))
    life.world.unlink()
    life.provisioner.destroy(life.request, tell=life.told)
    planted.say("log", caplog.text)
    planted.say("printed", "".join(capfd.readouterr()))
    assert {"projection", "saved plan", "run_event", "error", "outputs"} <= set(planted.said)
    assert planted.found() == LAWFUL


def first_made(planted: Planted) -> str:
    """A type of which the first plan makes something, by its projection."""
    changes: list[dict[str, Any]] = json.loads(planted.said["projection"][0])["resource_changes"]
    return min(str(one["type"]) for one in changes)


# What a module itself does with a secret -----------------------------------------------------

KEPT: Final = ("default", "output", "error", "plain")
MODULE: Final = """\
variable "plan" {{ type = string }}
variable "database_password" {{
  type      = string
  ephemeral = true
}}
variable "token" {{
  type      = string
  sensitive = true
  default   = "{default}"
}}
variable "plain" {{
  type      = string
  ephemeral = true
  default   = "{plain}"
}}
resource "terraform_data" "keeper" {{
  input = var.token
  lifecycle {{
    precondition {{
      condition     = var.plan != "broken"
      error_message = "refused with {error}"
    }}
  }}
}}
output "login" {{
  sensitive = true
  value     = "{output}-${{var.token}}"
}}
output "database" {{
  value = "x"
}}
"""


def test_what_a_module_marks_as_sensitive_stands_in_its_state_and_in_nothing_that_is_told(
    terraform: Terraform, tmp_path: Path
) -> None:
    planted = Planted("local", tmp_path / "all", {name: f"pl4nt3d-{name}-s3cr3t" for name in KEPT})
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "main.tf").write_text(MODULE.format(**planted.secrets))
    root = tmp_path / "all" / "stacks"
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        module_overrides={("local", "silo"): folder},
    )
    request = request_for("local", "silo")
    planted.secrets["password"] = provisioner._password(request)
    observed = provisioner.observe(request)
    planted.say("projection", canonical(observed.projection).decode())
    applied = provisioner.apply(
        request, observed.artifact, tell=lambda one: planted.say("run_event", one)
    )
    planted.say("outputs", applied)
    planted.say("standing", provisioner.look(request))
    planted.say("outputs", provisioner.outputs(request))
    with pytest.raises(PaybillError) as failed:
        provisioner.observe(request.model_copy(update={"plan": "broken"}))
    planted.say("error", errors_of(failed.value))
    assert applied.outputs == {"database": "x"}
    # A state holds what a resource was given and what an output says; no agent reads a state. And a
    # text that the module itself does not call sensitive is none to a plan.
    lawful = {("default", "state"), ("output", "state"), ("plain", "projection")}
    assert planted.found() == lawful
    provisioner.destroy(request)
    assert planted.found() <= lawful


def test_an_account_that_is_shown_or_changed_shows_no_secret_of_its_credentials(
    tmp_path: Path,
) -> None:
    planted = planted_in("aws", tmp_path / "all")
    planted.folder.mkdir()
    source, environment = source_of(planted)
    shown = f"{source!r} {source.model_dump_json()} {replace(planted, secrets={})!r}"
    assert not [one for one in planted.secrets.values() if one in shown]
    assert set(fetch(source, environment)) == set(SECRET_NAMES["aws"])
