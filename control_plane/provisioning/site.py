"""Where a stack stands: its account, provider, credentials and state. Not what is made there.

A `local` stack stands in the worker's own folder; any other in the account that the worker's user
declares for its cloud: the tenant's own, or everybody's. A stack that stands is never moved by that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from control_plane.domain.canonical import Json, keyed_digest, plain
from control_plane.domain.isolation import Cloud
from control_plane.errors import Refused, Unavailable
from control_plane.provisioning.accounts import (
    NO_CLOUDS,
    CloudAccount,
    Clouds,
    Credentials,
    StateBackend,
)
from control_plane.provisioning.clouds.port import CloudAdapter
from control_plane.provisioning.credentials import Fetch
from control_plane.provisioning.scan import BUILTIN
from control_plane.provisioning.stacks import NOTHING_SHARED, StackRequest
from control_plane.provisioning.state_backend import backend, state_path, variables

Adapt: TypeAlias = Callable[[Cloud, CloudAccount, Mapping[str, str]], CloudAdapter]
HeldIn: TypeAlias = Callable[[StackRequest], str | None]
"""In which account what a request is about stands already: its id; UNNAMED; None where nothing does."""

UNNAMED: Final = ""
"""Made before accounts were written down: then each cloud had one."""


class Provider(NamedTuple):
    """A cloud's Terraform provider: its name in a module, and the source that it must come from."""

    name: str
    source: str


PROVIDERS: Final[Mapping[Cloud, Provider]] = MappingProxyType(
    {
        "aws": Provider("aws", "registry.terraform.io/hashicorp/aws"),
        "azure": Provider("azurerm", "registry.terraform.io/hashicorp/azurerm"),
        "gcp": Provider("google", "registry.terraform.io/hashicorp/google"),
        "oci": Provider("oci", "registry.terraform.io/oracle/oci"),
        "ibm": Provider("ibm", "registry.terraform.io/ibm-cloud/ibm"),
    }
)


@dataclass(frozen=True)
class Site:
    """One stack's place."""

    backend: Mapping[str, Json]
    """Terraform's backend block; it stands in the place of whatever a module says."""
    provider: tuple[str, Mapping[str, Json]] | None
    """The name of the cloud's provider, and what each of its blocks is overridden with."""
    shared: Mapping[str, str]
    providers: frozenset[str]
    state: Path | None
    """The state's file, where it is a file here."""
    environment: Mapping[str, str] = field(repr=False)
    """What Terraform sees beside our own variables; it holds the credentials."""
    account: str = ""
    """Who the credentials must turn out to be; empty where none are needed."""
    adapter: Callable[[], CloudAdapter] | None = field(default=None, repr=False)

    def digest(self, hmac_key: bytes) -> str:
        """What a plan made here is bound to; keyed, because settings may tell of an account."""
        settled = {"backend": self.backend, "provider": self.provider, "shared": dict(self.shared)}
        return keyed_digest(hmac_key, settled | self.named())

    def named(self) -> dict[str, Json]:
        """The account as a plan shows it to who decides; nothing where there is none."""
        return {"account": self.account} if self.account else {}


class Sites:
    """The sites below `root` and in the accounts of `clouds`; `held_in` tells what stands where already."""

    def __init__(
        self,
        root: Path,
        clouds: Clouds = NO_CLOUDS,
        adapt: Adapt | None = None,
        fetch_credentials: Fetch | None = None,
        held_in: HeldIn | None = None,
    ) -> None:
        self.root = root
        self.mirror = clouds.mirror
        self._clouds = clouds
        self._adapt = adapt
        self._held_in = held_in or _nowhere
        self._fetch = fetch_credentials or _none

    def site(self, request: StackRequest) -> Site:
        """Where the request's stack stands.

        Raises Refused(`cloud_not_configured`, `account_moved`, `region_not_configured`) and
        Unavailable (`credentials_missing`, `credentials_unreadable`).
        """
        if request.cloud == "local":
            return self._embedded(request)
        account = self._clouds.account_of(request.cloud, request.tenant)
        if account is None:
            raise Refused(
                f"No account of the cloud {request.cloud} is configured for the worker.",
                code="cloud_not_configured",
                rule="clouds.accounts",
                fact="proposed_cloud",
            )
        self._require_unmoved(request, account)
        if request.region not in account.regions:
            raise Refused(
                "The account is not used in this region.",
                code="region_not_configured",
                rule="clouds.accounts.regions",
                fact="proposed_region",
            )
        return self._in_account(request, account)

    def _require_unmoved(self, request: StackRequest, account: CloudAccount) -> None:
        held = self._held_in(request)
        if held == UNNAMED:
            everybodys = self._clouds.accounts.get(request.cloud)
            held = "" if everybodys is None else everybodys.account
        if held not in (None, account.account):
            raise Refused(
                "The tenant's stack stands in another account than the worker is given for it.",
                code="account_moved",
                rule="clouds.dedicated",
                fact="cloud",
            )

    def _embedded(self, request: StackRequest) -> Site:
        return Site(
            backend=backend(StateBackend(), self.root, request),
            provider=None,
            shared=NOTHING_SHARED,
            providers=frozenset({BUILTIN}),
            state=state_path(self.root, request),
            environment=MappingProxyType({}),
        )

    def _in_account(self, request: StackRequest, account: CloudAccount) -> Site:
        provider = PROVIDERS[request.cloud]
        settings = {name: _literal(one) for name, one in account.provider.items()}
        secrets, adapt = self._fetch(account.credentials), self._adapt
        is_local = account.state.kind == "local"
        return Site(
            backend=backend(account.state, self.root, request),
            provider=(provider.name, settings) if settings else None,
            shared=account.shared.get(request.region, NOTHING_SHARED),
            providers=frozenset({BUILTIN, provider.source}),
            state=state_path(self.root, request) if is_local else None,
            environment={**secrets, **variables(account.state.kind, secrets)},
            account=account.account,
            adapter=None if adapt is None else lambda: adapt(request.cloud, account, secrets),
        )


def _literal(value: Json) -> Json:
    """A setting that Terraform takes as it stands: as JSON, too, it would read texts as templates."""
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, Mapping):
        return {str(_literal(name)): _literal(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_literal(one) for one in value]
    return value


def _nowhere(_request: StackRequest) -> None:
    """Nothing stands yet."""


def _none(_source: Credentials) -> Mapping[str, str]:
    raise Unavailable("no credentials are at hand", code="credentials_missing")


def cli_config(mirror: Path | None, sources: frozenset[str]) -> dict[str, Json]:
    """Terraform's own configuration: providers of these sources alone, and from where.

    With a mirror nothing is fetched; without one, from the sources' own registry.
    """
    wanted = sorted(source for source in sources if source != BUILTIN)
    found: dict[str, Json] = {"direct": [{"exclude": ["*/*/*"]}]}
    if wanted and mirror is not None:
        found["filesystem_mirror"] = [{"path": os.fspath(mirror), "include": plain(wanted)}]
    elif wanted:
        found = {"direct": [{"include": plain(wanted)}]}
    # One block with all its methods: Terraform complains of a second one.
    return {"disable_checkpoint": True, "provider_installation": [found]}
