"""One initialised workspace for tests: its settings, tokens and rows. Starts no process."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Table, func, select

from control_plane.audit.recorder import LeafRecorder
from control_plane.domain.caller import Caller
from control_plane.engine.failpoints import Failpoints
from control_plane.handlers.catalog_in_force import AT_WORK
from control_plane.ports import Store
from control_plane.store import tables
from server import grants, keys, tokens
from server.catalog import write_sample
from server.clock import SystemClock
from server.grants import NewGrant
from server.ids import RandomIds
from server.initialise import Answers, ApprovalRule, initialise
from server.opening import open_store
from server.service_grants import NewServiceGrant, parse_new_service
from server.settings import Limits, Settings
from server.token_source import TokenSource
from server.tokens import UNBOUND, Bound
from server.wiring import Face, wire_face
from server.workspace import Workspace
from tests.support.waiting import until
from tools.form import CollectionForm

if TYPE_CHECKING:
    from mcp import Client

    from tests.support.http_faces import HttpFace
    from tests.support.postgres import Postgres

PASSPHRASE = b"a passphrase that only tests know"
# What a change leaves behind: none of these tables may grow by a call that must have no effect.
EFFECTS = (
    tables.run,
    tables.call,
    tables.idempotency,
    tables.job,
    tables.permit,
    tables.tenant,
    tables.subscription,
    tables.approval,
)

_NUMBERS = itertools.count(1)


def fresh_name(stem: str = "t") -> str:
    """A tenant's name that no other test of this process uses."""
    return f"{stem}-{next(_NUMBERS)}"


def fresh_key() -> str:
    """An idempotency key that no other call of this process uses."""
    return f"key-{os.getpid()}-{next(_NUMBERS):06d}"


@dataclass(frozen=True)
class Token:
    """A token in a file of its own, and the grant that it names."""

    file: Path
    text: str
    grant_id: str
    principal: str
    actor: str


