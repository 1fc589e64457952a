"""Where a stack's state can lie, each as it runs here: its account, who holds a lock there, what lies there. Not Terraform.

Of a cloud's storage it is a server on loopback that speaks as Terraform's backend expects, by the
cloud's documentation; Postgres is real.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, text

from control_plane.domain.canonical import Json
from control_plane.provisioning.accounts import BackendKind, StateBackend
from control_plane.provisioning.stacks import StackRequest
from control_plane.provisioning.state_backend import backend
from tests.clouds.azure_cloud import CLIENT, DIRECTORY
from tests.clouds.oci_cloud import FINGERPRINT, SPACE, TENANCY, USER
from tests.clouds.rsa_key import loopback_tls, pem, private_key
from tests.clouds.server import StubServer
from tests.support.aws_account import make_bucket, object_at
from tests.support.emulated_aws import EmulatedAws, emulated_aws
from tests.support.postgres import Postgres
from tests.support.states.azure_states import AzureStates, Blob, settings_of
from tests.support.states.gcs_states import GcsStates
from tests.support.states.oci_states import OciStates

PLANTED: Final = "s3cret-planted-0123456789"
SOMEBODY: Final = {
    "ID": "00000000-0000-0000-0000-000000000001",
    "Operation": "OperationTypeApply",
    "Info": "",
    "Who": "somebody@elsewhere",
    "Version": "1.11.4",
    "Created": "2026-11-22T07:00:00Z",
    "Path": "",
}


@dataclass(frozen=True)
class Place:
    """One place for states. `read` is what lies there for a request, as text; None where nothing does."""

    state: StateBackend
    credentials: Mapping[str, str]
    read: Callable[[StackRequest], str | None]
    held: Callable[[StackRequest], AbstractContextManager[None]]
    """Somebody else holds the request's state within the block."""
    is_locked: Callable[[StackRequest], bool]


def block_of(state: StateBackend, request: StackRequest) -> dict[str, Any]:
    """The settings of the request's backend."""
    ((_, said),) = backend(state, Path("/unused"), request).items()
    assert isinstance(said, dict)
    return said


# Postgres ---------------------------------------------------------------------------------------


@contextmanager
def on_postgres(server: Postgres) -> Generator[Place]:
    """A database of its own, with a login that may make schemas in it, and one sequence beside them."""
    state = StateBackend(kind="pg")

    def schema(request: StackRequest) -> str:
        return str(block_of(state, request)["schema_name"])

    with server.database() as url, server.login(url, "CREATE") as login:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"GRANT CREATE ON SCHEMA public TO {login.username}"))

        def rows(request: StackRequest) -> list[Any]:
            with engine.connect() as connection:
                if not connection.execute(
                    text("SELECT to_regclass(:name)"), {"name": f"{schema(request)}.states"}
                ).scalar():
                    return []
                found = connection.execute(text(f"SELECT id, data FROM {schema(request)}.states"))  # noqa: S608
                return list(found)

        @contextmanager
        def held(request: StackRequest) -> Generator[None]:
            ((number, _),) = rows(request)
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:id)"), {"id": number})
                yield
                connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": number})

        def is_locked(_request: StackRequest) -> bool:
            with engine.connect() as connection:
                locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                return bool(connection.execute(locks).scalar())

        yield Place(
            state,
            {
                "PGHOST": str(server.folder),
                "PGUSER": str(login.username),
                "PGPASSWORD": str(login.password),
                "PGDATABASE": str(login.database),
                "PGSSLMODE": "disable",
            },
            lambda request: next((str(one.data) for one in rows(request)), None),
            held,
            is_locked,
        )
        engine.dispose()


# Object storage ---------------------------------------------------------------------------------


@contextmanager
def on_ibm(folder: Path) -> Generator[Place]:
    """A bucket that speaks as S3 does, and has no other of AWS's services."""
    with emulated_aws(folder / "moto.log") as running:
        make_bucket(running, "states")
        yield _in_bucket(running)


