"""A saved plan with all that must still hold at its apply, as bytes. Not sealed here."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from control_plane.domain.canonical import canonical
from control_plane.errors import Refused

_FACTS, _PLAN, _LOCK = "facts.json", "plan.tfplan", "lock.hcl"
_SIZES_MAX: Final = {_FACTS: 16 * 1024, _PLAN: 32 * 1024 * 1024, _LOCK: 1024 * 1024}
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ArtifactFacts(BaseModel):
    """What was true when the plan was made; `destroy` says which kind of plan it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    request_digest: Digest
    module_digest: Digest
    site_digest: Digest
    plan_sha256: Digest
    terraform_version: str
    destroy: bool


class Artifact(BaseModel):
    """The facts, Terraform's own plan file, and the lock file (empty when there is none)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    facts: ArtifactFacts
    plan: bytes
    lock: bytes


def pack(artifact: Artifact) -> bytes:
    """The bytes of an artifact; the same artifact always gives the same bytes."""
    parts = {
        _FACTS: canonical(artifact.facts),
        _PLAN: artifact.plan,
        _LOCK: artifact.lock,
    }
    if any(len(content) > _SIZES_MAX[name] for name, content in parts.items()):
        raise Refused("the plan is too large to keep", code="plan_too_large")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return buffer.getvalue()


def unpack(content: bytes) -> Artifact:
    """The artifact in `content`. Raises Refused(stale_plan, rule artifact) for anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = _parts(archive)
        facts = ArtifactFacts.model_validate_json(parts[_FACTS])
    except (
        zipfile.BadZipFile,
        ValidationError,
        ValueError,
        OSError,
        EOFError,
    ) as error:
        raise _unreadable() from error
    if hashlib.sha256(parts[_PLAN]).hexdigest() != facts.plan_sha256:
        raise _unreadable()
    return Artifact(facts=facts, plan=parts[_PLAN], lock=parts[_LOCK])


def _parts(archive: zipfile.ZipFile) -> dict[str, bytes]:
    members = archive.infolist()
    if [one.filename for one in members] != list(_SIZES_MAX):
        raise ValueError("other names")
    for one in members:
        # Stored, never compressed: what is read is never larger than what came in.
        if one.file_size > _SIZES_MAX[one.filename] or one.compress_type != zipfile.ZIP_STORED:
            raise ValueError("too large or compressed")
    return {one.filename: archive.read(one) for one in members}


def _unreadable() -> Refused:
    return Refused("the plan artifact cannot be read", code="stale_plan", rule="artifact")
