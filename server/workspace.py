"""A workspace: a folder with `paybill.toml`, and this user's private state for it. Not its catalog or store.

What `paybill.toml` may say is little on purpose: opening a foreign repository must not run code,
choose a program or reach an address. And it names a state that only `paybill init` makes.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from control_plane.errors import BadInput, PaybillError
from server.private_files import read_own_file, read_plain_file, require_own_folder

FILE_NAME: Final = "paybill.toml"
MARKER_NAME: Final = "workspace.json"
FILE_BYTES_MAX: Final = 65_536
_MARKER_BYTES_MAX: Final = 16_384
_ANCESTORS_MAX: Final = 64
_STATE_DIGITS: Final = 16
_KEY_CHARS_MAX: Final = 60
_NOT_ALLOWED: Final = "is not allowed in this file"

WorkspaceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
StoreKind = Literal["sqlite", "postgres"]
WorkspaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]


class WorkspaceError(PaybillError):
    """There is no workspace that this user may work with here."""

    code = "workspace"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class WorkspaceSection(_Strict):
    """`[workspace]`: which one it is."""

    id: WorkspaceId
    name: WorkspaceName


class CatalogSection(_Strict):
    """`[catalog]`: where the working files of the catalog lie."""

    path: str = Field(default="catalog", min_length=1, max_length=200)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or not parts:
            raise ValueError("must be a relative path inside the workspace")
        if not path.isprintable() or "\\" in path or ":" in path:
            raise ValueError("must be a plain path with forward slashes")
        return path


class WorkspaceFile(_Strict):
    """Everything that `paybill.toml` may say."""

    workspace: WorkspaceSection
    catalog: CatalogSection = CatalogSection()


class Marker(_Strict):
    """What `paybill init` leaves in the state folder: for which workspace, and where."""

    format: Literal["paybill-workspace-1"] = "paybill-workspace-1"
    id: WorkspaceId
    root: str
    store: StoreKind = "sqlite"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One initialised workspace. `root` is anyone's to write; `state` is this user's alone.

    `store` is where its rows lie: in files of the state, or on a Postgres server.
    """

    root: Path
    state: Path
    name: str
    id: str
    catalog: Path
    store: StoreKind = "sqlite"

    @property
    def log_origin(self) -> str:
        """The name of the workspace's audit log, which is also its key's name in notes."""
        return f"paybill/{self.id}"

    @property
    def store_db(self) -> Path:
        """The control plane's own store."""
        return self.state / "store.db"

    @property
    def sandbox_db(self) -> Path:
        """What the sandbox of payments has been asked."""
        return self.state / "sandbox.db"

    @property
    def engine_db(self) -> Path:
        """The durable engine's own rows."""
        return self.state / "engine.db"

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return self.state / "keys"

    @property
    def data_keys(self) -> Path:
        """Copies of the wrapped keys of tenants' backups."""
        return self.keys / "data"

    @property
    def data(self) -> Path:
        """Tenants' databases on this machine."""
        return self.state / "data"

    @property
    def servers(self) -> Path:
        """The logins on servers beside the workspace's own, a folder each."""
        return self.state / "servers"

    @property
    def backups(self) -> Path:
        """Archives of tenants' data, sealed."""
        return self.state / "backups"

    @property
    def terraform(self) -> Path:
        """Terraform's working folders and states."""
        return self.state / "terraform"

    @property
    def bundles(self) -> Path:
        """Policy bundles, by digest."""
        return self.state / "bundles"

    @property
    def catalogs(self) -> Path:
        """Applied catalogs, by digest."""
        return self.state / "catalogs"

    @property
    def worker_json(self) -> Path:
        """What the running worker says of itself."""
        return self.state / "worker.json"

    @property
    def worker_lock(self) -> Path:
        """Held by the one worker."""
        return self.state / "worker.lock"

    @property
    def worker_log(self) -> Path:
        """The worker's log."""
        return self.state / "worker.log"


def find(start: Path, home: Path, explicit: Path | None = None) -> Workspace:
    """The workspace at `explicit`, or the nearest one at or above `start`, with its state.

    Raises WorkspaceError (`workspace_absent`, `workspace_not_initialised`), BadInput naming the key
    of `paybill.toml` that breaks a rule, NotPrivate when other users may reach the state.
    """
    return open_at(locate(start, explicit), home)


