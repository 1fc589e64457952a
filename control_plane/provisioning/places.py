"""Where the resources of a plan lie: regions, as the configuration or the provider says. Not which are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from control_plane.provisioning.planned import UNKNOWN, UNSET, Part, Planned, Tree, as_tree

UNKNOWN_REGION: Final = "unknown"

_REGIONS: Final = (
    "region",
    "location",
    "region_location",
    "single_site_location",
    "cross_region_location",
    "replication.user_managed.replicas.location",
)
_ZONES: Final = ("availability_zone", "zone")
# A zone is its region with a letter (AWS), or a dash and a letter (Google) or number (IBM) behind it.
_ZONE: Final = re.compile(
    r"(?P<aws>[a-z]{2}(?:-[a-z]+)+-\d+)[a-z]"
    r"|(?P<google>[a-z]+-[a-z]+\d+)-[a-z]"
    r"|(?P<ibm>[a-z]{2}-[a-z]+)-\d"
)
_PLACELESS: Final = frozenset({"global", ""})
# Of an account as a whole, wherever it is written from.
_WORLDWIDE: Final = ("aws_iam_", "ibm_iam_", "oci_identity_")


def regions(touched: tuple[Planned, ...], plan_json: Tree) -> frozenset[str]:
    """The regions of what is touched, in lower case and without spaces; `global` is none.

    Where a resource names none, the configuration of its provider does. One that is given by what is
    not known before the apply is `unknown`.
    """
    found = {place for one in touched for place in _own(one)}
    for one in touched:
        if not one.type.startswith(_WORLDWIDE):
            found |= _of_provider(one, plan_json)
    return frozenset(found - _PLACELESS)


def _own(one: Planned) -> Iterator[str]:
    part = one.after if one.stands else Part(one.before, {}, {})
    for path in _REGIONS:
        yield from (_name(value) for value in part.values(path) if value is not UNSET)
    for path in _ZONES:
        # Azure numbers its zones within a region: such a number is no place of its own.
        for zone in (_ZONE.fullmatch(_name(value)) for value in part.values(path)):
            if zone is not None:
                yield from (name for name in zone.groupdict().values() if name)


def _name(value: Any) -> str:
    return UNKNOWN_REGION if value is UNKNOWN else str(value).lower().replace(" ", "")


def _of_provider(one: Planned, plan_json: Tree) -> set[str]:
    """What its provider's configuration says; where it is not told which one, what any of them says."""
    declared: Tree = plan_json.get("configuration", {}).get("provider_config", {})
    return {
        _expressed(config["expressions"]["region"], plan_json.get("variables", {}))
        for key, config in declared.items()
        if config.get("full_name") == one.provider
        and one.provider_key in (key, "")
        and "region" in config.get("expressions", {})
    }


def _expressed(expression: Tree, variables: Tree) -> str:
    """What a provider's argument comes to: a constant, or one of the module's variables."""
    if "constant_value" in expression:
        return _name(expression["constant_value"])
    # Terraform names `var.shared.home` and `var.shared`: the first with all that it stands in.
    longest, *others = sorted(expression.get("references", [""]), key=len, reverse=True)
    root, *path = longest.split(".")
    if root != "var" or not all(longest.startswith(f"{one}.") for one in others):
        return UNKNOWN_REGION
    value: Any = {name: one.get("value") for name, one in variables.items()}
    for name in path:
        value = (as_tree(value) or {}).get(name)
    return _name(UNKNOWN if value is None else value)
