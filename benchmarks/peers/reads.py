"""The store reads and the write that the peers serve: the same rows, by the standard library. No server."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from pathlib import Path
from typing import Any

PAGE_ROWS = 20


class Rows:
    """One connection a file, kept open; `synchronous=FULL`, as Paybill's own."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._store = _opened(folder / "store.db")
        self._data = _opened(folder / "data.db")

    def tenant(self, tenant: str) -> dict[str, Any]:
        """A tenant and how its subscription stands."""
        with self._lock:
            row = self._store.execute("SELECT * FROM tenant WHERE id = ?", (tenant,)).fetchone()
            state = self._store.execute(
                "SELECT state FROM subscription WHERE tenant = ?", (tenant,)
            ).fetchone()
        return {
            "tenant": row["id"],
            "display_name": row["display_name"],
            "state": row["state"],
            "isolation": row["isolation"],
            "plan": row["plan"],
            "region": row["region"],
            "access_mode": row["access_mode"],
            "subscription_state": state["state"],
        }

    def page(self, tenant: str) -> dict[str, Any]:
        """The first page of a tenant's contacts."""
        with self._lock:
            found = self._data.execute(
                "SELECT * FROM contacts WHERE tenant_id = ? ORDER BY id LIMIT ?",
                (tenant, PAGE_ROWS),
            ).fetchall()
        return {"records": [dict(row) for row in found]}

    def add(self, tenant: str, values: dict[str, Any]) -> dict[str, Any]:
        """One contact more, in a transaction of its own."""
        row_id = str(uuid.uuid4())
        with self._lock, self._data:
            self._data.execute(
                "INSERT INTO contacts (tenant_id, id, version, created_at, full_name, email,"
                " status, balance) VALUES (?, ?, 1, '2026-01-01 00:00:00', ?, ?, ?, ?)",
                (
                    tenant,
                    row_id,
                    values["full_name"],
                    values["email"],
                    values["status"],
                    values["balance"],
                ),
            )
        return {"record": {"id": row_id, **values}}


def listed(folder: Path) -> list[dict[str, Any]]:
    """The tools that are to be listed, as the protocol has them."""
    tools: list[dict[str, Any]] = json.loads((folder / "tools.json").read_text())
    return tools


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection
