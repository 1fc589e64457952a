"""What a worker's user declares of stacks' servers is read from a file of its own, and leads to where secrets lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from control_plane.errors import BadInput, Unavailable
from control_plane.provisioning.accounts import NO_CLOUDS
from control_plane.provisioning.stack_database import StackDatabase
from control_plane.provisioning.stack_places import FromFolder, StackPlace
from control_plane.secrets.owner_login import (
    OwnerLogin,
    SecretFiles,
    SecretProgram,
    SecretVariables,
)
from server.login_files import read_login, write_login
from server.stack_servers import owner_url
from server.stack_wiring import _source, read_places

DECLARED = """\
stacks:
  - cloud: local
    secret: {kind: folder, path: /etc/paybill/logins}
  - cloud: gcp
    secret: {kind: command, argv: [/usr/bin/false]}
  - cloud: oci
    secret: {kind: environment, names: [OWNER]}
  - cloud: aws
    secret: {kind: account}
"""


def file(tmp_path: Path, content: bytes = DECLARED.encode(), mode: int = 0o600) -> Path:
    """The file with what is declared."""
    path = tmp_path / "stacks.yaml"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_without_a_file_no_stack_takes_rows() -> None:
    assert read_places(None).stacks == ()


def test_each_kind_leads_to_where_secrets_lie(tmp_path: Path) -> None:
    places = read_places(file(tmp_path))
    kinds = {"local": SecretFiles, "gcp": SecretProgram, "oci": SecretVariables}
    for cloud, kind in kinds.items():
        place = places.of(cloud)
        assert place is not None
        assert isinstance(_source(place, "acme", "eu", NO_CLOUDS), kind)
    aws = places.of("aws")
    assert aws is not None
    with pytest.raises(Unavailable) as told:
        _source(aws, "acme", "eu", NO_CLOUDS)
    assert told.value.code == "credentials_missing"


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (DECLARED.encode(), 0o640),
        (DECLARED.encode(), 0o602),
        (b"#" * 16_385, 0o600),
        (b"a: \xff", 0o600),
    ],
    ids=["read by a group", "written by others", "too large", "not utf-8"],
)
def test_another_file_is_refused_by_the_settings_name(
    tmp_path: Path, content: bytes, mode: int
) -> None:
    with pytest.raises(BadInput) as told:
        read_places(file(tmp_path, content, mode))
    assert "PAYBILL_STACK_DATABASES_FILE" in str(told.value)
    with pytest.raises(BadInput):
        read_places(tmp_path / "absent.yaml")


@pytest.mark.parametrize("host", ["db.example.com", "10.0.0.1", "::1", "fd00::1"])
def test_a_url_keeps_where_and_how_through_its_file(tmp_path: Path, host: str) -> None:
    place = StackPlace(cloud="local", secret=FromFolder(kind="folder", path=tmp_path))
    found = StackDatabase(
        engine="postgres", model="silo", name="acme", host=host, port=5433, secret="a.json"
    )
    login = OwnerLogin(username="owner", password=SecretStr("p@:/?#[]%'\" "))
    url = owner_url(place, found, login)
    write_login(tmp_path, "worker", url)
    kept = read_login(tmp_path, "worker")
    assert kept == url
    assert (kept.host, kept.port, kept.password) == (host, 5433, "p@:/?#[]%'\" ")
    assert kept.query == ({} if host == "::1" else {"sslmode": "require"})
