"""The small questions that the tables about resources are made of. They know no resource type.

A rule looks at a part of a resource and answers whether it is *bad*. What is not known before the
apply is not proven, and so is bad; what the configuration leaves unset is what the provider makes of
it, which each rule states.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any, Final, TypeAlias

from control_plane.provisioning.planned import UNKNOWN, UNSET, Part

Rule: TypeAlias = Callable[[Part], bool]

_ANYWHERE: Final = frozenset({"*", "any", "internet", "azurecloud", "0.0.0.0"})  # noqa: S104 - what is looked for
_IPV4_PREFIX_MIN: Final = 8
_IPV6_PREFIX_MIN: Final = 16
_IPV4_WIDE: Final = 2 ** (32 - _IPV4_PREFIX_MIN)


def always(_part: Part) -> bool:
    """Of some types every resource is bad."""
    return True


def all_of(*rules: Rule) -> Rule:
    """Bad where every rule says so."""
    return lambda part: all(rule(part) for rule in rules)


def any_of(*rules: Rule) -> Rule:
    """Bad where one rule says so."""
    return lambda part: any(rule(part) for rule in rules)


def inside(path: str, rule: Rule) -> Rule:
    """Bad where a rule says so of one of the blocks at a path."""
    return lambda part: any(rule(one) for one in part.blocks(*path.split(".")))


def flag(path: str, *, safe: bool, unset: bool) -> Rule:
    """Bad unless the switch is as it is safe; `unset` is what the provider makes of none."""

    def rule(part: Part) -> bool:
        values = [unset if value is UNSET else value for value in part.values(path)]
        return any(value is not safe for value in values)

    return rule


def among(path: str, *bad: str, unset: bool = False) -> Rule:
    """Bad where the text is one of these, in any case of its letters."""
    return _each(path, lambda value: _text(value) in bad, unset=unset)


def not_among(path: str, *good: str, unset: bool) -> Rule:
    """Bad unless the text is one of these, in any case of its letters."""
    return _each(path, lambda value: _text(value) not in good, unset=unset)


def open_to_all(path: str, *, unset: bool = False) -> Rule:
    """Bad where an address range reaches much of the internet."""
    return _each(path, is_open, unset=unset)


def wide_range(first: str, last: str) -> Rule:
    """Bad where two IPv4 addresses have so much between them, or begin at 0.0.0.0: Azure's "all"."""

    def rule(part: Part) -> bool:
        ends = [value for path in (first, last) for value in part.values(path)]
        try:
            low, high = (int(IPv4Address(_text(value))) for value in ends)
        except ValueError:
            return True
        return low == 0 or high - low >= _IPV4_WIDE

    return rule


def missing(path: str) -> Rule:
    """Bad where nothing is given. An expression, known or not, is something: see `planned.py`."""
    return lambda part: all(value in (UNSET, "") for value in part.values(path))


def is_open(value: object) -> bool:
    """Whether a source of traffic is the internet, or so much of it that it makes no difference.

    That is a word for anywhere, or a range of addresses that is not a private one and is wider
    than /8, for IPv6 wider than /16: two halves of the internet are the internet.
    """
    text = _text(value)
    if text in _ANYWHERE or text.startswith("azurecloud."):
        return True
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return False
    least = _IPV4_PREFIX_MIN if isinstance(network, IPv4Network) else _IPV6_PREFIX_MIN
    return network.prefixlen < least and not network.is_private


def _each(path: str, is_bad: Callable[[Any], bool], *, unset: bool) -> Rule:
    def rule(part: Part) -> bool:
        values = part.values(path)
        return any(
            unset if value is UNSET else value is UNKNOWN or is_bad(value) for value in values
        )

    return rule


def _text(value: object) -> str:
    return str(value).strip().lower()
