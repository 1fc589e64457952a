"""What of a stack is no longer as it was applied: by address and attribute, never by value. It repairs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict

_IDLE: Final = (["no-op"], ["read"])
_SHOWN_MAX: Final = 200


class Drifted(BaseModel):
    """One resource: what a plan would do to it, and the attributes that differ."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    address: str
    actions: tuple[str, ...]
    attributes: tuple[str, ...]


class Drift(BaseModel):
    """The verdict is a normal plan's; `reported` is all that a refresh found otherwise.

    A refresh reports more than has drifted: what a cloud computes for itself changes by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resources: tuple[Drifted, ...]
    reported: tuple[Drifted, ...]

    @property
    def drifted(self) -> bool:
        """Whether a plan would change anything."""
        return bool(self.resources)


def drift(plan_json: Mapping[str, Any], refresh_json: Mapping[str, Any] | None) -> Drift:
    """The drift that a normal plan and a refresh-only one tell of, as `terraform show -json` does.

    At most 200 resources of each, by address.
    """
    planned = _changed(plan_json.get("resource_changes", ()))
    refreshed = () if refresh_json is None else _changed(refresh_json.get("resource_drift", ()))
    return Drift(
        resources=tuple(sorted(planned, key=_address)[:_SHOWN_MAX]),
        reported=tuple(sorted(refreshed, key=_address)[:_SHOWN_MAX]),
    )


def _changed(changes: Any) -> Iterator[Drifted]:
    for one in changes:
        if one.get("mode") != "managed" or one["change"]["actions"] in _IDLE:
            continue
        change = one["change"]
        yield Drifted(
            address=str(one["address"]),
            actions=tuple(str(action) for action in change["actions"]),
            attributes=tuple(_differing(change.get("before"), change.get("after"))),
        )


def _differing(before: object, after: object) -> list[str]:
    then, now = _mapping(before), _mapping(after)
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _address(one: Drifted) -> str:
    return one.address
