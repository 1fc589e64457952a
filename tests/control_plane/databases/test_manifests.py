"""What is no longer as it was put is refused, each way by its own code: archive, manifest, key, signature. Not the folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.databases.archive_chunks import CHUNK_BYTES, TAG_BYTES
from control_plane.databases.archives import ArchiveFolder
from control_plane.domain.canonical import canonical
from control_plane.errors import PaybillError
from tests.support.sealing import ArchiveBench, MemoryKeys, code_of, put_before

REST: Final = 7
MARK_BYTES: Final = 18
SEALED_BYTES: Final = CHUNK_BYTES + TAG_BYTES
CONTENT: Final = os.urandom(2 * CHUNK_BYTES + REST)
# Of each region of an archive, where it begins and ends.
REGIONS: Final[dict[str, tuple[int, int]]] = {
    "mark": (0, MARK_BYTES),
    "first chunk": (MARK_BYTES, MARK_BYTES + CHUNK_BYTES),
    "first tag": (MARK_BYTES + CHUNK_BYTES, MARK_BYTES + SEALED_BYTES),
    "second chunk": (MARK_BYTES + SEALED_BYTES, MARK_BYTES + 2 * SEALED_BYTES - TAG_BYTES),
    "second tag": (MARK_BYTES + 2 * SEALED_BYTES - TAG_BYTES, MARK_BYTES + 2 * SEALED_BYTES),
    "last chunk": (MARK_BYTES + 2 * SEALED_BYTES, MARK_BYTES + 2 * SEALED_BYTES + REST),
    "last tag": (
        MARK_BYTES + 2 * SEALED_BYTES + REST,
        MARK_BYTES + 2 * SEALED_BYTES + REST + TAG_BYTES,
    ),
}
CUTS: Final = (0, 1, MARK_BYTES, MARK_BYTES + SEALED_BYTES, MARK_BYTES + 2 * SEALED_BYTES, -1)
ANY: Final = (HealthCheck.function_scoped_fixture,)


@pytest.fixture
def bench(tmp_path: Path) -> ArchiveBench:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return ArchiveBench(folder)


def flipped(content: bytes, place: int, bit: int = 0) -> bytes:
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def told(bench: ArchiveBench, digest: str, content: bytes) -> tuple[str, str]:
    """The codes under the digest of what was put, and of what lies there now."""
    bench.archive().write_bytes(content)
    lies = hashlib.sha256(content).hexdigest()
    return code_of(lambda: bench.read(digest)), code_of(lambda: bench.read(lies))


# The archive ---------------------------------------------------------------------------------


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_flipped_byte_in_any_region_of_an_archive_is_refused(
    bench: ArchiveBench, region: str, part: float
) -> None:
    digest = bench.put(CONTENT).archive_digest
    start, end = REGIONS[region]
    place = start + int(part * (end - 1 - start))
    changed = flipped(bench.archive().read_bytes(), place)
    assert told(bench, digest, changed) == ("archive_altered", "manifest_differs")
    # Past every digest there is the seal of each chunk.
    sealed = "" if region == "mark" else "archive_altered"
    assert code_of(lambda: unsealed(bench, changed)) == sealed


def test_the_regions_are_the_whole_archive(bench: ArchiveBench) -> None:
    bench.put(CONTENT)
    ends = [end for _, end in REGIONS.values()]
    assert [start for start, _ in REGIONS.values()] == [0, *ends[:-1]]
    assert ends[-1] == len(bench.archive().read_bytes())


def unsealed(bench: ArchiveBench, content: bytes) -> bytes:
    """The archive opened by its chunks alone, as if nobody had looked at a digest."""
    from control_plane.databases.archive_chunks import SealedReader

    signed = bench.signer.read(bench.manifest().read_bytes())
    key = signed.open_key(bench.keys.current("acme"))
    left = bytearray(content[MARK_BYTES:])

    def read(count: int) -> bytes:
        part = bytes(left[:count])
        del left[:count]
        return part

    return SealedReader(read, key).readall()


@settings(max_examples=40, deadline=None, suppress_health_check=ANY)
@given(data=st.data())
def test_no_flip_anywhere_in_an_archive_gives_anything(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bench = ArchiveBench(tmp_path_factory.mktemp("flips"))
    content = data.draw(st.binary(max_size=300))
    digest = bench.put(content).archive_digest
    good = bench.archive().read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    bench.archive().write_bytes(flipped(good, place, bit))
    assert code_of(lambda: bench.read(digest)) == "archive_altered"


@pytest.mark.parametrize("cut", CUTS)
def test_an_archive_that_is_cut_off_is_told_from_an_altered_one(
    bench: ArchiveBench, cut: int
) -> None:
    digest = bench.put(CONTENT).archive_digest
    good = bench.archive().read_bytes()
    assert told(bench, digest, good[:cut]) == ("archive_truncated", "manifest_differs")
    assert cut in (0, 1) or code_of(lambda: unsealed(bench, good[:cut])) == "archive_altered"


def _swapped(good: bytes) -> bytes:
    one, two = MARK_BYTES + SEALED_BYTES, MARK_BYTES + 2 * SEALED_BYTES
    return good[:MARK_BYTES] + good[one:two] + good[MARK_BYTES:one] + good[two:]


WAYS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "swapped": _swapped,
    "a byte": lambda good: good + b"x",
    "a tag": lambda good: good + bytes(16),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=[*WAYS])
def test_chunks_are_neither_moved_nor_added(
    bench: ArchiveBench, way: Callable[[bytes], bytes]
) -> None:
    digest = bench.put(CONTENT).archive_digest
    changed = way(bench.archive().read_bytes())
    assert told(bench, digest, changed) == ("archive_altered", "manifest_differs")
    assert code_of(lambda: unsealed(bench, changed)) == "archive_altered"


@pytest.mark.parametrize("place", [0, 17, 20, 60, 120, -1])
def test_an_altered_archive_of_before_is_refused(bench: ArchiveBench, place: int) -> None:
    digest = put_before(bench.root, b"as it was")
    good = bench.archive().read_bytes()
    changed = flipped(good, place % len(good))
    expected = "manifest_missing" if 0 <= place < MARK_BYTES else "archive_altered"
    bench.archive().write_bytes(changed)
    assert code_of(lambda: bench.read(digest)) == expected
    assert code_of(lambda: bench.read(hashlib.sha256(changed).hexdigest())) == expected


# The manifest --------------------------------------------------------------------------------


def test_a_flipped_bit_in_any_byte_of_a_manifest_is_refused(bench: ArchiveBench) -> None:
    digest = bench.put(b"kept").archive_digest
    good = bench.manifest().read_bytes()
    codes: set[str] = set()
    for place in range(len(good)):
        bench.manifest().write_bytes(flipped(good, place, place % 8))
        codes.add(code_of(lambda: bench.read(digest)))
    assert codes == {"manifest_unreadable", "manifest_forged"}


@settings(max_examples=60, deadline=None, suppress_health_check=ANY)
@given(data=st.data())
def test_no_other_bytes_pass_for_a_manifest(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bench = ArchiveBench(tmp_path_factory.mktemp("bytes"))
    bench.put(b"kept")
    good = bench.manifest().read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    changed = good[:start] + data.draw(st.binary(max_size=40)) + good[end:]
    if changed != good:
        refused = code_of(lambda: bench.signer.read(changed))
        assert refused in ("manifest_unreadable", "manifest_forged")


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -2])
def test_a_manifest_that_is_cut_off_is_refused(bench: ArchiveBench, cut: int) -> None:
    digest = bench.put(b"kept").archive_digest
    bench.manifest().write_bytes(bench.manifest().read_bytes()[:cut])
    assert code_of(lambda: bench.read(digest)) == "manifest_unreadable"
    assert [one.code for one in bench.folder.manifests()] == ["manifest_unreadable"]


def test_an_archive_without_its_manifest_does_not_open(bench: ArchiveBench) -> None:
    digest = bench.put(b"kept").archive_digest
    bench.manifest().unlink()
    assert code_of(lambda: bench.read(digest)) == "manifest_missing"


CHANGED: Final[dict[str, Any]] = {
    "workspace": "w-2",
    "tenant": "globex",
    "backup_id": "b2",
    "made_at": "2031-01-01T09:00:00.000000Z",
    "kind": "sqlite",
    "isolation": "silo",
    "server": "other",
    "engine": "postgresql",
    "schema_digest": "e" * 64,
    "catalog_digest": "e" * 64,
    "restorable_until": "2031-01-01T09:00:00.000000Z",
    "tables": {"contacts": {"rows": 3, "checksum": "a" * 64}},
    "archive_digest": "e" * 64,
    "archive_bytes": 1,
    "key_id": "k",
    "key_version": 2,
}


@pytest.mark.parametrize("name", CHANGED)
def test_whatever_a_manifest_says_is_signed(bench: ArchiveBench, name: str) -> None:
    bench.put(b"kept")
    told = json.loads(bench.manifest().read_bytes())
    assert told["manifest"][name] != CHANGED[name]
    told["manifest"][name] = CHANGED[name]
    changed = canonical(told) + b"\n"
    assert code_of(lambda: bench.signer.read(changed)) == "manifest_forged"


def test_every_field_of_a_manifest_was_tried(bench: ArchiveBench) -> None:
    bench.put(b"kept")
    assert {*json.loads(bench.manifest().read_bytes())["manifest"]} == {*CHANGED, "format"}


def test_another_workers_signature_is_none(bench: ArchiveBench) -> None:
    digest = bench.put(b"kept").archive_digest
    forger = ArchiveBench(bench.root, bench.keys)
    signed = bench.signer.read(bench.manifest().read_bytes())
    data_key = bench.keys.current("acme")
    forged = forger.signer.written(signed.manifest, signed.open_key(data_key), data_key)
    bench.manifest().write_bytes(forged)
    assert code_of(lambda: bench.read(digest)) == "manifest_forged"
    # Nor is his signature under the name of ours.
    told = json.loads(forged)
    told["signed_by"] = json.loads(bench.signer.written(signed.manifest, b"x" * 32, data_key))[
        "signed_by"
    ]
    bench.manifest().write_bytes(canonical(told) + b"\n")
    assert code_of(lambda: bench.read(digest)) == "manifest_forged"


# The one that belongs to another -------------------------------------------------------------


def test_a_manifest_of_another_archive_is_refused(bench: ArchiveBench) -> None:
    mine, other = bench.put(b"mine"), bench.put(b"other", "b2")
    bench.manifest().write_bytes(bench.manifest("b2").read_bytes())
    assert code_of(lambda: bench.read(mine.archive_digest)) == "manifest_differs"
    # Nor do both together pass for another backup.
    bench.archive().write_bytes(bench.archive("b2").read_bytes())
    assert code_of(lambda: bench.read(other.archive_digest)) == "manifest_differs"


def test_an_earlier_manifest_of_the_same_backup_is_refused(bench: ArchiveBench) -> None:
    bench.put(b"old")
    earlier = bench.manifest().read_bytes()
    digest = bench.put(b"new").archive_digest
    bench.manifest().write_bytes(earlier)
    assert code_of(lambda: bench.read(digest)) == "manifest_differs"


def test_another_tenants_manifest_and_archive_are_refused(bench: ArchiveBench) -> None:
    digest = bench.put(b"theirs", tenant="globex").archive_digest
    bench.put(b"mine")
    for name in ("archive", "manifest"):
        theirs: Path = getattr(bench, name)(tenant="globex")
        mine: Path = getattr(bench, name)()
        mine.write_bytes(theirs.read_bytes())
    assert code_of(lambda: bench.read(digest)) == "manifest_differs"


def test_another_workspaces_manifest_is_refused(bench: ArchiveBench) -> None:
    digest = bench.put(b"kept").archive_digest
    elsewhere = ArchiveFolder(bench.root, bench.sealing("w-2"))

    def read() -> None:
        with elsewhere.open("acme", "b1", digest) as source:
            source.read()

    assert code_of(read) == "manifest_differs"


# The key -------------------------------------------------------------------------------------


def _another(keys: MemoryKeys) -> None:
    known = keys.current("acme")
    keys.rotate("globex")
    theirs = keys.current("globex")
    keys.every["acme"] = [type(known)(known.id, known.version, theirs.content)]


def _renamed(keys: MemoryKeys) -> None:
    known = keys.current("acme")
    keys.every["acme"] = [type(known)("other", known.version, known.content)]


KEYLESS: Final[dict[str, tuple[Callable[[MemoryKeys], None], str]]] = {
    "another": (_another, "archive_key_refused"),
    "renamed": (_renamed, "key_missing"),
    "lost": (lambda keys: keys.every.clear(), "key_missing"),
    "shredded": (lambda keys: keys.shred("acme"), "key_shredded"),
}


@pytest.mark.parametrize(("way", "code"), KEYLESS.values(), ids=[*KEYLESS])
def test_without_its_own_key_an_archive_does_not_open(
    bench: ArchiveBench, way: Callable[[MemoryKeys], None], code: str
) -> None:
    digest = bench.put(b"kept").archive_digest
    way(bench.keys)
    assert code_of(lambda: bench.read(digest)) == code
    # What is told of it needs no key.
    assert [one.code for one in bench.folder.manifests()] == [None]
    assert code_of(lambda: bench.folder.prolong("acme", "b1", CHANGED["made_at"])) == code


def test_after_a_shredding_nothing_new_is_sealed(bench: ArchiveBench) -> None:
    bench.put(b"kept")
    bench.keys.shred("acme")
    with pytest.raises(PaybillError) as caught:
        bench.put(b"more", "b2")
    assert caught.value.code == "key_shredded"
    assert not bench.archive("b2").exists()
