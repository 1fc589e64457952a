"""The throw-away workspace: folder, state, grants, approver, commands. Not what is done in it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from control_plane.audit.recorder import LeafRecorder
from control_plane.data.collection import SAMPLES
from server import keys, tokens
from server.catalog import write_sample
from server.clock import SystemClock
from server.demo.ledger import Seen
from server.demo.worker_child import WorkerChild
from server.grants import parse_new_grant
from server.ids import RandomIds
from server.initialise import Answers, initialise
from server.opening import open_store
from server.private_files import write_new_file
from server.settings import Settings
from server.workspace import Workspace

NAME = "paybill-demo"
_SHARED = "currencies.yaml"
PYTHON = (sys.executable, "-P", "-m", "paybill")


@dataclass(frozen=True)
class Place:
    """One workspace with a state of its own. ``grants`` has the id of each issued grant."""

    folder: Path
    workspace: Workspace
    settings: Settings
    worker: WorkerChild
    root_secret: bytes = field(repr=False)
    approver_secret: bytes = field(repr=False)
    grants: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def environment(self) -> dict[str, str]:
        """All that a child is told: no token, and no other workspace."""
        told = {
            "PATH": self.settings.path,
            "HOME": str(Path.home()),
            "PAYBILL_HOME": str(self.settings.home),
            "PAYBILL_CACHE": str(self.settings.cache),
            "PAYBILL_WORKSPACE": str(self.workspace.root),
            "PAYBILL_COLLECTION_TOOLS": self.settings.collection_tools,
        }
        if self.settings.cerbos_bin is not None:
            told["PAYBILL_CERBOS_BIN"] = str(self.settings.cerbos_bin)
        if self.settings.terraform_bin is not None:
            told["PAYBILL_TERRAFORM_BIN"] = str(self.settings.terraform_bin)
        return told

    @property
    def face_log(self) -> Path:
        """What the servers that the agents started wrote to stderr."""
        return self.folder / "serve.log"

    @property
    def checkpoint(self) -> Path:
        """A signed checkpoint of the audit log, outside its store: the first worker wrote it."""
        return self.folder / "checkpoint"

    def token_file(self, name: str) -> Path:
        """Where a token lies."""
        return self.folder / "tokens" / name

    def issue(self, name: str, principal: str, actor: str | None, roles: str, tenants: str) -> None:
        """Make a grant, and the token that names it, in a file."""
        public = keys.load_public(self.workspace.keys)
        seed = keys.load_issuer(self.workspace.keys, public)
        recorder = LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())
        asked = parse_new_grant(
            principal=principal, actor=actor, roles=roles, tenants=tenants, ttl="1h"
        )
        store = open_store(self.workspace)
        try:
            with store.write() as connection:
                grant, token = tokens.issue(
                    connection,
                    seed,
                    self.workspace.id,
                    asked,
                    grant_id=RandomIds().new(),
                    now=SystemClock().now(),
                    recorder=recorder,
                )
                write_new_file(self.token_file(name), token.encode() + b"\n")
        finally:
            store.close()
        self.grants[name] = grant.id

    async def command(self, *arguments: str, secret: Mapping[str, bytes] | None = None) -> Seen:
        """Run `paybill` as a person would; each secret goes through a descriptor of its own."""
        with ExitStack() as stack:
            given = {o: stack.enter_context(_piped(s)) for o, s in (secret or {}).items()}
            options = [word for option, fd in given.items() for word in (option, str(fd))]
            done = await anyio.run_process(
                [*PYTHON, *arguments, *options],
                stdin=subprocess.DEVNULL,
                check=False,
                cwd=self.workspace.root,
                env=self.environment,
                pass_fds=tuple(given.values()),
            )
        return {
            "exit": done.returncode,
            "stdout": done.stdout.decode("utf-8", "replace").rstrip(),
            "stderr": done.stderr.decode("utf-8", "replace").rstrip(),
        }


@contextmanager
def throw_away(settings: Settings, *, keep: bool) -> Generator[Place]:
    """A new workspace with its worker not yet started; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-")).resolve()
    with ExitStack() as stack:
        if not keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        place = _made(folder, settings)
        stack.callback(place.worker.stop)
        yield place


def _made(folder: Path, settings: Settings) -> Place:
    root = folder / "workspace"
    root.mkdir()
    (folder / "tokens").mkdir(mode=0o700)
    own = settings.model_copy(
        update={
            "home": folder / "home",
            "workspace": root,
            "token": None,
            "token_file": None,
            "collection_tools": "each",
        }
    )
    secret = secrets.token_urlsafe(24).encode()
    _declare(root / "catalog")
    workspace = initialise(
        root, own.home, Answers(NAME, "own_hand", secret), SystemClock(), RandomIds()
    )
    return Place(
        folder=folder,
        workspace=workspace,
        settings=own,
        worker=WorkerChild(workspace, own),
        root_secret=secret,
        approver_secret=secrets.token_urlsafe(24).encode(),
    )


def _declare(folder: Path) -> None:
    write_sample(folder, "helpdesk")
    shutil.copy(SAMPLES / _SHARED, folder / "collections")


@contextmanager
def _piped(secret: bytes) -> Generator[int]:
    reading, writing = os.pipe()
    try:
        os.write(writing, secret + b"\n")
    finally:
        os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)