def locate(start: Path, explicit: Path | None = None) -> Path:
    """The folder that holds `paybill.toml`, as a real path. Raises WorkspaceError."""
    if explicit is not None:
        root = explicit.resolve()
        if not (root / FILE_NAME).is_file():
            raise WorkspaceError(f"there is no {FILE_NAME} in {root}", code="workspace_absent")
        return root
    here = start.resolve()
    for folder in (here, *here.parents)[:_ANCESTORS_MAX]:
        if (folder / FILE_NAME).is_file():
            return folder
    raise WorkspaceError(
        f"there is no {FILE_NAME} here or above; run: paybill init", code="workspace_absent"
    )


def open_at(root: Path, home: Path) -> Workspace:
    """The workspace of one folder. Errors as `find`."""
    file = read_workspace_file(root)
    state = state_folder(root, home)
    marker = read_marker(state, home)
    if marker is None or marker.id != file.workspace.id or marker.root != str(root):
        raise WorkspaceError(
            f"the workspace at {root} is not initialised on this machine by this user; "
            "run: paybill init",
            code="workspace_not_initialised",
        )
    return Workspace(
        root=root,
        state=state,
        name=file.workspace.name,
        id=file.workspace.id,
        catalog=_inside(root, file.catalog.path),
        store=marker.store,
    )


def state_folder(root: Path, home: Path) -> Path:
    """Where this user's state for a workspace lies, whether it is there or not."""
    named = hashlib.sha256(bytes(root.resolve())).hexdigest()[:_STATE_DIGITS]
    return home / named


def read_marker(state: Path, home: Path) -> Marker | None:
    """The state's marker, or None where there is no state. Raises NotPrivate, WorkspaceError."""
    try:
        require_own_folder(home)
        require_own_folder(state)
        content = read_own_file(state / MARKER_NAME, bytes_max=_MARKER_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        return Marker.model_validate_json(content)
    except ValidationError:
        raise WorkspaceError(
            f"{state / MARKER_NAME} is malformed", code="workspace_state"
        ) from None


def marker_bytes(workspace_id: str, root: Path, store: StoreKind = "sqlite") -> bytes:
    """The marker of a new state."""
    marker = Marker(id=workspace_id, root=str(root.resolve()), store=store)
    return marker.model_dump_json().encode() + b"\n"


def read_workspace_file(root: Path) -> WorkspaceFile:
    """What `paybill.toml` says. Raises BadInput naming the key and its rule, never a value."""
    try:
        content, _ = read_plain_file(root / FILE_NAME, bytes_max=FILE_BYTES_MAX)
        parsed = tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise WorkspaceError(
            f"there is no {FILE_NAME} in {root}", code="workspace_absent"
        ) from None
    except (ValueError, RecursionError):
        raise BadInput(FILE_NAME, "must be TOML in UTF-8") from None
    try:
        file = WorkspaceFile.model_validate(parsed)
    except ValidationError as error:
        raise _named(error) from None
    _inside(root, file.catalog.path)
    return file


def workspace_file_bytes(workspace_id: str, name: str) -> bytes:
    """The text of a new `paybill.toml`. Raises BadInput when the name breaks its rule."""
    try:
        section = WorkspaceSection(id=workspace_id, name=name)
    except ValidationError:
        raise BadInput(
            "name", "must be 1 to 80 letters, digits, spaces, dots, hyphens or underscores"
        ) from None
    # JSON text is TOML text for what the pattern of the name lets through.
    lines = (
        "# A Paybill workspace. Programs, ports and addresses are never set here.",
        "[workspace]",
        f"id = {json.dumps(section.id)}",
        f"name = {json.dumps(section.name)}",
        "",
        "[catalog]",
        f"path = {json.dumps(CatalogSection().path)}",
        "",
    )
    return "\n".join(lines).encode()


def _inside(root: Path, path: str) -> Path:
    folder = root / path
    if not folder.resolve().is_relative_to(root.resolve()):
        raise BadInput(f"{FILE_NAME}: catalog.path", "must not lead out of the workspace by a link")
    return folder


def _named(error: ValidationError) -> BadInput:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    # A key that has no place here comes first: it says most about what the file is for.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    rule = _NOT_ALLOWED if first["type"] == "extra_forbidden" else first["msg"]
    key = ".".join(_shown(str(part)) for part in first["loc"])
    return BadInput(f"{FILE_NAME}: {key}", rule)


def _shown(key: str) -> str:
    # The file may be anyone's: its keys must not reach a terminal as they are.
    plain = key.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c.isprintable() else "?" for c in plain)[:_KEY_CHARS_MAX]
