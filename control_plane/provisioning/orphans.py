"""Resources that stand in a cloud and that the state does not know, each with its place in the module. It adopts nothing.

They are what a killed apply leaves behind where the state lies far away: the cloud made them, and
the state was never written. A resource is matched by what a plan would make in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from control_plane.provisioning.clouds.port import Found

# What tells two resources of one type apart in a plan, in the order in which it is looked at.
_NAMES: Final = ("name", "bucket", "identifier", "display_name", "id", "arn", "account_id")


class Orphan(NamedTuple):
    """One resource, the address that it belongs at, and what `terraform import` takes."""

    address: str
    import_id: str


def orphans(plan_json: Mapping[str, Any], found: Iterable[Found]) -> tuple[Orphan, ...]:
    """Which of `found` a plan would make anew; what fits two places, or none, is left out."""
    wanted: dict[str, list[Mapping[str, Any]]] = {}
    for change in plan_json.get("resource_changes", ()):
        if change["mode"] == "managed" and change["change"]["actions"] == ["create"]:
            wanted.setdefault(str(change["type"]), []).append(change)
    return tuple(sorted(_matched(wanted, found)))


def _matched(
    wanted: Mapping[str, list[Mapping[str, Any]]], found: Iterable[Found]
) -> Iterator[Orphan]:
    by_type: dict[str, list[Found]] = {}
    for one in found:
        if one.type in wanted:
            by_type.setdefault(one.type, []).append(one)
    for kind, resources in by_type.items():
        changes = wanted[kind]
        if len(changes) == len(resources) == 1:
            yield Orphan(str(changes[0]["address"]), resources[0].import_id)
            continue
        for resource in resources:
            fitting = [one for one in changes if resource.name in _names(one)]
            if len(fitting) == 1:
                yield Orphan(str(fitting[0]["address"]), resource.import_id)


def _names(change: Mapping[str, Any]) -> frozenset[str]:
    after = change["change"].get("after") or {}
    tags = after.get("tags") or {}
    said = [after.get(name) for name in _NAMES]
    return frozenset(one for one in (*said, tags.get("Name")) if isinstance(one, str) and one)
