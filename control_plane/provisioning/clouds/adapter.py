"""The CloudAdapter over any cloud's eyes: which questions are asked, and what their answers mean. No SDK."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias, cast

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.eyes import Eyes, Foreign, Part, Standing
from control_plane.provisioning.clouds.faults import told
from control_plane.provisioning.clouds.pages import read_all
from control_plane.provisioning.clouds.port import Check, Found
from control_plane.provisioning.stacks import NOTHING_SHARED, StackRequest, labels

Open: TypeAlias = Callable[[str], Eyes]
"""Eyes for a region: made anew for each operation, so that no token or connection outlives it."""

_PARTS: Final[tuple[Part, ...]] = ("network", "key", "identity", "storage", "secret")

_OURS: Final = "this tenant has it"


class SdkAdapter:
    """One account of one cloud, looked at through its SDK. It changes nothing and keeps nothing."""

    def __init__(self, cloud: Cloud, account: CloudAccount, open_eyes: Open) -> None:
        self._cloud: Cloud = cloud
        self._account = account
        self._open = open_eyes

    @property
    def cloud(self) -> Cloud:
        return self._cloud

    def identity(self) -> Check:
        with self._looking(self._account.regions[0]) as eyes:
            return self._identity(eyes)

    def preflight(self, request: StackRequest) -> tuple[Check, ...]:
        with self._looking(request.region) as eyes:
            identity = self._identity(eyes)
            if not identity.ok:
                return (identity,)  # what else stands there is nobody's business
            region = self._region(eyes, request)
            if not region.ok:
                return (identity, region)
            names = self._names(eyes, request)
            # What stands already needs no more room.
            room = [] if any(one.said == _OURS for one in names) else self._room(eyes, request)
            return (identity, region, *names, *room, *self._shared(eyes, request))

    def verify(self, request: StackRequest, outputs: Mapping[str, object]) -> tuple[Check, ...]:
        with self._looking(request.region) as eyes:
            found = [self._label_output(request, outputs)]
            shared = tuple(self._shared_of(request).values())
            for part, value in _named(outputs):
                standing = eyes.part(part, value)
                found.append(_stands(part, standing is not None))
                borne = None if standing is None else standing.labels
                if borne is not None and not _is_among(value, shared):
                    found.append(_labelled(part, borne, request))
            if request.isolation == "silo":
                found.append(self._database(eyes, request))
            return tuple(found)

    def owned(self, workspace: str, tenant: str | None = None) -> tuple[Found, ...]:
        with self._looking(self._account.regions[0]) as eyes:
            found = read_all(self._cloud, eyes.labelled(workspace, tenant))
        # A search may be generous: what counts is what the resource itself bears.
        ours: dict[tuple[str, str], Found] = {}
        for one in found:
            if _is_of(one.labels, workspace, tenant):
                known = ours.get(key := (one.type, one.import_id))
                ours[key] = one if known is None else _of_no_region(known, one)
        return tuple(ours[key] for key in sorted(ours))

    @contextmanager
    def _looking(self, region: str) -> Generator[Eyes]:
        with told(self._cloud, lambda _error: None):
            eyes = self._open(region)
        with told(self._cloud, eyes.status):
            yield eyes

    def _identity(self, eyes: Eyes) -> Check:
        who = eyes.who()
        said = {
            self._account.account: "the account that is declared",
            "": "the credentials do not see the account that is declared",
        }.get(who, "the credentials are not of the account that is declared")
        return _check("identity", "account", ok=who == self._account.account, said=said)

    def _region(self, eyes: Eyes, request: StackRequest) -> Check:
        if request.region not in self._account.regions:
            return _check(
                "region", request.region, ok=False, said="the account's settings do not name it"
            )
        if not eyes.knows(request.region):
            return _check("region", request.region, ok=False, said="the account cannot use it")
        return _check("region", request.region, ok=True, said="named by the settings and usable")

    def _names(self, eyes: Eyes, request: StackRequest) -> list[Check]:
        return [_name(name, eyes.held(part, name), request) for part, name in eyes.names(request)]

    def _room(self, eyes: Eyes, request: StackRequest) -> list[Check]:
        return [
            _check(
                "quota",
                room.about,
                ok=room.used < room.limit,
                said=f"{room.used:g} of {room.limit:g} are used",
            )
            for room in eyes.room(request)
        ]

    def _shared(self, eyes: Eyes, request: StackRequest) -> list[Check]:
        found: list[Check] = []
        for key, value in sorted(self._shared_of(request).items()):
            part = eyes.shared_part(key)
            # A silo shares with others only where secrets lie, and that where the cloud has it so.
            if part is None or (request.isolation == "silo" and part != "secret"):
                continue
            stands = eyes.part(part, value) is not None
            said = "it stands" if stands else "there is no such thing in the account"
            found.append(_check("shared", key, ok=stands, said=said))
        return found

    def _shared_of(self, request: StackRequest) -> Mapping[str, str]:
        return self._account.shared.get(request.region, NOTHING_SHARED)

    def _label_output(self, request: StackRequest, outputs: Mapping[str, object]) -> Check:
        same = outputs.get("labels") == labels(request)
        said = "those of the request" if same else "the outputs name other labels than the request"
        return _check("labels", "labels", ok=same, said=said)

    def _database(self, eyes: Eyes, request: StackRequest) -> Check:
        found = read_all(self._cloud, eyes.labelled(request.workspace, request.tenant))
        ours = any(
            one.type in eyes.databases and _is_of(one.labels, request.workspace, request.tenant)
            for one in found
        )
        return _stands("database", ours)


def _named(outputs: Mapping[str, object]) -> list[tuple[Part, str]]:
    """What the outputs name, by part; a part that the stack does not have is null."""
    storage, database = outputs.get("storage"), outputs.get("database")
    values: dict[Part, object] = {
        "network": outputs.get("network"),
        "key": outputs.get("key"),
        "identity": outputs.get("identity"),
        "storage": _field(storage, "name"),
        "secret": _field(database, "secret"),
    }
    found: list[tuple[Part, str]] = []
    for part in _PARTS:
        value = values[part]
        if isinstance(value, str) and value:
            found.append((part, value))
    return found


def _is_among(value: str, shared: Sequence[str]) -> bool:
    # Settings may name by its path what outputs call by its name.
    return any(one == value or one.endswith(f"/{value}") for one in shared)


def _field(output: object, name: str) -> object:
    return cast("dict[str, object]", output).get(name) if isinstance(output, dict) else None


def _name(name: str, holder: Standing | Foreign | None, request: StackRequest) -> Check:
    if holder is None:
        return _check("name", name, ok=True, said="free")
    if isinstance(holder, Foreign):
        return _check("name", name, ok=False, said="somebody else has it")
    # Where a kind bears no labels, that it is in this account is all that can be known.
    ours = holder.labels is None or _is_of(holder.labels, request.workspace, request.tenant)
    said = _OURS if ours else "something else in the account has it"
    return _check("name", name, ok=ours, said=said)


def _of_no_region(one: Found, again: Found) -> Found:
    """What came once for each of several regions belongs to none."""
    return one if one.region == again.region else one.model_copy(update={"region": ""})


def _is_of(borne: Mapping[str, str], workspace: str, tenant: str | None) -> bool:
    ours = borne.get("paybill_workspace") == workspace
    return ours and (tenant is None or borne.get("paybill_tenant") == tenant)


def _stands(part: Part, stands: bool) -> Check:
    return _check("stands", part, ok=stands, said="it stands" if stands else "it is not there")


def _labelled(part: Part, borne: Mapping[str, str], request: StackRequest) -> Check:
    lacking = [name for name, value in labels(request).items() if borne.get(name) != value]
    said = f"it lacks {', '.join(lacking)}" if lacking else "it bears the stack's labels"
    return _check("labels", part, ok=not lacking, said=said)


def _check(name: str, about: str, *, ok: bool, said: str) -> Check:
    return Check.model_validate({"name": name, "about": about, "ok": ok, "said": said})
