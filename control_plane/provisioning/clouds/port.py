"""What the worker asks of a cloud beside Terraform: may it, does it stand, what is there. It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.stacks import StackRequest

Looked: TypeAlias = Literal["identity", "region", "name", "quota", "shared", "stands", "labels"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Check(_Strict):
    """One thing that was looked at. `said` is our own sentence, never the cloud's words."""

    name: Looked
    about: str
    ok: bool
    said: str


class Found(_Strict):
    """One resource that stands in the cloud and bears our labels.

    `type` is Terraform's word for it, or empty where there is none; `import_id` is what
    `terraform import` takes. `region` is empty for what belongs to none.
    """

    type: str
    import_id: str
    name: str
    region: str
    labels: Mapping[str, str]


class CloudAdapter(Protocol):
    """One account of one cloud. Every method may raise Unavailable (`cloud_unavailable`,
    `credentials_missing`, `credentials_refused`, `sdk_missing`, `cloud_list_too_long`), and none changes anything.
    """

    @property
    def cloud(self) -> Cloud:
        """Which cloud it is."""
        ...

    def identity(self) -> Check:
        """Whether the credentials are of the account that is declared."""
        ...

    def preflight(self, request: StackRequest) -> tuple[Check, ...]:
        """Before a plan: who am I, is the region mine, are the global names free, is there room."""
        ...

    def verify(self, request: StackRequest, outputs: Mapping[str, object]) -> tuple[Check, ...]:
        """After an apply: that what the outputs name stands and bears our labels."""
        ...

    def owned(self, workspace: str, tenant: str | None = None) -> tuple[Found, ...]:
        """Everything that bears the workspace's label, of one tenant or of all: the inventory."""
        ...
