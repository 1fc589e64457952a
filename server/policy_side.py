"""One of two catalogs that are compared: its policies, and an engine that decides by them. Not the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast, get_args

from control_plane.data.collection import Collection, Verb
from control_plane.facts.record import RecordFacts
from control_plane.handlers.record_sight import group_actions
from policies.bundle import Bundle
from policies.decision import Decision
from policies.gate import Gate
from policies.request import NO_ROLE, RESOURCES_MAX, Attribute, Principal, Resource, is_name
from policies.row_policies import READ_GROUP_PREFIX, ROW_ACTIONS, ROWS_PREFIX
from policies.sources import Document, imports, mapping, read_sources, sequence, texts_of
from server.policy_cases import ACTOR, ACTOR_KIND, ID, Case, fitting

RECORD: Final = "record"
_ANY_ACTION: Final = "anything"
_CANARY: Final = "canary"
_READS: Final = frozenset({"query", "get", "aggregate"})
_VERBS: Final = frozenset(get_args(Verb))
_ROW_READ: Final = "read"


@dataclass(frozen=True)
class Side:
    """A catalog's bundle, the gate of an engine over it, and its collections."""

    bundle: Bundle
    gate: Gate
    collections: Mapping[str, Collection]

    @cached_property
    def documents(self) -> Mapping[str, Document]:
        """What the bundle holds, by path, without the stamp that tells it from another."""
        documents = read_sources([self.bundle.directory])
        for document in documents.values():
            mapping(document.get("resourcePolicy")).pop("version", None)
        return documents

    @cached_property
    def policies(self) -> Mapping[str, Document]:
        """The policy of each kind."""
        bodies = [mapping(one.get("resourcePolicy")) for one in self.documents.values()]
        return {str(one["resource"]): one for one in bodies if one and one["resource"] != _CANARY}

    @cached_property
    def roles(self) -> frozenset[str]:
        """Every role that a rule or a derived role names."""
        found = {str(one) for rule in self._rules() for one in sequence(rule.get("roles"))}
        for document in self.documents.values():
            for one in sequence(mapping(document.get("derivedRoles")).get("definitions")):
                found |= {str(role) for role in sequence(mapping(one).get("parentRoles"))}
        return frozenset(role for role in found if is_name(role) and role not in (NO_ROLE, _CANARY))

    def said(self, kind: str) -> object:
        """All that decides on a kind: what is the same on two sides decides the same."""
        body = self.policies.get(kind)
        if body is None:
            return None
        return [body, imports(body, self.documents), self.properties(kind)]

    def properties(self, kind: str) -> Mapping[str, Mapping[str, object]]:
        """The attributes of a kind, each with its schema; none where there is no such policy."""
        schemas = mapping(self.policies.get(kind, {}).get("schemas"))
        ref = str(mapping(schemas.get("resourceSchema")).get("ref"))
        schema = self.documents.get(f"_schemas/{ref.rpartition('/')[2]}", {})
        found = mapping(schema.get("properties"))
        return {name: mapping(one) for name, one in found.items()}

    def texts(self, kind: str) -> list[str]:
        """The conditions of a kind's policy, with what it imports."""
        body = self.policies.get(kind, {})
        return [text for part in (body, *imports(body, self.documents)) for text in texts_of(part)]

    def actions(self, kind: str) -> frozenset[str]:
        """The actions that a kind's policy names; of rows, those of the field groups, too."""
        rules = [mapping(one) for one in sequence(self.policies.get(kind, {}).get("rules"))]
        found = {str(action) for rule in rules for action in sequence(rule.get("actions"))}
        # What stands for many actions is asked about as one of them.
        single = {action.replace("*", "") or _ANY_ACTION for action in found}
        return frozenset(action for action in single if is_name(action))

    def record_actions(self, collection: str) -> frozenset[str]:
        """What may be asked about a collection's rows as a whole; that it is visible shows no row."""
        return (self.actions(RECORD) | self.row_actions(collection)) - {_ROW_READ}

    def row_actions(self, collection: str) -> frozenset[str]:
        """What may be asked about a row of a collection, if it is declared."""
        declared = self.collections.get(collection)
        return ROW_ACTIONS | frozenset(() if declared is None else group_actions(declared))

    def offers(self, collection: str, action: str) -> bool:
        """Whether the collection is declared, with a verb for the action of the kind `record`."""
        declared = self.collections.get(collection)
        if declared is None:
            return False
        offered = set(declared.offered_verbs)
        if action.startswith(READ_GROUP_PREFIX):
            return bool(offered & _READS) and action in group_actions(declared)
        if action not in _VERBS:
            return bool(offered - _READS)
        return bool(offered & ({"query", "get"} if action == "query" else {action}))

    def offers_row(self, collection: str, action: str) -> bool:
        """Whether a verb of the collection asks for an action on its rows."""
        if action.startswith(READ_GROUP_PREFIX):
            return self.offers(collection, action)
        verbs = _READS if action == _ROW_READ else {action, f"bulk_{action}"}
        return bool(verbs & set(self.collections[collection].offered_verbs))

    def ruled(self, collection: str) -> bool:
        """Whether the rows of a collection have a policy of their own."""
        return f"{ROWS_PREFIX}{collection}" in self.policies

    def decide(
        self, kind: str, role: str, given: Sequence[Case], actions: Sequence[str]
    ) -> Iterator[Decision]:
        """A decision a case, in order; what a case holds beside the kind's attributes is left out."""
        known = self.properties(kind)
        for caller in dict.fromkeys(_caller(one) for one in given):
            name, actor_kind, actor = caller
            principal = Principal(name, (role,), {"actor_kind": actor_kind, "actor": actor})
            asked = [
                Resource(
                    kind,
                    str(number),
                    {name: fitting(case[name], schema) for name, schema in known.items()},
                    tuple(actions),
                )
                for number, case in enumerate(given)
                if _caller(case) == caller
            ]
            for start in range(0, len(asked), RESOURCES_MAX):
                yield from self.gate.check(principal, asked[start : start + RESOURCES_MAX])

    def _rules(self) -> Iterator[Document]:
        for body in self.policies.values():
            yield from (mapping(one) for one in sequence(body.get("rules")))


def _caller(case: Case) -> tuple[str, str, str]:
    return str(case[ID]), str(case[ACTOR_KIND]), str(case[ACTOR])


def record_action(row_action: str) -> str:
    """The action of the kind `record` that stands before one of a row."""
    return "query" if row_action == _ROW_READ else row_action


def record_facts(collection: Collection) -> dict[str, Attribute]:
    """The facts of the kind `record` in the usual case, about no change that weighs anything."""
    facts = RecordFacts(
        exists=True,
        member=True,
        collection=collection.name,
        access_mode="full",
        billing_access="full",
        tenant_state="active",
        reference=collection.reference,
    )
    return cast("dict[str, Attribute]", facts.attributes())
