"""The folder of archives: whole or not there, sealed, and those of before open still. Not what is refused: see test_manifests.py."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

import pytest

from control_plane.databases.archive_chunks import CHUNK_BYTES
from control_plane.domain.canonical import Json
from control_plane.errors import BadInput, Failed, PaybillError, Refused, Unavailable
from tests.support.sealing import TABLES, UNTIL, ArchiveBench, facts, put_before

CHECKOUT = Path(__file__).parents[3]
SIZES: Final = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
CHILD = """
import sys, threading
from pathlib import Path
from tests.support.sealing import ArchiveBench, facts

def write(target):
    target.write(b"x" * 3_000_000)
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    threading.Event().wait(60)

ArchiveBench(Path(sys.argv[1])).folder.put(facts(), write)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def bench(root: Path) -> ArchiveBench:
    return ArchiveBench(root)


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read_and_the_digest_is_that_of_the_file(
    bench: ArchiveBench, size: int
) -> None:
    content = os.urandom(size)
    kept = bench.put(content)
    stored = bench.archive().read_bytes()
    assert kept.archive_digest == hashlib.sha256(stored).hexdigest()
    assert kept.archive_bytes == len(stored)
    assert bench.read(kept.archive_digest) == content
    with bench.folder.open("acme", "b1", kept.archive_digest) as source:
        assert b"".join(iter(lambda: source.readline(50_000), b"")) == content


@pytest.mark.parametrize("size", SIZES)
def test_an_archive_of_before_opens_still(bench: ArchiveBench, root: Path, size: int) -> None:
    content = os.urandom(size)
    digest = put_before(root, content)
    assert bench.read(digest) == content
    assert [(one.backup_id, one.code) for one in bench.folder.manifests()] == [
        ("b1", "manifest_missing")
    ]


def test_files_are_for_their_owner_alone_and_say_nothing_of_rows(bench: ArchiveBench) -> None:
    bench.put(b"Ada Lovelace" * 1_000)
    assert bench.archive().parent.stat().st_mode & 0o777 == 0o700
    for path in (bench.archive(), bench.manifest()):
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"Ada" not in path.read_bytes()


def test_the_same_content_is_never_the_same_file(bench: ArchiveBench) -> None:
    assert bench.put(b"same").archive_digest != bench.put(b"same", "b2").archive_digest


def test_putting_again_takes_the_place(bench: ArchiveBench) -> None:
    old = bench.put(b"old")
    new = bench.put(b"new")
    assert bench.read(new.archive_digest) == b"new"
    with pytest.raises(Refused) as caught:
        bench.read(old.archive_digest)
    assert caught.value.code == "manifest_differs"


def test_a_manifest_says_all_that_finds_an_archive_again(bench: ArchiveBench) -> None:
    first, second = bench.put(b"one"), bench.put(b"two", "b2", "globex", isolation="silo")
    stranger = ArchiveBench(bench.root, bench.keys, bench.seed)
    found = stranger.folder.manifests()
    assert [one.manifest for one in found] == [first, second]
    assert first.tables["contacts"].rows == 2
    contents = [
        stranger.read(one.archive_digest, one.backup_id, one.tenant) for one in (first, second)
    ]
    assert contents == [b"one", b"two"]


def test_how_long_it_is_kept_stands_on_the_archive_and_can_be_made_longer(
    bench: ArchiveBench,
) -> None:
    made = bench.put(b"kept")
    assert made.restorable_until == UNTIL
    later = UNTIL.replace("2030", "2031")
    longer = bench.folder.prolong("acme", "b1", later)
    assert longer == made.model_copy(update={"restorable_until": later})
    assert bench.folder.prolong("acme", "b1", later) == longer
    assert [one.manifest for one in bench.folder.manifests()] == [longer]
    assert bench.read(made.archive_digest) == b"kept"


def test_a_rotated_key_seals_what_comes_and_opens_what_was(bench: ArchiveBench) -> None:
    old = bench.put(b"old")
    bench.keys.rotate("acme")
    new = bench.put(b"new", "b2")
    assert (old.key_version, new.key_version) == (1, 2)
    assert bench.read(old.archive_digest) == b"old"
    assert bench.read(new.archive_digest, "b2") == b"new"


