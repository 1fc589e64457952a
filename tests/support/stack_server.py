"""A Postgres server that a silo's own stack names, and the stack: real Terraform, a real server, a door between. Not a test."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, LiteralString
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from control_plane.databases.port import DatabaseServer
from control_plane.domain.canonical import Json
from control_plane.provisioning import binary, stacks
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stack_places import FromFolder, StackPlace, StackPlaces
from control_plane.provisioning.stacks import StackRequest
from control_plane.secrets.owner_login import SecretFiles, SecretSource
from server.stack_servers import StackLogins
from server.tenant_servers import servers_beside
from tests.support.approval_world import OTHER, CountedProvisioner
from tests.support.lifecycle_bench import Bench
from tests.support.postgres import Postgres
from tests.support.tenants import names_on

SECRET: Final = "acme.json"
_OUTPUT: Final = """\
output "database" {
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = "postgres"
    host   = terraform_data.server.output.host
    port   = terraform_data.server.output.port
    secret = terraform_data.server.output.secret
  }
}
resource "terraform_data" "server" {
  input = { host = var.host, port = var.port, secret = var.secret, labels = var.labels }
}
"""


class Door:
    """A port of this machine that leads to a server's socket, once so many have knocked in vain."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.opens_after = 0
        self.knocks = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Close the port for good."""
        # Who waits in it is woken, which a mere close does not do.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listening.accept()
                self.knocks += 1
                if self.knocks <= self.opens_after:
                    caller.close()
                    continue
                inside = socket.socket(socket.AF_UNIX)
                inside.connect(str(self._target))
                for one, other in ((caller, inside), (inside, caller)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@dataclass
class StackServer:
    """A server with a login that may make logins, the stack that names it, and where its secret lies."""

    postgres: Postgres
    door: Door
    owner: str
    password: str
    module: Path
    secrets: Path

    def write_secret(self, **instead: Any) -> None:
        """Leave the owner's login where the stack says, or something else instead."""
        path = self.secrets / SECRET
        path.unlink(missing_ok=True)
        content = {"username": self.owner, "password": self.password, **instead}
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))

    def write_module(self) -> None:
        """The stack's own module: the shipped variables, and a record that names the server."""
        shipped = stacks.MODULES / "local" / "silo"
        self.module.mkdir(exist_ok=True)
        for name in ("variables.tf", "versions.tf"):
            (self.module / name).write_bytes((shipped / name).read_bytes())
        values = {"host": "127.0.0.1", "port": self.door.port, "secret": SECRET}
        lines = [
            f'variable "{name}" {{ default = {json.dumps(one)} }}' for name, one in values.items()
        ]
        (self.module / "server.tf").write_text("\n".join(lines) + "\n")
        (self.module / "outputs.tf").write_text(_OUTPUT)

    def names(self, catalog: LiteralString, column: LiteralString) -> set[str]:
        """What the server has by now of the workspace's: databases or roles."""
        with self._session() as connection:
            return {
                one
                for one in names_on(connection, catalog, column)
                if one.startswith(("pb_", "paybill_"))
            }

    def run(self, statement: SQL, *parts: Any) -> None:
        """One statement as the server's own administrator."""
        with self._session() as connection:
            connection.execute(statement.format(*parts))

    def clear(self) -> None:
        """Remove what the workspace may have left."""
        with self._session() as connection:
            for one in names_on(connection, "pg_database", "datname"):
                if one.startswith("pb_"):
                    connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(one)))
            roles = names_on(connection, "pg_roles", "rolname")
            for one in sorted(roles, key=lambda name: (name.endswith("_worker"), name)):
                if one.startswith(("pb_", "paybill_", "stackowner_")):
                    connection.execute(SQL("DROP ROLE {}").format(Identifier(one)))

    @contextmanager
    def _session(self) -> Generator[psycopg.Connection]:
        host = str(self.postgres.owner.query["host"])
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as one:
            yield one


@contextmanager
def stack_server(postgres: Postgres, folder: Path) -> Generator[StackServer]:
    """A server behind a door, its stack's module and its secret in `folder`; all of it gone at the end."""
    owner, password = f"stackowner_{uuid4().hex[:8]}", secrets.token_hex(12)
    socket_file = postgres.folder / ".s.PGSQL.5432"
    made = StackServer(
        postgres, Door(socket_file), owner, password, folder / "module", folder / "secrets"
    )
    made.secrets.mkdir(mode=0o700)
    made.write_secret()
    made.write_module()
    statement = SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}")
    made.run(statement, Identifier(owner), Literal(password))
    try:
        yield made
    finally:
        made.clear()
        made.door.close()


class NamingProvisioner(CountedProvisioner):
    """Stacks in memory whose silos say of their database what they are told to."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__()
        self.said = said

    def outputs(self, request: StackRequest) -> dict[str, Json]:
        """What the stack says of itself."""
        usual = super().outputs(request)
        return usual if request.isolation != "silo" else dict(self.said)


def in_memory(server: StackServer, **instead: Any) -> NamingProvisioner:
    """Stacks in memory that name the server, or something else instead."""
    database = {
        "engine": "postgres",
        "model": "silo",
        "name": "postgres",
        "host": "127.0.0.1",
        "port": server.door.port,
        "secret": SECRET,
    }
    return NamingProvisioner({"database": {**database, **instead}})


def by_terraform(server: StackServer, folder: Path) -> TerraformProvisioner:
    """Real Terraform over the server's own module."""
    return TerraformProvisioner(
        binary.find(None, os.environ["PATH"]),
        RunnerSettings(),
        folder / "stacks",
        b"k" * 32,
        own_modules=lambda: {("local", "silo"): server.module},
    )


def placed(
    bench: Bench, server: StackServer, main: DatabaseServer, provisioner: Any, **place: Any
) -> Bench:
    """The bench with stacks of `provisioner`, silos that take rows, and `main` as its own server."""
    world = bench.world
    declared = StackPlace(
        cloud="local", secret=FromFolder(kind="folder", path=server.secrets), **place
    )

    def source(_place: StackPlace, _tenant: str, _region: str) -> SecretSource:
        return SecretFiles(server.secrets)

    ports = replace(
        world.ports,
        databases=servers_beside(world.workspace, main, 5_000, "worker", world.store),
        provisioner=provisioner,
        stack_servers=StackLogins(world.workspace, StackPlaces(stacks=(declared,)), source),
    )
    return Bench(world.with_ports(ports))


def kept_files(bench: Bench) -> list[Path]:
    """Every file of the workspace that is about a server beside its own."""
    servers = bench.world.workspace.servers
    return sorted(one for one in servers.rglob("*") if one.is_file()) if servers.is_dir() else []


def onboarded_run(bench: Bench) -> str:
    """Ask for a silo tenant beside the bench's own, up to its approval where it needs one; its run."""
    world = bench.world
    run = world.work(world.propose(OTHER, isolation="silo"))
    if run.state == "awaiting_approval":
        world.forge(run, seed=world.template.approver_seed)
    return run.id