def _in_bucket(running: EmulatedAws) -> Place:
    settings: dict[str, Json] = {
        "bucket": "states",
        "region": "eu-de",
        "endpoints": {"s3": running.url},
        "use_path_style": True,
    }
    state = StateBackend(kind="cos", settings=settings)

    def path(request: StackRequest) -> str:
        return f"/states/{block_of(state, request)['key']}"

    @contextmanager
    def held(request: StackRequest) -> Generator[None]:
        running.s3(f"{path(request)}.tflock", json.dumps(SOMEBODY))
        yield
        running.delete(f"{path(request)}.tflock")

    return Place(
        state,
        {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": PLANTED},
        lambda request: object_at(running, path(request)),
        held,
        lambda request: object_at(running, f"{path(request)}.tflock") is not None,
    )


@contextmanager
def on_google() -> Generator[Place]:
    """A bucket of Google's."""
    storage = GcsStates("states", PLANTED)
    server = StubServer(storage.answers)
    server.start()
    settings: dict[str, Json] = {
        "bucket": "states",
        "storage_custom_endpoint": f"{server.url}/storage/v1/",
    }
    state = StateBackend(kind="gcs", settings=settings)

    def name(request: StackRequest, ends: str) -> str:
        return f"{block_of(state, request)['prefix']}/default.{ends}"

    @contextmanager
    def held(request: StackRequest) -> Generator[None]:
        storage.put(name(request, "tflock"), json.dumps(SOMEBODY).encode())
        yield
        del storage.objects[name(request, "tflock")]

    def read(request: StackRequest) -> str | None:
        found = storage.objects.get(name(request, "tfstate"))
        return None if found is None else found[0].decode()

    try:
        yield Place(
            state,
            {"GOOGLE_OAUTH_ACCESS_TOKEN": PLANTED},
            read,
            held,
            lambda request: name(request, "tflock") in storage.objects,
        )
    finally:
        server.stop()


@contextmanager
def on_oracle() -> Generator[Place]:
    """A bucket of Oracle's."""
    storage = OciStates("states")
    server = StubServer(storage.answers)
    server.start()
    settings: dict[str, Json] = {"bucket": "states", "namespace": SPACE, "region": "eu-frankfurt-1"}
    state = StateBackend(kind="oci", settings=settings)

    def name(request: StackRequest) -> str:
        return str(block_of(state, request)["key"])

    @contextmanager
    def held(request: StackRequest) -> Generator[None]:
        storage.objects[f"{name(request)}.lock"] = json.dumps(SOMEBODY).encode()
        yield
        del storage.objects[f"{name(request)}.lock"]

    def read(request: StackRequest) -> str | None:
        found = storage.objects.get(name(request))
        return None if found is None else found.decode()

    try:
        yield Place(
            state,
            {
                "OCI_TENANCY_OCID": TENANCY,
                "OCI_USER_OCID": USER,
                "OCI_FINGERPRINT": FINGERPRINT,
                "OCI_PRIVATE_KEY": pem(private_key(0)),
                # By which Oracle's own tools are pointed elsewhere.
                "CLIENT_HOST_OVERRIDES": f"oci_object_storage.ObjectStorageClient={server.url}",
            },
            read,
            held,
            lambda request: f"{name(request)}.lock" in storage.objects,
        )
    finally:
        server.stop()


@contextmanager
def on_azure(folder: Path) -> Generator[Place]:
    """A container of Azure's, found through its resource manager."""
    tls, trusted = loopback_tls(folder)
    storage = AzureStates("states", PLANTED, f"token-{PLANTED}")
    server = StubServer(storage.answers, tls=tls)
    storage.url = server.url
    server.start()
    settings = settings_of(server.url, "states")
    state = StateBackend(kind="azurerm", settings={**settings, "lookup_blob_endpoint": True})

    def blob(request: StackRequest) -> Blob:
        return storage.blobs.get(str(block_of(state, request)["key"]), Blob())

    @contextmanager
    def held(request: StackRequest) -> Generator[None]:
        told = base64.b64encode(json.dumps(SOMEBODY).encode()).decode()
        blob(request).lease = SOMEBODY["ID"]
        blob(request).meta["terraformlockid"] = told
        yield
        blob(request).lease = ""
        blob(request).meta.clear()

    try:
        yield Place(
            state,
            {
                "ARM_TENANT_ID": DIRECTORY,
                "ARM_CLIENT_ID": CLIENT,
                "ARM_CLIENT_SECRET": PLANTED,
                "SSL_CERT_FILE": str(trusted),
            },
            lambda request: blob(request).content.decode() or None,
            held,
            lambda request: blob(request).lease != "",
        )
    finally:
        server.stop()


PLACES: Final[tuple[BackendKind, ...]] = ("pg", "cos", "azurerm", "gcs", "oci")
