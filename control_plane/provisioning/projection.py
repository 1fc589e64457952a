"""The part of a plan that a digest may cover: same change, same bytes. Not for storage.

Left out are what differs from run to run (the time, the refreshed state) and what is not done
(no-op and read). What Terraform calls sensitive stands as an HMAC under the caller's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Final, TypeAlias, cast

from control_plane.domain.canonical import Json, keyed_digest, plain

_Tree: TypeAlias = dict[str, object]
_IDLE: Final = (["no-op"], ["read"])
_NAMES: Final = ("address", "previous_address", "deposed", "type", "provider_name")


def projection(
    plan_json: Mapping[str, Any], lock_digest: str, module_digest: str, hmac_key: bytes
) -> dict[str, Json]:
    """The canonical form of a plan as `terraform show -json` prints it, ready for `digest`."""
    declared = plan_json.get("configuration", {}).get("root_module", {}).get("variables", {})
    return {
        "terraform_version": str(plan_json["terraform_version"]),
        "lock_digest": lock_digest,
        "module_digest": module_digest,
        "variables": {
            name: _masked(one.get("value"), declared.get(name, {}).get("sensitive"), hmac_key)
            for name, one in plan_json.get("variables", {}).items()
        },
        "resource_changes": _resource_changes(plan_json, hmac_key),
        "output_changes": {
            name: _values(change, hmac_key)
            for name, change in plan_json.get("output_changes", {}).items()
            if change["actions"] not in _IDLE
        },
    }


def _resource_changes(plan_json: Mapping[str, Any], hmac_key: bytes) -> list[Json]:
    changes = sorted(
        (one for one in plan_json.get("resource_changes", ()) if not _is_idle(one["change"])),
        key=lambda one: (one["address"], one.get("deposed", "")),
    )
    return [
        {name: one[name] for name in _NAMES if name in one}
        | {"change": _values(one["change"], hmac_key)}
        for one in changes
    ]


def _is_idle(change: Mapping[str, Any]) -> bool:
    return change["actions"] in _IDLE and "importing" not in change


def _values(change: Mapping[str, Any], hmac_key: bytes) -> dict[str, Json]:
    return {
        "actions": plain(change["actions"]),
        "importing": plain(change.get("importing")),
        "before": _masked(change.get("before"), change.get("before_sensitive"), hmac_key),
        "after": _masked(change.get("after"), change.get("after_sensitive"), hmac_key),
        "after_unknown": plain(change.get("after_unknown")),
        "replace_paths": plain(change.get("replace_paths")),
    }


def _masked(value: object, sensitive: object, hmac_key: bytes) -> Json:
    """`value` with each part that `sensitive`, Terraform's parallel tree, marks replaced."""
    if sensitive is True:
        return {"hmac": keyed_digest(hmac_key, value)}
    whole = value  # keeps its type where the checks below narrow the other
    if isinstance(value, dict) and isinstance(sensitive, dict):
        items, marks = cast("_Tree", value), cast("_Tree", sensitive)
        return {key: _masked(item, marks.get(key), hmac_key) for key, item in items.items()}
    if isinstance(value, list) and isinstance(sensitive, list):
        pairs = zip_longest(cast("list[object]", value), cast("list[object]", sensitive))
        return [_masked(item, mark, hmac_key) for item, mark in pairs]
    return plain(whole)
