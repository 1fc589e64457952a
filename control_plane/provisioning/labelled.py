"""Whose the resources of a plan are, by the labels that they bear. Not what they cost or let in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from control_plane.provisioning.planned import Part, Planned, as_tree

TENANT: Final = "paybill_tenant"
WORKSPACE: Final = "paybill_workspace"
_NAMES: Final = (TENANT, WORKSPACE)

# Where each provider keeps what a resource bears; the second and third hold the provider's own defaults too.
_PLACES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "aws": ("tags", "tags_all"),
        "azurerm": ("tags",),
        "google": ("labels", "terraform_labels", "effective_labels", "settings.user_labels"),
        "ibm": ("tags",),
        "oci": ("freeform_tags",),
    }
)


def is_untagged(one: Planned, owner: Mapping[str, str]) -> bool:
    """Whether what is made or changed takes labels, and does not bear the owner's two.

    What takes them is told by the plan: an argument that the type has is there, null or not. Labels
    that are not known before the apply are not proven, and so are not there.
    """
    if one.kind in ("", "delete") or not _takes_labels(one):
        return False
    found = list(_labels(one.after, one.type))
    return not all(
        any(labels.get(name, "") == owner.get(name) for labels in found) for name in _NAMES
    )


def is_foreign(one: Planned, owner: Mapping[str, str]) -> bool:
    """Whether what is touched bears, before or after, the name of another tenant or workspace."""
    if not one.kind:
        return False
    before = Part(one.before, {}, {})
    return any(
        labels.get(name, owner.get(name)) != owner.get(name)
        for part in (before, one.after)
        for labels in _labels(part, one.type)
        for name in _NAMES
    )


def _takes_labels(one: Planned) -> bool:
    # A block that may hold labels is itself one of the type's own.
    known = {*(as_tree(one.after.value) or {}), *(as_tree(one.after.unknown) or {})}
    return any(place.partition(".")[0] in known for place in _places(one.type))


def _labels(part: Part, kind: str) -> Iterator[Mapping[str, str]]:
    """What the resource bears, a mapping for each place; IBM writes `key:value` in a list."""
    for place in _places(kind):
        found = part.values(place)
        yield dict(_pairs(found))


def _pairs(found: list[object]) -> Iterator[tuple[str, str]]:
    for one in found:
        tree = as_tree(one)
        if tree is not None:
            yield from ((str(k), str(v)) for k, v in tree.items() if v is not None)
        elif isinstance(one, str) and ":" in one:
            name, _, value = one.partition(":")
            yield name, value


def _places(kind: str) -> tuple[str, ...]:
    return _PLACES.get(kind.partition("_")[0], ())
