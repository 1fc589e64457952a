"""The folder of archives: whole or not there, sealed, and nothing altered goes unseen."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import pytest

from control_plane.databases.archives import CHUNK_BYTES, ArchiveFolder
from control_plane.errors import BadInput, Failed, PaybillError, Refused, Unavailable
from control_plane.secrets.box import new_keypair

CHECKOUT = Path(__file__).parents[3]
PRIVATE, PUBLIC = new_keypair()
SIZES: Final = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
CHILD = """
import sys, threading
from pathlib import Path
from control_plane.databases.archives import ArchiveFolder

def write(target):
    target.write(b"x" * 3_000_000)
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

ArchiveFolder(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), b"").put("acme", "b1", write)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def folder(root: Path) -> ArchiveFolder:
    return ArchiveFolder(root, PUBLIC, PRIVATE)


def _write(target: IO[bytes], content: bytes) -> None:
    target.write(content)


def put(folder: ArchiveFolder, content: bytes, backup: str = "b1") -> str:
    def write(target: IO[bytes]) -> None:
        for start in range(0, len(content), 100_000):
            target.write(content[start : start + 100_000])

    return folder.put("acme", backup, write).digest


def read(folder: ArchiveFolder, digest: str, backup: str = "b1", tenant: str = "acme") -> bytes:
    with folder.open(tenant, backup, digest) as source:
        return source.read()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read_and_the_digest_is_that_of_the_file(
    folder: ArchiveFolder, root: Path, size: int
) -> None:
    content = os.urandom(size)
    kept = folder.put("acme", "b1", lambda target: _write(target, content))
    stored = (root / "acme" / "b1.archive").read_bytes()
    assert kept.digest == hashlib.sha256(stored).hexdigest()
    assert kept.size_bytes == len(stored)
    assert read(folder, kept.digest) == content
    with folder.open("acme", "b1", kept.digest) as source:
        assert b"".join(iter(lambda: source.readline(50_000), b"")) == content


def test_files_are_for_their_owner_alone_and_say_nothing(folder: ArchiveFolder, root: Path) -> None:
    put(folder, b"Ada Lovelace" * 1_000)
    assert (root / "acme").stat().st_mode & 0o777 == 0o700
    assert (root / "acme" / "b1.archive").stat().st_mode & 0o777 == 0o600
    assert b"Ada" not in (root / "acme" / "b1.archive").read_bytes()


def test_the_same_content_is_never_the_same_file(folder: ArchiveFolder) -> None:
    assert put(folder, b"same") != put(folder, b"same", "b2")


def test_putting_again_takes_the_place(folder: ArchiveFolder) -> None:
    old = put(folder, b"old")
    new = put(folder, b"new")
    assert read(folder, new) == b"new"
    with pytest.raises(Refused) as caught:
        read(folder, old)
    assert caught.value.code == "archive_altered"


def _swap(content: bytes) -> bytes:
    start = len(content) - 2 * (CHUNK_BYTES + 16) - 16 - 7
    one, two = start + CHUNK_BYTES + 16, start + 2 * (CHUNK_BYTES + 16)
    return content[:start] + content[one:two] + content[start:one] + content[two:]


ALTERED: Final[dict[str, Callable[[bytes], bytes]]] = {
    "nothing left": lambda _: b"",
    "another mark": lambda content: b"x" + content[1:],
    "another key": lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:],
    "a byte of a chunk": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "the last byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "the last chunk cut off": lambda content: content[: -(7 + 16)],
    "one byte more": lambda content: content + b"x",
    "two chunks swapped": _swap,
}


@pytest.mark.parametrize("way", ALTERED)
def test_an_altered_file_is_refused_by_its_digest_and_by_its_seal(
    folder: ArchiveFolder, root: Path, way: str
) -> None:
    digest = put(folder, os.urandom(2 * CHUNK_BYTES + 7))
    path = root / "acme" / "b1.archive"
    altered = ALTERED[way](path.read_bytes())
    path.write_bytes(altered)
    # With the digest of what lies there, only the seal is left to tell.
    for said in (digest, hashlib.sha256(altered).hexdigest()):
        with pytest.raises(Refused) as caught:
            read(folder, said)
        assert caught.value.code == "archive_altered"


