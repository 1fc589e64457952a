"""Tenants' data keys in our store: made, opened, rotated, wrapped anew, shredded. Not the archives they seal.

A key is wrapped before its transaction begins: who wraps may be a program that takes seconds.
Whatever changes a row writes a leaf beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from secrets import token_bytes
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, insert, select, update

from control_plane.audit.recorder import guards_now
from control_plane.domain.canonical import Json, instant
from control_plane.errors import Refused
from control_plane.ports import Clock, Ids, Recorder, Store
from control_plane.secrets.data_keys import DataKey, OpenKey, key_context
from control_plane.secrets.key_copies import KeyCopies
from control_plane.secrets.key_encryption import DATA_KEY_BYTES, KeyRing, Wrapped
from control_plane.store.database_tables import data_key

TABLE: Final = data_key.name
_KEYS_MAX: Final = 100_000


class StoredDataKeys:
    """The adapter of DataKeys: a row a version, with a copy beside the workspace's keys.

    `workspace` is the workspace's id: a wrapped key opens in no other. `cut_log` takes what was
    overwritten out of a log that the store keeps of its writes, where it has one.
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        ids: Ids,
        ring: KeyRing,
        copies: KeyCopies,
        workspace: str,
        cut_log: Callable[[], object] = bool,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._ring = ring
        self._copies = copies
        self._workspace = workspace
        self._cut_log = cut_log

    @property
    def wraps(self) -> str:
        """Which key wraps from now on: its reference."""
        return self._ring.reference

    # Opened ----------------------------------------------------------------------------------

    def current(self, tenant: str) -> OpenKey:
        """The newest version, made where there is none."""
        newest = self._newest(tenant) or self._made(tenant, 1)
        opened = self._opened(newest)
        self._copies.put(newest)
        return opened

    def of_version(self, tenant: str, version: int, key_id: str) -> OpenKey:
        """One version; where the store knows no key of the tenant, by the copy of it."""
        with self._store.read() as connection:
            every = _of(connection, tenant)
        found = next((one for one in every if one.version == version), None)
        if not every:
            # The store was lost, or is another one: what counts is what lies beside the keys.
            found = self._copies.get(tenant, version)
        if found is None or found.id != key_id:
            raise Refused("The tenant has no such data key.", code="key_missing")
        return self._opened(found)

    def kept(self, tenant: str | None = None) -> list[DataKey]:
        """Every version of a tenant's keys, or of all tenants', tombstones among them."""
        with self._store.read() as connection:
            return _of(connection, tenant)

    # Changed ---------------------------------------------------------------------------------

    def rotate(self, tenant: str) -> DataKey:
        """A new version, for the backups from now on; those before stay as they are.

        Raises Refused (`key_shredded`), Unavailable (`kek_unavailable`).
        """
        newest = self._newest(tenant)
        if newest is not None and newest.wrapped is None:
            raise _shredded()
        made = self._made(tenant, 1 if newest is None else newest.version + 1)
        self._copies.put(made)
        return made

    def rewrap(self) -> int:
        """Wrap every key that is wrapped under another key than the present one anew; how many.

        Again does what is left. Raises as `KeyRing.unwrap` does: those before are done by then.
        """
        count = 0
        for one in self.kept():
            if one.wrapped is None or one.wrapped.kek == self._ring.reference:
                continue
            context = one.context(self._workspace)
            wrapped = self._ring.wrap(self._ring.unwrap(one.wrapped, context), context)
            count += self._replace(one, wrapped)
        return count

    def shred(self, connection: Connection, tenant: str) -> tuple[str, ...]:
        """Forget every version of a tenant's key, in the transaction that is given; their ids.

        Tombstones stay. `settle` is for afterwards, once it is committed.
        """
        living = [one.id for one in _of(connection, tenant) if one.wrapped is not None]
        if not living:
            return ()
        _leave_nothing(connection)
        named = tuple((TABLE, one) for one in living)
        found = tuple(guards_now(connection, named))
        now = instant(self._clock.now())
        gone = {"wrapped": None, "shredded_at": now}
        connection.execute(update(data_key).where(data_key.c.id.in_(living)).values(gone))
        payload: dict[str, Json] = {"tenant": tenant, "keys": [*living]}
        self._recorder.record(connection, "data_key.shredded", tenant, payload, named, found)
        return tuple(living)

    def settle(self) -> None:
        """Remove what is left of shredded keys outside of their rows; may be done at any time."""
        kept = self._copies.kept()
        if not kept:
            return
        dead = {one.tenant for one in self.kept() if one.wrapped is None} & kept.keys()
        if dead:
            self._cut_log()
        # Last: as long as there is a copy, the log is known to be not yet cut.
        for tenant in sorted(dead):
            self._copies.forget(tenant)

    # Within ----------------------------------------------------------------------------------

    def _newest(self, tenant: str) -> DataKey | None:
        """The newest version that is known, by the copies where the store was lost."""
        with self._store.read() as connection:
            every = _of(connection, tenant)
        if not every and tenant in self._copies.kept():
            every = self._adopted(tenant)
        return every[-1] if every else None

    def _adopted(self, tenant: str) -> list[DataKey]:
        # A new first version would take the place of the copy, and its archives would be lost.
        copies = [self._copies.get(tenant, one) for one in self._copies.kept()[tenant]]
        found = [one for one in copies if one is not None]
        with self._store.write(tenant) as connection:
            if not _of(connection, tenant):
                for one in found:
                    self._insert(connection, one, "data_key.adopted")
            return _of(connection, tenant)

    def _opened(self, key: DataKey) -> OpenKey:
        if key.wrapped is None:
            raise _shredded()
        content = self._ring.unwrap(key.wrapped, key.context(self._workspace))
        return OpenKey(key.id, key.version, content)

    def _made(self, tenant: str, version: int) -> DataKey:
        """A new version, or what somebody else has made of it in the meantime."""
        key_id = self._ids.new()
        context = key_context(self._workspace, tenant, version, key_id)
        wrapped = self._ring.wrap(token_bytes(DATA_KEY_BYTES), context)
        made = DataKey(key_id, tenant, version, wrapped, instant(self._clock.now()))
        with self._store.write(tenant) as connection:
            every = _of(connection, tenant)
            if every and every[-1].version >= version:
                return every[-1]
            self._insert(connection, made, "data_key.made")
        return made

    def _insert(self, connection: Connection, key: DataKey, leaf: str) -> None:
        assert key.wrapped is not None, "a key is wrapped before it is kept"
        values = {
            "id": key.id,
            "tenant": key.tenant,
            "version": key.version,
            "wrapped": key.wrapped.content,
            "kek": key.wrapped.kek,
            "made_at": key.made_at,
        }
        connection.execute(insert(data_key), values)
        told: dict[str, Json] = {"key_id": key.id, "version": key.version, "kek": key.wrapped.kek}
        self._recorder.record(connection, leaf, key.tenant, told, ((TABLE, key.id),))

    def _replace(self, key: DataKey, wrapped: Wrapped) -> int:
        assert key.wrapped is not None, "a tombstone is not wrapped anew"
        stands = (data_key.c.id == key.id) & (data_key.c.wrapped == key.wrapped.content)
        values = {"wrapped": wrapped.content, "kek": wrapped.kek}
        with self._store.write(key.tenant) as connection:
            _leave_nothing(connection)
            found = tuple(guards_now(connection, ((TABLE, key.id),)))
            # Shredded or wrapped anew in the meantime: then it is nobody's to put back.
            if not connection.execute(update(data_key).where(stands).values(values)).rowcount:
                return 0
            payload: dict[str, Json] = {"key_id": key.id, "kek": wrapped.kek}
            self._recorder.record(
                connection, "data_key.rewrapped", key.tenant, payload, ((TABLE, key.id),), found
            )
        self._copies.put(DataKey(key.id, key.tenant, key.version, wrapped, key.made_at))
        return 1


def _of(connection: Connection, tenant: str | None) -> list[DataKey]:
    wanted: Select[Any] = select(data_key).order_by(data_key.c.tenant, data_key.c.version)
    if tenant is not None:
        wanted = wanted.where(data_key.c.tenant == tenant)
    found: Sequence[Row[Any]] = connection.execute(wanted.limit(_KEYS_MAX)).all()
    return [_read(row) for row in found]


def _read(row: Row[Any]) -> DataKey:
    wrapped = None if row.wrapped is None else Wrapped(bytes(row.wrapped), row.kek)
    return DataKey(row.id, row.tenant, row.version, wrapped, row.made_at, row.shredded_at)


def _leave_nothing(connection: Connection) -> None:
    """See that what is overwritten does not go on standing in a free part of the file."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")


def _shredded() -> Refused:
    return Refused("The tenant's data key was shredded.", code="key_shredded")