def test_a_file_aside_is_private_and_gone_at_the_end(bench: ArchiveBench) -> None:
    with bench.folder.aside("acme") as path:
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_bytes(b"for a while")
    assert list(bench.root.rglob("*.writing")) == []
    # What a killed one left goes with the next archive.
    path.write_bytes(b"left behind")
    bench.put(b"kept")
    assert sorted(one.name for one in path.parent.iterdir()) == ["b1.archive", "b1.json"]


def test_a_writer_who_fails_leaves_what_was_there(bench: ArchiveBench) -> None:
    digest = bench.put(b"old").archive_digest

    def fail(target: IO[bytes]) -> Mapping[str, Json]:
        target.write(b"x" * 2 * CHUNK_BYTES)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.folder.put(facts(), fail)
    assert bench.read(digest) == b"old"
    assert names(bench) == ["b1.archive", "b1.json"]


@pytest.mark.long
def test_a_killed_writer_leaves_nothing_that_counts_and_the_next_sweeps_it(
    bench: ArchiveBench, root: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root)],
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
        bench.read("0" * 64)
    assert caught.value.code == "archive_missing"
    assert bench.read(bench.put(b"again").archive_digest) == b"again"
    assert names(bench) == ["b1.archive", "b1.json"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, Failed, "disk_full"),
        (errno.EDQUOT, Failed, "disk_full"),
        (errno.EIO, Unavailable, "archive_unavailable"),
    ],
)
def test_a_disk_that_takes_no_more_is_told(
    bench: ArchiveBench,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[PaybillError],
    code: str,
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, "no")

    bench.put(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind) as caught:
        bench.put(b"new")
    assert caught.value.code == code
    assert names(bench) == ["b1.archive", "b1.json"]


def test_a_folder_that_is_gone_is_told(bench: ArchiveBench, root: Path) -> None:
    root.rmdir()
    with pytest.raises(Unavailable) as caught:
        bench.put(b"new")
    assert caught.value.code == "archive_unavailable"


def test_dropping_is_for_good_and_may_be_done_again(bench: ArchiveBench) -> None:
    one, two = bench.put(b"one"), bench.put(b"two", "b2")
    for _ in range(2):
        bench.folder.drop("acme", "b1")
    with pytest.raises(Refused) as caught:
        bench.read(one.archive_digest)
    assert caught.value.code == "archive_missing"
    assert bench.read(two.archive_digest, "b2") == b"two"
    for _ in range(2):
        bench.folder.drop("acme", "b2")
    assert not list(bench.root.iterdir())


@pytest.mark.parametrize(("tenant", "backup"), [("../x", "b1"), ("acme", "../b"), ("acme", "")])
def test_what_is_no_name_is_refused(bench: ArchiveBench, tenant: str, backup: str) -> None:
    named = facts().model_copy(update={"tenant": tenant, "backup_id": backup})
    deeds: list[Callable[[], object]] = [
        lambda: bench.folder.put(named, lambda _target: TABLES),
        lambda: bench.read("0" * 64, backup, tenant),
        lambda: bench.folder.prolong(tenant, backup, UNTIL),
        lambda: bench.folder.drop(tenant, backup),
    ]
    for deed in deeds:
        with pytest.raises(BadInput):
            deed()


def test_a_large_archive_takes_little_memory(bench: ArchiveBench) -> None:
    block = bytes(CHUNK_BYTES)

    def write(target: IO[bytes]) -> Mapping[str, Json]:
        for _ in range(24):
            target.write(block)
        return TABLES

    tracemalloc.start()
    try:
        kept = bench.folder.put(facts(), write)
        with bench.folder.open("acme", "b1", kept.archive_digest) as source:
            while source.read(65_536):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * CHUNK_BYTES


def names(bench: ArchiveBench) -> list[str]:
    return sorted(path.name for path in (bench.root / "acme").iterdir())
