"""What a key file promises on disk. Not the signing."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from control_plane.secrets.key_file import KeyFileError, load_seed, save_seed
from control_plane.secrets.signer import SignerError, new_seed

PASSPHRASE = b"correct horse"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "audit.key"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(path: Path, passphrase: bytes | None = None) -> str:
    with pytest.raises(KeyFileError) as refused:
        load_seed(path, passphrase)
    return refused.value.code


def test_a_raw_seed_comes_back_from_a_file_only_its_owner_may_read(path: Path) -> None:
    seed = new_seed()
    save_seed(path, seed)
    assert load_seed(path) == seed
    assert path.read_bytes() == seed
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [found.name for found in path.parent.iterdir()] == ["audit.key"]


def test_a_wrapped_seed_comes_back_with_its_passphrase_and_is_not_in_the_file(path: Path) -> None:
    seed = new_seed()
    save_seed(path, seed, PASSPHRASE)
    content = path.read_bytes()
    assert load_seed(path, PASSPHRASE) == seed
    assert seed not in content
    assert json.loads(content)["kdf"] | {"salt": ""} == {
        "name": "scrypt",
        "n": 2**15,
        "r": 8,
        "p": 1,
        "salt": "",
    }
    assert mode(path) == 0o600


def test_a_wrong_or_missing_passphrase_is_refused(path: Path) -> None:
    save_seed(path, new_seed(), PASSPHRASE)
    assert refusal(path, b"wrong") == "key_passphrase"
    assert refusal(path) == "key_passphrase"


def test_a_raw_file_is_refused_where_a_passphrase_was_expected(path: Path) -> None:
    save_seed(path, new_seed())
    assert refusal(path, PASSPHRASE) == "key_passphrase"


def test_a_key_is_never_overwritten_and_no_draft_is_left(path: Path) -> None:
    first = new_seed()
    save_seed(path, first)
    with pytest.raises(KeyFileError) as refused:
        save_seed(path, new_seed())
    assert refused.value.code == "key_exists"
    assert load_seed(path) == first
    assert len(list(path.parent.iterdir())) == 1


def test_a_folder_that_others_may_enter_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)
    with pytest.raises(KeyFileError) as refused:
        save_seed(path, new_seed())
    assert refused.value.code == "key_folder"
    assert not path.exists()


def test_an_empty_passphrase_and_a_short_seed_write_nothing(path: Path) -> None:
    with pytest.raises(KeyFileError):
        save_seed(path, new_seed(), b"")
    with pytest.raises(SignerError):
        save_seed(path, b"short")
    assert not path.parent.exists()


def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    save_seed(path, new_seed())
    path.chmod(0o640)
    assert refusal(path) == "key_mode"


def test_a_link_or_a_pipe_in_the_keys_place_is_refused(path: Path) -> None:
    save_seed(path, new_seed())
    link = path.with_name("link")
    link.symlink_to(path)
    pipe = path.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    assert refusal(link) == "key_mode"
    assert refusal(pipe) == "key_mode"


def test_an_absent_file_is_named_so(path: Path) -> None:
    assert refusal(path) == "key_absent"


@pytest.mark.parametrize("content", [b"", b"{}", b"not json at all", b"x" * 5000])
def test_a_malformed_file_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    path.write_bytes(content)
    assert refusal(path, PASSPHRASE) == "key_malformed"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2**14),
        ("n", 2**21),
        ("n", 2**15 + 1),
        ("r", 16),
        ("p", 2),
        ("salt", "?"),
        ("name", "x"),
    ],
)
def test_weaker_costlier_or_odd_derivation_is_refused(
    path: Path, field: str, value: object
) -> None:
    save_seed(path, new_seed(), PASSPHRASE)
    envelope = json.loads(path.read_bytes())
    envelope["kdf"][field] = value
    path.write_text(json.dumps(envelope))
    assert refusal(path, PASSPHRASE) == "key_malformed"


@pytest.mark.parametrize("field", ["key_id", "nonce", "ciphertext"])
def test_an_altered_envelope_does_not_open(path: Path, field: str) -> None:
    save_seed(path, new_seed(), PASSPHRASE)
    envelope = json.loads(path.read_bytes())
    first = envelope[field][0]
    envelope[field] = ("0" if first != "0" else "1") + envelope[field][1:]
    path.write_text(json.dumps(envelope))
    assert refusal(path, PASSPHRASE) in {"key_passphrase", "key_malformed"}
