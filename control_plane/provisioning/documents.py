"""What an access document of AWS or Google grants, as it stands in a plan: text that is JSON. Not where it is attached."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from control_plane.provisioning.planned import Tree

_ALL_ACTIONS: Final = frozenset({"*", "*:*"})
EVERYBODY: Final = frozenset({"allusers", "allauthenticatedusers"})
OWNER_ROLES: Final = frozenset({"roles/owner", "roles/editor"})


def identity_document_is_wide(text: str) -> bool:
    """Whether an identity of AWS is let do everything, or do something to everything.

    A statement that names what is *not* meant, grants all the rest. A text that is no document is
    not proven, and so is wide.
    """
    return _any_statement(text, _identity_statement_is_wide)


def resource_document_is_wide(text: str) -> bool:
    """Whether a resource of AWS, or a role, lets in everybody; that it names all actions is its own affair."""
    return _any_statement(text, _resource_statement_is_wide)


def google_document_is_wide(text: str) -> bool:
    """Whether a policy of Google lets in everybody, or gives somebody the roles over everything."""
    document = _parsed(text)
    if document is None:
        return True
    return any(
        str(binding.get("role")).lower() in OWNER_ROLES
        or any(member.lower() in EVERYBODY for member in _texts(binding.get("members")))
        for binding in _mappings(document.get("bindings"))
    )


def _any_statement(text: str, is_wide: Any) -> bool:
    document = _parsed(text)
    if document is None:
        return True
    statements = _mappings(document.get("Statement"))
    return any(is_wide(one) for one in statements if one.get("Effect") == "Allow")


def _identity_statement_is_wide(statement: Tree) -> bool:
    if "NotAction" in statement or "NotResource" in statement:
        return True
    actions, resources = _texts(statement.get("Action")), _texts(statement.get("Resource"))
    return bool(_ALL_ACTIONS & set(actions)) or "*" in resources


def _resource_statement_is_wide(statement: Tree) -> bool:
    principal = statement.get("Principal")
    if "NotPrincipal" in statement or principal == "*":
        return True
    named = cast("Tree", principal).values() if isinstance(principal, Mapping) else ()
    return any("*" in _texts(one) for one in named)


def _parsed(text: str) -> Tree | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return cast("Tree", document) if isinstance(document, dict) else None


def _mappings(value: object) -> Iterator[Tree]:
    """One object or a list of them: both are written."""
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    yield from (cast("Tree", one) for one in items if isinstance(one, Mapping))


def _texts(value: object) -> list[str]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one for one in items if isinstance(one, str)]
