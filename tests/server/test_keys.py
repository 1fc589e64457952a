"""Keys are private, belong together and give each process only its own. Not what they sign."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.errors import PaybillError
from control_plane.secrets import box, signer
from server import keys
from server.keys import KeysError
from server.private_files import NotPrivate

PASSPHRASE = b"correct horse battery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys.create(tmp_path / "keys", PASSPHRASE)
    return tmp_path / "keys"


def test_every_file_is_for_its_owner_alone(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_the_halves_belong_together(folder: Path) -> None:
    loaded = keys.load(folder)
    assert signer.public_bytes(loaded.issuer_seed) == loaded.public.issuer_bytes
    assert signer.public_bytes(loaded.audit_seed) == loaded.public.audit_bytes
    assert box.public_of(loaded.seal_private) == loaded.public.seal_bytes
    root = keys.load_root(folder, PASSPHRASE)
    assert signer.public_bytes(root) == loaded.public.root_bytes
    licence = keys.load_licence(folder, loaded.public)
    assert signer.public_bytes(licence) == loaded.public.licence_bytes


def test_a_face_needs_no_file_but_its_own(folder: Path) -> None:
    whole = keys.load(folder)
    for path in folder.iterdir():
        if path.name not in ("face.key", keys.PUBLIC_NAME):
            path.unlink()
    face = keys.load_face(folder)
    assert face == whole.face
    assert len({face.hmac_key, face.cursor_key}) == 2


def test_no_secret_shows_in_a_repr(folder: Path) -> None:
    loaded = keys.load(folder)
    for secret in (loaded.issuer_seed, loaded.face.hmac_key, loaded.seal_private):
        assert repr(secret) not in repr(loaded)
        assert secret.hex() not in repr(loaded)


def test_the_root_key_needs_its_passphrase(folder: Path) -> None:
    with pytest.raises(PaybillError, match="passphrase"):
        keys.load_root(folder, b"not the right one")


def test_a_weak_passphrase_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="12"):
        keys.create(tmp_path / "keys", b"short")
    assert not (tmp_path / "keys").exists()


def test_keys_are_never_made_over_others(folder: Path) -> None:
    with pytest.raises(KeysError) as caught:
        keys.create(folder, PASSPHRASE)
    assert caught.value.code == "keys_exist"


@pytest.mark.parametrize("name", ["issuer.key", "audit.key", "seal.key"])
def test_an_exchanged_key_is_noticed(folder: Path, name: str) -> None:
    (folder / name).write_bytes(signer.new_seed())
    with pytest.raises(KeysError) as caught:
        keys.load(folder)
    assert caught.value.code == "keys_mismatch"


def test_an_exchanged_key_of_licences_is_noticed_by_who_signs_with_it(folder: Path) -> None:
    (folder / "licence.key").write_bytes(signer.new_seed())
    loaded = keys.load(folder)
    with pytest.raises(KeysError) as caught:
        keys.load_licence(folder, loaded.public)
    assert caught.value.code == "keys_mismatch"


@pytest.mark.parametrize("name", [".", "public.json", "issuer.key", "face.key"])
def test_keys_that_others_may_reach_are_not_loaded(folder: Path, name: str) -> None:
    (folder / name).chmod(0o777)
    with pytest.raises(PaybillError):
        keys.load(folder)


def test_an_open_folder_is_named(folder: Path) -> None:
    folder.chmod(0o750)
    with pytest.raises(NotPrivate, match="chmod 700"):
        keys.load_public(folder)