def test_an_archive_opens_only_under_its_own_name_and_key(
    folder: ArchiveFolder, root: Path
) -> None:
    digest = put(folder, b"mine")
    (root / "other").mkdir()
    content = (root / "acme" / "b1.archive").read_bytes()
    (root / "other" / "b1.archive").write_bytes(content)
    (root / "acme" / "b2.archive").write_bytes(content)
    stranger = ArchiveFolder(root, PUBLIC, new_keypair()[0])
    deeds: list[Callable[[], bytes]] = [
        lambda: read(folder, digest, tenant="other"),
        lambda: read(folder, digest, backup="b2"),
        lambda: read(stranger, digest),
    ]
    for deed in deeds:
        with pytest.raises(Refused) as caught:
            deed()
        assert caught.value.code == "archive_altered"


def test_a_writer_who_fails_leaves_what_was_there(folder: ArchiveFolder, root: Path) -> None:
    digest = put(folder, b"old")

    def fail(target: IO[bytes]) -> None:
        target.write(b"x" * 2 * CHUNK_BYTES)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        folder.put("acme", "b1", fail)
    assert read(folder, digest) == b"old"
    assert [path.name for path in (root / "acme").iterdir()] == ["b1.archive"]


def test_a_killed_writer_leaves_nothing_that_counts_and_the_next_sweeps_it(
    folder: ArchiveFolder, root: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), PUBLIC.hex()],
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()
    assert not (root / "acme" / "b1.archive").exists()
    assert len(list((root / "acme").iterdir())) == 1
    with pytest.raises(Refused) as caught:
        read(folder, "0" * 64)
    assert caught.value.code == "archive_missing"
    assert read(folder, put(folder, b"again")) == b"again"
    assert [path.name for path in (root / "acme").iterdir()] == ["b1.archive"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, Failed, "disk_full"),
        (errno.EDQUOT, Failed, "disk_full"),
        (errno.EIO, Unavailable, "archive_unavailable"),
    ],
)
def test_a_disk_that_takes_no_more_is_told(
    folder: ArchiveFolder,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[PaybillError],
    code: str,
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, "no")

    put(folder, b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind) as caught:
        put(folder, b"new")
    assert caught.value.code == code
    assert [path.name for path in (root / "acme").iterdir()] == ["b1.archive"]


def test_a_folder_that_is_gone_is_told(folder: ArchiveFolder, root: Path) -> None:
    root.rmdir()
    with pytest.raises(Unavailable) as caught:
        put(folder, b"new")
    assert caught.value.code == "archive_unavailable"


def test_dropping_is_for_good_and_may_be_done_again(folder: ArchiveFolder, root: Path) -> None:
    digest, other = put(folder, b"one"), put(folder, b"two", "b2")
    folder.drop("acme", "b1")
    folder.drop("acme", "b1")
    with pytest.raises(Refused):
        read(folder, digest)
    assert read(folder, other, "b2") == b"two"
    folder.drop("acme", "b2")
    folder.drop("acme", "b2")
    assert not list(root.iterdir())


@pytest.mark.parametrize(("tenant", "backup"), [("../x", "b1"), ("acme", "../b"), ("acme", "")])
def test_what_is_no_name_is_refused(folder: ArchiveFolder, tenant: str, backup: str) -> None:
    deeds: list[Callable[[], object]] = [
        lambda: folder.put(tenant, backup, lambda _target: None),
        lambda: read(folder, "0" * 64, backup, tenant),
        lambda: folder.drop(tenant, backup),
    ]
    for deed in deeds:
        with pytest.raises(BadInput):
            deed()


def test_a_large_archive_takes_little_memory(folder: ArchiveFolder) -> None:
    block = bytes(CHUNK_BYTES)

    def write(target: IO[bytes]) -> None:
        for _ in range(24):
            target.write(block)

    tracemalloc.start()
    try:
        kept = folder.put("acme", "b1", write)
        with folder.open("acme", "b1", kept.digest) as source:
            while source.read(65_536):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * CHUNK_BYTES
