"""A call record: what was asked, by whom, as of which instant, with which seed. Not its outcome."""

from __future__ import annotations

from uuid import UUID, uuid5

from control_plane.domain.canonical import Json
from control_plane.domain.record import Record


class Call(Record):
    """Written at a call's first entry. Clock and ids of everything planned come from here."""

    id: str
    principal: str
    actor: str
    grant_id: str
    tool: str
    command: str
    arguments_hmac: str
    as_of: str
    seed: str
    catalog: str
    bundle: str
    idempotency_key: str | None = None
    dry_run: bool = False
    tenant: str = ""
    run_id: str | None = None
    settled: bool = True
    """False while an intent stands without its outcome."""
    effect: Json = None
    """What a change within one request made (an id, never an answer): a repeat is answered from it."""

    def derive_id(self, path: str) -> str:
        """The id of something this call makes: the same call makes the same ids."""
        return uuid5(UUID(self.seed), path).hex
