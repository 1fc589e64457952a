"""What an intruder with state, keys, log and catalog can do: rewrite rows, leaves and signatures. Not a test."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from control_plane.audit.checkpoint import Checkpoint, sign_note
from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import leaf_hash, parse_leaf
from control_plane.audit.recorder import guard
from control_plane.secrets import signer
from control_plane.secrets.key_file import save_seed
from server import keys
from server.workspace import Workspace
from tests.support.house import House

_LEAF = ("id", "kind", "tenant", "recorded_at", "commitment", "sealed_digest", "guards")


@contextmanager
def rows(house: House) -> Generator[sqlite3.Connection]:
    """The store's file, opened without any of our code; committed at the end."""
    with closing(sqlite3.connect(house.workspace.store_db)) as connection:
        yield connection
        connection.commit()


def alter(house: House, statement: str, *values: object) -> None:
    """Run one statement that changes at least one row."""
    with rows(house) as connection:
        assert connection.execute(statement, values).rowcount > 0, "the tamper must alter something"


def ask(house: House, statement: str, *values: object) -> Any:
    """The first column of the first row."""
    with rows(house) as connection:
        found = connection.execute(statement, values).fetchone()
    assert found is not None
    return found[0]


def cut_log(house: House, leaves: int) -> None:
    """Leave the oldest leaves and the checkpoints over them; nothing of what came later."""
    with rows(house) as connection:
        connection.execute("DELETE FROM audit_leaf WHERE position >= ?", (leaves,))
        connection.execute("DELETE FROM checkpoint WHERE size > ?", (leaves,))


def rewrite_guard(house: House, table: str, key: str) -> None:
    """Let the last leaf that vouches for a row, or key, vouch for it as it stands now."""
    with house.store() as store, store.read() as connection:
        now = guard(connection, table, key).digest
    with rows(house) as connection:
        found = connection.execute(
            "SELECT written, guards FROM audit_leaf ORDER BY written DESC"
        ).fetchall()
        for written, text in found:
            guards = json.loads(text)
            for one in guards:
                if (one["table"], one["key"]) == (table, key):
                    one["digest"] = now
                    connection.execute(
                        "UPDATE audit_leaf SET guards = ? WHERE written = ?",
                        (json.dumps(guards), written),
                    )
                    return
    raise AssertionError("no leaf vouches for it")


def sign_again(house: House, seed: bytes) -> None:
    """Make every checkpoint anew over the leaves as they stand, with a key in hand."""
    origin = house.workspace.log_origin
    with rows(house) as connection:
        sizes = {size for (size,) in connection.execute("SELECT size FROM checkpoint")}
        frontier = Frontier()
        leaves = connection.execute(
            f"SELECT {', '.join(_LEAF)} FROM audit_leaf"  # noqa: S608 - fixed names
            " WHERE position IS NOT NULL ORDER BY position"
        ).fetchall()
        for row in leaves:
            values = dict(zip(_LEAF, row, strict=True))
            values["guards"] = json.loads(values["guards"])
            frontier = frontier.append(leaf_hash(parse_leaf(json.dumps(values))))
            if frontier.size in sizes:
                made = Checkpoint(origin, frontier.size, frontier.root())
                connection.execute(
                    "UPDATE checkpoint SET note = ?, frontier = ? WHERE size = ?",
                    (sign_note(made, origin, seed), frontier.to_json(), frontier.size),
                )


def stolen_audit_seed(workspace: Workspace) -> bytes:
    """The worker's own audit key: who is this user can read it."""
    return keys.load(workspace.keys).audit_seed


def replace_audit_key(house: House) -> None:
    """A key of the intruder's in every place: files, setting, the first leaf, every signature."""
    folder = house.workspace.keys
    seed = signer.new_seed()
    public = signer.public_bytes(seed)
    (folder / "audit.key").unlink()
    save_seed(folder / "audit.key", seed)
    said: Mapping[str, str] = json.loads((folder / keys.PUBLIC_NAME).read_text())
    forged = json.dumps({**said, "audit": public.hex()})
    (folder / keys.PUBLIC_NAME).write_text(forged)
    alter(house, "UPDATE setting SET value = ? WHERE name = 'keys.public'", forged)
    rewrite_guard(house, "setting", "keys.public")
    rewrite_guard(house, "$key", "audit")
    sign_again(house, seed)


def swap_store(house: House, other: Path) -> None:
    """Put another copy of the store in the place of this one."""
    for name in ("store.db-wal", "store.db-shm"):
        (house.workspace.state / name).unlink(missing_ok=True)
    house.workspace.store_db.write_bytes(other.read_bytes())
