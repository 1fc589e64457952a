"""Resources that stand in a cloud and that the state does not know, each with its place in the module. It adopts nothing.

They are what a killed apply leaves behind where the state lies far away: the cloud made them, and
the state was never written. A resource is matched by what a plan would make in its place.
"""

from __future__ import annotations

from collections import Counter
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
    """Which of `found` a plan would make anew; what fits two places, or none, is left out.

    So is what the state knows already, under whatever address.
    """
    wanted: dict[str, list[Mapping[str, Any]]] = {}
    known: dict[str, frozenset[str]] = {}
    for one in plan_json.get("resource_changes", ()):
        if one["mode"] != "managed":
            continue
        kind, change = str(one["type"]), one["change"]
        before: dict[str, Any] | None = change.get("before")
        if change["actions"] == ["create"]:
            wanted.setdefault(kind, []).append(one)
        elif before is not None:
            known[kind] = known.get(kind, frozenset()) | _texts(before)
    left = (one for one in found if one.import_id not in known.get(one.type, ()))
    return tuple(sorted(_matched(wanted, known, left)))


def _matched(
    wanted: Mapping[str, list[Mapping[str, Any]]],
    known: Mapping[str, frozenset[str]],
    found: Iterable[Found],
) -> Iterator[Orphan]:
    by_type: dict[str, list[Found]] = {}
    for one in found:
        if one.type in wanted:
            by_type.setdefault(one.type, []).append(one)
    for kind, resources in by_type.items():
        changes = wanted[kind]
        # Where the state knows one of a type, another of it is told by its name alone.
        if len(changes) == len(resources) == 1 and kind not in known:
            yield Orphan(str(changes[0]["address"]), resources[0].import_id)
            continue
        yield from _named(changes, resources)


def _named(changes: list[Mapping[str, Any]], resources: list[Found]) -> Iterator[Orphan]:
    fitting = [
        Orphan(str(change["address"]), resource.import_id)
        for resource in resources
        for change in changes
        if resource.name in _names(change)
    ]
    places = Counter(one.address for one in fitting)
    ids = Counter(one.import_id for one in fitting)
    yield from (one for one in fitting if places[one.address] == ids[one.import_id] == 1)


def _texts(values: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one for one in values.values() if isinstance(one, str) and one)


def _names(change: Mapping[str, Any]) -> frozenset[str]:
    after: dict[str, Any] = change["change"].get("after") or {}
    tags: dict[str, Any] = after.get("tags") or {}
    said = [after.get(name) for name in _NAMES]
    return frozenset(one for one in (*said, tags.get("Name")) if isinstance(one, str) and one)
