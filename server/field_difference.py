"""Who gains or loses sight of a field whose group is another one. Not who may do what with a row."""

from __future__ import annotations

from collections.abc import Iterator

from control_plane.handlers.record_sight import OPEN_GROUP
from policies.row_policies import READ_GROUP_PREFIX, ROWS_PREFIX
from server.policy_cases import callers, cases
from server.policy_side import RECORD, Side, record_facts

SEEN, IN_SOME, HIDDEN = "seen", "seen in some rows", "hidden"


def regrouped(before: Side, after: Side) -> Iterator[tuple[str, str, str, str, str]]:
    """(role, `collection.field`, was, becomes, which groups) where it is not the same."""
    for name in sorted(before.collections.keys() & after.collections.keys()):
        old, new = before.collections[name], after.collections[name]
        for field in sorted(old.fields.keys() & new.fields.keys()):
            groups = old.fields[field].group, new.fields[field].group
            if groups[0] == groups[1]:
                continue
            for role in sorted(before.roles | after.roles):
                was, becomes = (
                    _sight(side, name, group, role)
                    for side, group in zip((before, after), groups, strict=True)
                )
                if was != becomes:
                    told = f"its group: {groups[0]} before, {groups[1]} after"
                    yield role, f"{name}.{field}", was, becomes, told


def _sight(side: Side, name: str, group: str, role: str) -> str:
    """What the role sees of a field of the group, in a tenant that nothing is wrong with."""
    action = f"{READ_GROUP_PREFIX}{group}"
    usual = {**record_facts(side.collections[name]), **callers(())[0]}
    ruled = side.ruled(name)
    needed = ["query"] if ruled or group == OPEN_GROUP else ["query", action]
    (decision,) = side.decide(RECORD, role, [usual], needed)
    if not all(decision.allows(one) for one in needed):
        return HIDDEN
    if not ruled:
        return SEEN
    return _in_rows(side, name, ["read"] if group == OPEN_GROUP else ["read", action], role)


def _in_rows(side: Side, name: str, needed: list[str], role: str) -> str:
    kind = f"{ROWS_PREFIX}{name}"
    texts = side.texts(kind)
    images = [
        {**one, **caller}
        for caller in callers(texts)
        for one in cases(side.properties(kind), texts, {})
    ]
    told = {
        all(decision.allows(one) for one in needed)
        for decision in side.decide(kind, role, images, needed)
    }
    return SEEN if told == {True} else HIDDEN if told == {False} else IN_SOME
