"""The house's rules for policies, which the engine's compiler does not check. Not a compiler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from policies.request import NO_ROLE, is_name
from policies.row_policies import row_findings
from policies.sources import Document, Side, mapping, mentioned, sequence, texts_of

PLACEHOLDER_VERSION = "default"

_BODIES = frozenset({"resourcePolicy", "derivedRoles", "exportVariables", "exportConstants"})
_HEADS = frozenset({"apiVersion", "description", "metadata"})
_SCHEMA_REF = "cerbos:///"

_HAS = re.compile(r"\bhas\s*\(\s*(?:R|request\s*\.\s*resource)\b")


def lint(documents: Mapping[str, Document]) -> list[str]:
    """Check parsed sources by relative path; returns findings, sorted, empty when all is well."""
    policies = {path: doc for path, doc in documents.items() if not path.startswith("_schemas/")}
    findings = [*_repeated_kinds(policies)]
    for path, document in documents.items():
        found = _policy(path, documents) if path in policies else _schema(document)
        findings += [f"{path}: {finding}" for finding in found]
    return sorted(findings)


def _repeated_kinds(policies: Mapping[str, Document]) -> Iterator[str]:
    seen: dict[object, str] = {}
    for path, document in policies.items():
        kind = repr(mapping(document.get("resourcePolicy")).get("resource"))
        if "resourcePolicy" in document and seen.setdefault(kind, path) != path:
            yield f"{path}: its kind has a policy already, in {seen[kind]}"


def _schema(document: Document) -> Iterator[str]:
    """A closed object with every property required: strict evaluation needs each fact there."""
    if document.get("type") != "object" or document.get("additionalProperties") is not False:
        yield "must be an object schema with additionalProperties false"
    required = {str(name) for name in sequence(document.get("required"))}
    if required != set(mapping(document.get("properties"))):
        yield "must require every property"


def _policy(path: str, documents: Mapping[str, Document]) -> Iterator[str]:
    document = documents[path]
    bodies = set(document) - _HEADS
    if len(bodies) != 1 or not bodies <= _BODIES:
        yield f"must hold exactly one of {', '.join(sorted(_BODIES))}"
        return
    if any(_HAS.search(text) for text in texts_of(document)):
        yield "must not use has() on the resource: send the fact, or null"
    if "resourcePolicy" in document:
        yield from _resource_policy(mapping(document["resourcePolicy"]), documents)


def _resource_policy(body: Document, documents: Mapping[str, Document]) -> Iterator[str]:
    if not is_name(str(body.get("resource"))):
        yield "kind must match [a-z][a-z0-9_]*"
    if body.get("version") != PLACEHOLDER_VERSION:
        yield f"version must be {PLACEHOLDER_VERSION!r}: the bundle stamps it"
    if "scope" in body or "scopePermissions" in body:
        yield "must have no scope: the gate sends none"
    for number, rule in enumerate(sequence(body.get("rules")), start=1):
        yield from _rule(mapping(rule), number)
    yield from _attributes("resource", body, documents)
    yield from _attributes("principal", body, documents)
    yield from row_findings(body, documents)


def _rule(rule: Document, number: int) -> Iterator[str]:
    name = rule.get("name") or f"number {number}"
    roles = sequence(rule.get("roles"))
    when = set(mapping(mapping(rule.get("output")).get("when")))
    if "name" not in rule:
        yield f"rule {name}: must have a name"
    if rule.get("effect") == "EFFECT_DENY":
        if roles != ["*"] or "derivedRoles" in rule:
            yield f'rule {name}: a DENY must have roles ["*"]'
        if when - {"ruleActivated"}:
            yield f"rule {name}: a DENY speaks only when it is activated"
        return
    if rule.get("effect") != "EFFECT_ALLOW":
        yield f"rule {name}: effect must be EFFECT_ALLOW or EFFECT_DENY"
    if not all(isinstance(role, str) and is_name(role) and role != NO_ROLE for role in roles):
        yield f"rule {name}: an ALLOW must name its roles"
    if when - {"conditionNotMet"} or ("output" in rule and not when):
        yield f"rule {name}: an ALLOW speaks only when its condition is not met"


def _attributes(side: Side, body: Document, documents: Mapping[str, Document]) -> Iterator[str]:
    ref = mapping(mapping(body.get("schemas")).get(f"{side}Schema")).get("ref")
    path = f"_schemas/{str(ref).removeprefix(_SCHEMA_REF)}"
    if not isinstance(ref, str) or path not in documents:
        yield f"must name a {side} schema that is in the bundle"
        return
    known = mapping(documents[path].get("properties"))
    for name in sorted(mentioned(side, body, documents)):
        if not name:
            yield f"must name each {side} attribute with a dot"
        elif name not in known:
            yield f"{side} attribute {name} is not in its schema"
