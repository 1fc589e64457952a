"""Tenants' data keys: made once, rotated, wrapped anew, shredded for good, and found again by their copies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete, select, update

from control_plane.audit.recorder import LeafRecorder
from control_plane.errors import Refused
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from control_plane.secrets.data_keys import OpenKey
from control_plane.secrets.file_kek import FileKek
from control_plane.secrets.key_copies import KeyCopies
from control_plane.secrets.key_encryption import KeyEncryption, KeyRing
from control_plane.store import tables
from control_plane.store.data_keys import StoredDataKeys
from control_plane.store.database_tables import data_key
from control_plane.store.postgres import PostgresStore
from control_plane.store.sqlite import SqliteStore
from server.ids import RandomIds
from tests.support.migrated import SCHEMA, migrated_postgres
from tests.support.sealing import code_of

PRIVATE, PUBLIC = new_keypair()
NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
WORKSPACE: Final = "w-1"


class Standing:
    def now(self) -> datetime:
        return NOW


def kek() -> FileKek:
    private, public = new_keypair()
    return FileKek(public, private)


OLD, NEW = kek(), kek()


class Bench:
    """Data keys over one store and one folder of copies, under a ring that may be exchanged."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.copies = KeyCopies(folder)
        self.folder = folder

    def under(self, *ring: KeyEncryption, workspace: str = WORKSPACE) -> StoredDataKeys:
        clock, ids = Standing(), RandomIds()
        recorder = LeafRecorder(PUBLIC, clock, ids)
        wraps = KeyRing(ring[0], ring[1:])
        cut_log = self.store.cut_log if isinstance(self.store, SqliteStore) else bool
        return StoredDataKeys(
            self.store, recorder, clock, ids, wraps, self.copies, workspace, cut_log
        )

    def leaves(self) -> list[str]:
        table = tables.audit_leaf
        with self.store.read() as connection:
            return list(
                connection.execute(select(table.c.kind).order_by(table.c.written)).scalars()
            )

    def wrapped(self) -> list[bytes]:
        with self.store.read() as connection:
            return list(connection.execute(select(data_key.c.wrapped)).scalars())

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []


@pytest.fixture(params=["sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """On each engine of the store."""
    folder = tmp_path / "keys"
    if request.param == "sqlite":
        yield Bench(request.getfixturevalue("store"), folder)
        return
    with (
        migrated_postgres(request.getfixturevalue("postgres")) as url,
        closing(PostgresStore(url, schema=SCHEMA, lock_ms_max=2_000)) as store,
    ):
        yield Bench(store, folder)


@pytest.fixture
def in_files(store: SqliteStore, tmp_path: Path) -> Bench:
    """Where every file can be looked into."""
    return Bench(store, tmp_path / "keys")


def opened(keys: StoredDataKeys, key: OpenKey, tenant: str = "acme") -> bytes:
    return keys.of_version(tenant, key.version, key.id).content


def shred(bench: Bench, keys: StoredDataKeys, tenant: str = "acme") -> tuple[str, ...]:
    with bench.store.write(tenant) as connection:
        gone = keys.shred(connection, tenant)
    keys.settle()
    return gone


def test_a_key_is_made_once_and_is_each_tenants_own(bench: Bench) -> None:
    keys = bench.under(OLD)
    first = keys.current("acme")
    assert (first.version, len(first.content)) == (1, 32)
    assert keys.current("acme") == first == bench.under(OLD).current("acme")
    assert keys.current("globex").content != first.content
    assert opened(keys, first) == first.content
    assert bench.leaves() == ["data_key.made"] * 2
    assert bench.names() == ["acme.1.json", "globex.1.json"]


def test_the_key_itself_stands_nowhere(in_files: Bench, tmp_path: Path) -> None:
    content = in_files.under(OLD).current("acme").content
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 1
    for path in files:
        held = path.read_bytes()
        assert content not in held
        assert content.hex().encode() not in held


def test_copies_are_for_their_owner_alone(bench: Bench) -> None:
    bench.under(OLD).current("acme")
    assert bench.folder.stat().st_mode & 0o777 == 0o700
    assert (bench.folder / "acme.1.json").stat().st_mode & 0o777 == 0o600


def test_two_who_make_the_first_key_at_once_have_the_same(bench: Bench) -> None:
    found: list[OpenKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(bench.under(OLD).current("acme")))
        for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert len(found) == 4
    assert len({one.content for one in found}) == 1
    assert len(bench.wrapped()) == 1


def test_a_rotated_key_is_the_one_from_now_on_and_the_older_opens_still(bench: Bench) -> None:
    keys = bench.under(OLD)
    first = keys.current("acme")
    assert keys.rotate("acme").version == 2
    second = keys.current("acme")
    assert second.version == 2
    assert second.content != first.content
    assert opened(keys, first) == first.content
    assert [one.version for one in keys.kept("acme")] == [1, 2]
    assert bench.names() == ["acme.1.json", "acme.2.json"]


def test_keys_are_wrapped_anew_and_the_old_one_is_needed_no_more(bench: Bench) -> None:
    before = bench.under(OLD)
    made = {tenant: before.current(tenant) for tenant in ("acme", "globex")}
    assert bench.under(NEW, OLD).rewrap() == 2
    assert bench.under(NEW, OLD).rewrap() == 0
    after = bench.under(NEW)
    assert {tenant: after.current(tenant) for tenant in made} == made
    assert {one.wrapped.kek for one in after.kept() if one.wrapped} == {NEW.reference}
    assert code_of(lambda: before.current("acme")) == "kek_unknown"
    assert bench.leaves()[-2:] == ["data_key.rewrapped"] * 2
    # So are the copies.
    with bench.store.write() as connection:
        connection.execute(delete(data_key))
    assert opened(after, made["acme"]) == made["acme"].content


def test_without_the_key_that_wrapped_them_nothing_is_wrapped_anew(bench: Bench) -> None:
    bench.under(OLD).current("acme")
    before = bench.wrapped()
    assert code_of(lambda: bench.under(NEW).rewrap()) == "kek_unknown"
    assert bench.wrapped() == before


def test_a_shredded_key_is_a_tombstone(bench: Bench) -> None:
    keys = bench.under(OLD)
    first = keys.current("acme")
    keys.rotate("acme")
    other = keys.current("globex")
    gone = shred(bench, keys)
    assert [one.id for one in keys.kept("acme")] == [*gone]
    assert all(one.wrapped is None and one.shredded_at for one in keys.kept("acme"))
    for deed in (
        lambda: keys.current("acme"),
        lambda: opened(keys, first),
        lambda: keys.rotate("acme"),
    ):
        assert code_of(deed) == "key_shredded"
    assert shred(bench, keys) == ()
    assert bench.leaves()[-1] == "data_key.shredded"
    assert bench.leaves().count("data_key.shredded") == 1
    assert opened(keys, other, "globex") == other.content
    assert bench.names() == ["globex.1.json"]
    assert bench.under(NEW, OLD).rewrap() == 1


def test_of_a_shredded_key_nothing_is_left_in_any_file(in_files: Bench, tmp_path: Path) -> None:
    keys = in_files.under(OLD)
    keys.current("acme")
    assert in_files.under(NEW, OLD).rewrap() == 1
    keys = in_files.under(NEW, OLD)
    keys.rotate("acme")
    wrapped = in_files.wrapped()
    assert any(_found(tmp_path, one) for one in wrapped)
    shred(in_files, keys)
    assert [path.name for one in wrapped for path in _found(tmp_path, one)] == []


def _found(folder: Path, content: bytes) -> list[Path]:
    needles = (content[:64], content[:64].hex().encode())
    held = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [path for path, it in held.items() if any(needle in it for needle in needles)]


def test_a_shredding_that_was_cut_off_is_finished_by_the_next(bench: Bench) -> None:
    keys = bench.under(OLD)
    keys.current("acme")
    with bench.store.write("acme") as connection:
        keys.shred(connection, "acme")
    assert bench.names() == ["acme.1.json"]
    # The copy does not count as long as the row stands.
    assert code_of(lambda: keys.current("acme")) == "key_shredded"
    keys.settle()
    assert bench.names() == []


def test_where_the_store_is_lost_the_copies_are_the_keys(bench: Bench) -> None:
    keys = bench.under(OLD)
    first = keys.current("acme")
    keys.rotate("acme")
    second = keys.current("acme")
    with bench.store.write() as connection:
        connection.execute(delete(data_key))
    assert opened(keys, first) == first.content
    # A new backup does not begin anew: the copies would be overwritten.
    assert keys.current("acme") == second
    assert [one.version for one in keys.kept("acme")] == [1, 2]
    assert bench.leaves()[-2:] == ["data_key.adopted"] * 2


def test_a_copy_that_was_altered_opens_nothing(bench: Bench) -> None:
    keys = bench.under(OLD)
    first = keys.current("acme")
    with bench.store.write() as connection:
        connection.execute(delete(data_key))
    path = bench.folder / "acme.1.json"
    good = path.read_bytes()
    codes: set[str] = set()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            assert opened(keys, first) == first.content
        except Refused as error:
            codes.add(error.code)
    assert codes == {"key_missing", "kek_refused", "kek_unknown"}
    path.write_bytes(good.replace(b'"acme"', b'"acmf"'))
    assert code_of(lambda: opened(keys, first)) == "key_missing"


def _exchanged(bench: Bench) -> None:
    theirs = data_key.c.tenant == "globex"
    with bench.store.write() as connection:
        wrapped = connection.execute(select(data_key.c.wrapped).where(theirs)).scalar_one()
        connection.execute(update(data_key).where(~theirs).values(wrapped=wrapped))


def _of_another_version(bench: Bench) -> None:
    with bench.store.write() as connection:
        connection.execute(update(data_key).where(data_key.c.tenant == "acme").values(version=2))


@pytest.mark.parametrize("way", [_exchanged, _of_another_version])
def test_a_wrapped_key_in_anothers_place_is_refused(
    bench: Bench, way: Callable[[Bench], None]
) -> None:
    keys = bench.under(OLD)
    keys.current("acme")
    keys.current("globex")
    way(bench)
    assert code_of(lambda: keys.current("acme")) == "kek_refused"


def test_another_workspaces_key_is_refused(bench: Bench) -> None:
    bench.under(OLD).current("acme")
    elsewhere = bench.under(OLD, workspace="w-2")
    assert code_of(lambda: elsewhere.current("acme")) == "kek_refused"


def test_no_other_version_and_no_other_id_opens(bench: Bench) -> None:
    keys = bench.under(OLD)
    first = keys.current("acme")
    for other in (replace(first, version=2), replace(first, id="other")):
        assert code_of(lambda one=other: opened(keys, one)) == "key_missing"  # type: ignore[misc]
    assert code_of(lambda: opened(keys, first, "globex")) == "key_missing"
