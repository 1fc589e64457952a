"""The file of cloud accounts as a worker reads it, and what a worker without Terraform has. Not the accounts' rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from control_plane.errors import BadInput, Refused, Unavailable
from control_plane.ports import Store
from control_plane.provisioning.accounts import NO_CLOUDS
from control_plane.provisioning.port import Provisioner
from control_plane.provisioning.stacks import StackRequest
from server.ids import RandomIds
from server.initialise import Answers, initialise
from server.opening import open_store
from server.provisioning_wiring import read_clouds, wire_provisioner
from server.settings import Settings, read_settings
from server.workspace import Workspace
from tests.support.approval_world import TurnedClock

PLANTED: Final = "s3cret-planted"
ACCOUNTS: Final = f"""\
accounts:
  aws:
    account: "123456789012"
    regions: [eu-central-1]
    credentials: {{kind: environment, names: [AWS_SECRET_ACCESS_KEY]}}
    provider: {{profile: {PLANTED}}}
"""
REQUEST: Final = StackRequest(
    tenant="acme", run_id="run-1", cloud="local", isolation="silo", plan="pro", region="eu"
)


def clouds_file(tmp_path: Path, content: bytes | str = ACCOUNTS, mode: int = 0o600) -> Path:
    path = tmp_path / "clouds.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def test_without_a_file_there_are_no_accounts() -> None:
    assert read_clouds(None) is NO_CLOUDS


def test_a_file_of_this_user_alone_is_read(tmp_path: Path) -> None:
    assert set(read_clouds(clouds_file(tmp_path)).accounts) == {"aws"}


def a_link(path: Path) -> None:
    path.symlink_to(clouds_file(path.parent).rename(path.with_name("real.yaml")))


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def read_by_a_group(path: Path) -> None:
    clouds_file(path.parent, mode=0o640)


def written_by_others(path: Path) -> None:
    clouds_file(path.parent, mode=0o602)


def too_large(path: Path) -> None:
    clouds_file(path.parent, b"#" * 262_145)


def not_utf8(path: Path) -> None:
    clouds_file(path.parent, b"a: \xff")


@pytest.mark.parametrize(
    "make",
    [nothing, a_folder, a_fifo, a_link, read_by_a_group, written_by_others, too_large, not_utf8],
)
def test_a_file_that_does_not_read_names_the_setting(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "clouds.yaml")
    with pytest.raises(BadInput) as error:
        read_clouds(tmp_path / "clouds.yaml")
    assert error.value.field == "PAYBILL_CLOUDS_FILE"
    assert error.value.rule


def test_a_mistake_in_the_file_is_named_by_file_and_field_and_never_by_value(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadInput) as error:
        read_clouds(clouds_file(tmp_path, ACCOUNTS.replace("provider:", "providers:")))
    assert error.value.field == "clouds.yaml: accounts.aws.providers"
    assert PLANTED not in str(error.value)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("wired")
    answers = Answers("wired", "own_hand", b"a root passphrase for tests")
    return initialise(folder, folder / "home", answers, TurnedClock(), RandomIds())


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> Iterator[Store]:
    with closing(open_store(workspace)) as opened:
        yield opened


Wired: TypeAlias = Callable[..., Provisioner]


@pytest.fixture
def wired(workspace: Workspace, store: Store, tmp_path: Path) -> Wired:
    def made(**changed: object) -> Provisioner:
        settings: Settings = read_settings().model_copy(update=changed)
        mine = replace(workspace, state=tmp_path / "state")
        return wire_provisioner(mine, settings, b"k" * 32, frozenset(), None, dict, store)

    return made


def test_a_worker_without_terraform_is_wired_and_says_so_when_it_is_asked(
    wired: Wired, tmp_path: Path
) -> None:
    provisioner = wired(terraform_bin=tmp_path / "terraform")
    with pytest.raises(Unavailable):
        provisioner.observe(REQUEST)


def test_a_worker_whose_accounts_do_not_read_does_not_start(wired: Wired, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="PAYBILL_CLOUDS_FILE"):
        wired(clouds_file=tmp_path / "nothing.yaml")


def test_a_worker_plans_with_the_accounts_of_its_file(wired: Wired, tmp_path: Path) -> None:
    declared = clouds_file(tmp_path, ACCOUNTS.replace("AWS_SECRET_ACCESS_KEY", "NOT_SET_ANYWHERE"))
    provisioner = wired(clouds_file=declared)
    request = REQUEST.model_copy(update={"cloud": "aws", "region": "eu-central-1"})
    with pytest.raises(Unavailable) as missing:
        provisioner.observe(request)
    assert missing.value.code == "credentials_missing"
    with pytest.raises(Exception, match="not used in this region"):
        provisioner.observe(request.model_copy(update={"region": "eu-west-1"}))


def test_a_stack_that_the_store_knows_elsewhere_is_not_planned(
    wired: Wired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[StackRequest] = []

    def held(_connection: object, request: StackRequest) -> str:
        asked.append(request)
        return "another"

    monkeypatch.setattr("server.provisioning_wiring.account_held", held)
    provisioner = wired(clouds_file=clouds_file(tmp_path))
    request = REQUEST.model_copy(update={"cloud": "aws", "region": "eu-central-1"})
    with pytest.raises(Refused) as refused:
        provisioner.observe(request)
    assert (refused.value.code, asked) == ("account_moved", [request])


def test_the_setting_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBILL_CLOUDS_FILE", str(tmp_path / "clouds.yaml"))
    assert read_settings().clouds_file == tmp_path / "clouds.yaml"