@dataclass(frozen=True)
class House:
    """A workspace, the home of its state, and the programs that it runs with."""

    workspace: Workspace
    home: Path
    cerbos: Path
    folder: Path
    limits: Mapping[str, str] = field(default_factory=dict[str, str])
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    collection_tools: CollectionForm = "generic"

    @property
    def environment(self) -> dict[str, str]:
        """What every child gets, and nothing else."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(Path.home()),
            "PAYBILL_HOME": str(self.home),
            "PAYBILL_CACHE": str(self.folder / "cache"),
            "PAYBILL_WORKSPACE": str(self.workspace.root),
            "PAYBILL_CERBOS_BIN": str(self.cerbos),
            "PAYBILL_COLLECTION_TOOLS": self.collection_tools,
            **{f"PAYBILL_LIMITS__{name.upper()}": value for name, value in self.limits.items()},
            **self.extra,
        }

    @property
    def settings(self) -> Settings:
        """The same, for what runs in this process."""
        return Settings(
            home=self.home,
            cache=self.folder / "cache",
            cerbos_bin=self.cerbos,
            path=os.environ["PATH"],
            collection_tools=self.collection_tools,
            limits=Limits.model_validate(dict(self.limits)),
        )

    def with_limits(self, **limits: str) -> House:
        """The same workspace, seen by processes with other limits."""
        return replace(self, limits={**self.limits, **limits})

    def with_environment(self, **extra: str) -> House:
        """The same workspace, for children that are told more."""
        return replace(self, extra={**self.extra, **extra})

    @contextmanager
    def store(self) -> Generator[Store]:
        """The workspace's store, closed at the end."""
        store = open_store(self.workspace)
        try:
            yield store
        finally:
            store.close()

    def rows(self, table: Table = tables.run) -> int:
        """How many rows a table has."""
        with self.store() as store, store.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def effects(self) -> dict[str, int]:
        """How many rows each table has that a change would write."""
        with self.store() as store, store.read() as connection:
            return {
                table.name: int(
                    connection.execute(select(func.count()).select_from(table)).scalar_one()
                )
                for table in EFFECTS
            }

    def effects_at_rest(self) -> dict[str, int]:
        """The same, once no run of a test before is at work any more."""
        until(lambda: not self._at_work(), "runs are at rest")
        return self.effects()

    def _at_work(self) -> bool:
        run = tables.run
        wanted = select(run.c.id).where(
            run.c.state.in_(("pending", "planning", "approved", *AT_WORK))
        )
        with self.store() as store, store.read() as connection:
            return connection.execute(wanted.limit(1)).first() is not None

    # tokens ----------------------------------------------------------------------------------

    def issue(
        self,
        roles: str,
        tenants: str,
        *,
        principal: str = "alice",
        actor: str | None = "bot",
        ceiling: str | None = None,
        ttl: str = "8h",
        now: datetime | None = None,
        bound: Bound = UNBOUND,
    ) -> Token:
        """A token in a new 0600 file. With ``now`` in the past it may have expired already."""
        asked = grants.parse_new_grant(
            principal=principal, actor=actor, roles=roles, ceiling=ceiling, tenants=tenants, ttl=ttl
        )
        return self.keep(asked, now or SystemClock().now(), bound)

    def issue_service(
        self,
        operations: str,
        tenants: str,
        *,
        service: str = "shop",
        ttl: str = "8h",
        now: datetime | None = None,
        bound: Bound = UNBOUND,
    ) -> Token:
        """A token of one of the SaaS's own services."""
        asked = parse_new_service(service=service, operations=operations, tenants=tenants, ttl=ttl)
        return self.keep(asked, now or SystemClock().now(), bound)

    def keep(
        self, asked: NewGrant | NewServiceGrant, now: datetime, bound: Bound = UNBOUND
    ) -> Token:
        """Keep a grant as of an instant, and sign its token."""
        public = keys.load_public(self.workspace.keys)
        seed = keys.load_issuer(self.workspace.keys, public)
        with self.store() as store, store.write() as connection:
            grant, text = tokens.issue(
                connection,
                seed,
                self.workspace.id,
                asked,
                grant_id=RandomIds().new(),
                now=now,
                recorder=LeafRecorder(public.seal_bytes, SystemClock(), RandomIds()),
                bound=bound,
            )
        file = self.folder / f"token-{grant.id}"
        write_token(file, text)
        return Token(file, text, grant.id, grant.principal, grant.actor)

    def expired(self, roles: str, tenants: str, bound: Bound = UNBOUND) -> Token:
        """A token whose time is over."""
        past = SystemClock().now() - timedelta(hours=1)
        return self.issue(roles, tenants, ttl="1m", now=past, bound=bound)

    def revoke(self, token: Token) -> None:
        """End the grant that a token names."""
        public = keys.load_public(self.workspace.keys)
        recorder = LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())
        with self.store() as store, store.write() as connection:
            grants.revoke(connection, token.grant_id, SystemClock().now(), recorder)

    # a face over HTTP ------------------------------------------------------------------------

    def http(
        self, served: HttpFace, token: Token | str | None, *, mode: str = "auto"
    ) -> AbstractAsyncContextManager[Client]:
        """A client over HTTP of a face that `http_face` has started."""
        from tests.support.http_faces import http_connected

        return http_connected(served, token, mode=mode)

    # a face in this process ----------------------------------------------------------------------

    @contextmanager
    def face(self, token: Token | None, failpoints: Failpoints | None = None) -> Generator[Face]:
        """A face as `serve` wires it, without its transport."""
        settings = self.settings

        def identify(store: Store) -> Callable[[], Caller]:
            public = keys.load_public(self.workspace.keys)
            verifier = tokens.Identify(store, public.issuer_bytes, self.workspace.id)
            file = None if token is None else token.file
            return TokenSource(verifier, SystemClock(), settings, file).caller

        face = wire_face(self.workspace, settings, identify, failpoints or Failpoints())
        try:
            yield face
        finally:
            face.close()


def write_token(file: Path, text: str) -> None:
    """Put a token into a file that only its owner may read, in place of what was there."""
    draft = file.with_name(f".{file.name}.new")
    draft.touch(mode=stat.S_IRUSR | stat.S_IWUSR, exist_ok=False)
    draft.write_text(text + "\n")
    draft.replace(file)


def build_house(
    folder: Path,
    cerbos: Path,
    rule: ApprovalRule = "own_hand",
    limits: Mapping[str, str] | None = None,
    postgres: Postgres | None = None,
    catalog: Path | None = None,
) -> House:
    """Initialise a workspace under a new folder; its rows lie on that server, where one is given.

    ``catalog`` is laid over the sample.
    """
    root, home = folder / "workspace", folder / "home"
    root.mkdir(parents=True)
    if catalog is not None:
        write_sample(root / "catalog")
        shutil.copytree(catalog, root / "catalog", dirs_exist_ok=True)
    owner = None if postgres is None else postgres.owner
    answers = Answers("demo", rule, PASSPHRASE, owner)
    workspace = initialise(root, home, answers, SystemClock(), RandomIds())
    # On a busy machine an engine may be given no time for a second: that is no matter of most tests.
    patient = {"gate_deadline_s": "5"}
    return House(workspace, home, cerbos, folder, {**patient, **(limits or {})})
