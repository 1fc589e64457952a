"""What a Terraform state says: its digest, what it holds, its outputs. It may hold secrets, and of none but an empty one is a byte written here."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from control_plane.domain.canonical import Json, canonical
from control_plane.errors import Failed

_VERSION: Final = 4


@dataclass(frozen=True)
class StateView:
    """One reading of a state. An empty `digest` says that there is none; else it is of what it holds."""

    digest: str = ""
    addresses: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


NO_STATE: Final = StateView()


def read_state(content: bytes) -> StateView:
    """The view of a state's bytes. Raises Failed (`state_unreadable`) for another format."""
    if not content.strip():
        return NO_STATE
    try:
        state: Any = json.loads(content, parse_float=Decimal)
        if state["version"] != _VERSION:
            raise ValueError
        if not (
            state.get("lineage") or state.get("resources")
        ):  # what Terraform fetches of a state that nobody has made
            return NO_STATE
        addresses = sorted(_addresses(state.get("resources") or ()))
        outputs = dict(_outputs(state.get("outputs") or {}))
        digest = _digest(state)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failed(
            "the state is of a format that is not known", code="state_unreadable"
        ) from None
    return StateView(digest, tuple(addresses), outputs)


def read_state_file(path: Path) -> StateView:
    """The same of a state that is a file here.

    Terraform empties the file before it writes it. An empty one with a copy of what was there before
    is a state that was lost, never one that holds nothing. Raises Failed (`state_unreadable`).
    """
    content = path.read_bytes() if path.is_file() else b""
    if not content.strip() and path.with_name(f"{path.name}.backup").exists():
        raise Failed("the state was lost while it was written", code="state_unreadable")
    return read_state(content)


def begin_state(path: Path, terraform_version: str, seed: bytes) -> None:
    """Write the state of a stack that has nothing yet: from now on Terraform keeps a copy of it.

    A state that there is stays as it is. `seed` makes its lineage, by which no other is taken for it.
    Raises Failed (`state_unreadable`) where there was one.
    """
    if read_state_file(path) != NO_STATE:
        return
    empty: dict[str, Json] = {
        "version": _VERSION,
        "terraform_version": terraform_version,
        "serial": 0,
        "lineage": str(uuid.UUID(bytes=hashlib.sha256(seed).digest()[:16])),
        "outputs": {},
        "resources": [],
    }
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical(empty))
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def _digest(state: Any) -> str:
    # Not of the bytes: a state that is fetched is written anew, its checks in another order each time.
    held = [state.get(name) for name in ("lineage", "serial", "resources", "outputs")]
    return hashlib.sha256(json.dumps(held, sort_keys=True, default=str).encode()).hexdigest()


def _outputs(outputs: Any) -> Iterator[tuple[str, Any]]:
    """What a stack says of itself in the open: what is sensitive goes into no row and no leaf."""
    for name, one in outputs.items():
        if not one.get("sensitive"):
            yield name, one["value"]


def _addresses(resources: Any) -> Iterator[str]:
    for one in resources:
        if one["mode"] != "managed":
            continue
        place = f"{one['module']}." if one.get("module") else ""
        for instance in one["instances"]:
            yield f"{place}{one['type']}.{one['name']}{_index(instance.get('index_key'))}"


def _index(key: object) -> str:
    # As Terraform writes addresses: a number bare, a text quoted.
    return "" if key is None else f"[{json.dumps(key)}]"
