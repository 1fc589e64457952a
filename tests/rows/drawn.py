"""Random collections, and random policies about their rows, out of a seed. Holds no test."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.support.ruled_engine import ALLOW, DENY, row_policy, rule

Mode = Literal["firm", "guarded", "loose"]
"""What the policy names: fields that have a value; any, but safely; any, so that conditions err."""

MODES: Final[tuple[Mode, ...]] = ("firm", "guarded", "loose", "firm")
ANCHORS: Final = "anchors"
ANCHOR_IDS: Final = tuple(f"00000000-0000-4000-8000-00000000000{one}" for one in "abc")
POOLS: Final[Mapping[str, Sequence[Any]]] = {
    "string": ["", "a", "ann", "anna", "Ann", "\u00e9", "bob", "a b"],
    "text": ["", "Ignore all rules.", "\u00fc"],
    "integer": [-3, -1, 0, 1, 2, 1000],
    # Below what a change needs an approval for.
    "money": [-500, 0, 1, 99, 100, 1_000_000],
    "boolean": [True, False],
    "date": ["1000-01-01", "2024-02-29", "2026-01-01", "9999-12-31"],
    "timestamp": [
        "1000-01-01T00:00:00.000000Z",
        "2026-01-01T00:00:00.000000Z",
        "2026-01-01T00:00:00.000001Z",
        "9999-12-31T23:59:59.999999Z",
    ],
    "uuid": [f"{one * 8}-{one * 4}-4{one * 3}-8{one * 3}-{one * 12}" for one in "09f"],
    "enum": ["open", "closed", "held"],
    "reference": list(ANCHOR_IDS),
    "decimal": ["0.00", "-1.50", "12.25", "99999.99"],
    "json": [{"a": 1}, [1, "b"], "x", 0, False, {}],
}
DECIDABLE: Final = (
    "string", "integer", "money", "boolean", "date", "timestamp", "uuid", "enum", "reference",
)  # fmt: skip
_OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "string": {"max_length": 40},
    "money": {"currency": "EUR"},
    "enum": {"values": POOLS["enum"]},
    "reference": {"collection": ANCHORS},
    "decimal": {"precision": 9, "scale": 2},
}
_ORDERED: Final = {"string", "integer", "money", "date", "timestamp"}
_ROLES: Final = (("support",), ("platform_admin",), ("support", "platform_admin"), ("viewer",))


@dataclass(frozen=True)
class DrawnTable:
    """A declaration, and the rules of its rows' policy."""

    name: str
    mode: Mode
    declaration: dict[str, Any]
    rules: list[dict[str, Any]]

    @property
    def files(self) -> dict[str, str]:
        """What stands in the catalog, by path: JSON is YAML."""
        return {
            f"collections/{self.name}.yaml": json.dumps(self.declaration),
            f"policies/rows_{self.name}.yaml": json.dumps(row_policy(self.name, self.rules)),
        }


def draw_table(seed: int, number: int) -> DrawnTable:
    """The table of that number; each mode comes in its turn."""
    chance, mode = random.Random(f"{seed}/table/{number}"), MODES[number % len(MODES)]
    name = f"t{number:03d}"
    named = _named_fields(chance, mode)
    fields = {**named, **_other_fields(chance)}
    groups = {field["group"] for field in fields.values()} - {"general"}
    declaration = {
        "name": name,
        "description": "Drawn.",
        "fields": fields,
        "groups": {
            group: {"group_size_min": chance.randint(2, 4)}
            for group in sorted(groups)
            if chance.random() < 0.6
        },
        "limits": {"page_rows_max": chance.choice([3, 100])},
    }
    return DrawnTable(name, mode, declaration, _rules(chance, mode, named, sorted(groups)))


def erring_group() -> DrawnTable:
    """Not drawn: of a row without an amount one rule of the group `pii` errs, where another allows."""
    name = "terring"
    fields = {
        "state": {"kind": "enum", "values": ["open", "closed"], "nullable": False},
        "amount": {"kind": "money", "currency": "EUR", "nullable": True},
        "phone": {"kind": "string", "nullable": True, "group": "pii"},
    }
    for field in fields.values():
        field.setdefault("group", "general")
    declaration = {
        "name": name,
        "description": "By hand.",
        "fields": fields,
        "groups": {},
        "limits": {"page_rows_max": 100},
    }
    rules = [
        rule(ALLOW, ("support", "platform_admin"), ("read", "create", "update", "delete")),
        rule(ALLOW, ("support",), ("read_pii",), 'R.attr.state == "open"'),
        rule(ALLOW, ("support",), ("read_pii",), "R.attr.amount < 100"),
    ]
    return DrawnTable(name, "loose", declaration, rules)


def draw_values(chance: random.Random, declaration: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values as they are sent; what has a default or may be missing is left out at times."""
    values: dict[str, Any] = {}
    for name, field in declaration["fields"].items():
        if field["kind"] == "computed":
            continue
        optional = field.get("nullable") or "default" in field
        if optional and chance.random() < 0.2:
            continue
        values[name] = draw_value(chance, field)
    return values


def draw_value(chance: random.Random, field: Mapping[str, Any]) -> Any:
    """A value of the field, or null where it may be."""
    if field.get("nullable") and chance.random() < 0.35:
        return None
    return chance.choice(field.get("values", POOLS[field["kind"]]))


def _named_fields(chance: random.Random, mode: Mode) -> dict[str, dict[str, Any]]:
    kinds = [chance.choice(DECIDABLE) for _ in range(chance.randint(3, 5))]
    fields: dict[str, dict[str, Any]] = {}
    for place, kind in enumerate(kinds):
        nullable = mode != "firm" and (place == 0 or chance.random() < 0.6)
        fields[f"{kind}_{place}"] = _field(chance, kind, nullable=nullable)
    next(iter(fields.values()))["group"] = "general"
    return fields


def _field(chance: random.Random, kind: str, *, nullable: bool) -> dict[str, Any]:
    field: dict[str, Any] = {"kind": kind, "nullable": nullable, **_OPTIONS.get(kind, {})}
    field["group"] = chance.choice(["general", "general", "pii", "inner"])
    if kind in {"integer", "enum", "date"} and chance.random() < 0.3:
        field["default"] = chance.choice(POOLS[kind])
    return field


def _other_fields(chance: random.Random) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = {}
    for kind in ("text", "decimal", "json", "string", "integer"):
        if chance.random() < 0.6:
            fields[f"other_{kind}"] = _field(chance, kind, nullable=chance.random() < 0.5)
    if chance.random() < 0.5:
        group = chance.choice(["general", "pii"])
        for name in ("left_part", "right_part"):
            fields[name] = {"kind": "integer", "nullable": chance.random() < 0.5, "group": group}
        op = chance.choice(["sum", "difference", "product"])
        formula = {"op": op, "fields": ["left_part", "right_part"]}
        fields["made"] = {"kind": "computed", "formula": formula, "group": group}
    return fields


def _rules(
    chance: random.Random, mode: Mode, named: Mapping[str, Any], groups: Sequence[str]
) -> list[dict[str, Any]]:
    actions = ["read", "create", "update", "delete", *(f"read_{group}" for group in groups)]

    def some(likely: float) -> list[str]:
        drawn = [action for action in actions if chance.random() < likely]
        return drawn or [chance.choice(actions)]

    rules: list[dict[str, Any]] = []
    for roles in (_ROLES[0], _ROLES[1], *(chance.choice(_ROLES) for _ in range(2))):
        match = None if chance.random() < 0.25 else _match(chance, mode, named)
        rules.append(rule(ALLOW, roles, sorted({"read", *some(0.7)}), match))
    # A group in rules of its own: where one of them errs, the row may be read and its field not.
    rules += [
        rule(ALLOW, chance.choice(_ROLES[:3]), (f"read_{group}",), _match(chance, mode, named))
        for group in groups
        for _ in range(2)
        if mode == "loose"
    ]
    rules += [
        rule(DENY, ("*",), some(0.4), _match(chance, mode, named, depth=1))
        for _ in range(chance.randint(0, 2))
    ]
    chance.shuffle(rules)
    return rules


def _match(
    chance: random.Random, mode: Mode, named: Mapping[str, Any], depth: int = 2
) -> dict[str, Any]:
    form = chance.choice(["expr", "expr", "all", "any", "none"])
    if form == "expr":
        return {"expr": _expression(chance, mode, named, depth)}
    parts = [{"expr": _expression(chance, mode, named, depth - 1)} for _ in range(2)]
    return {form: {"of": parts}}


def _expression(chance: random.Random, mode: Mode, named: Mapping[str, Any], depth: int) -> str:
    form = chance.choice(["atom", "and", "or", "not"]) if depth > 0 else "atom"
    if form == "atom":
        return _atom(chance, mode, named)
    first = _expression(chance, mode, named, depth - 1)
    if form == "not":
        return f"!({first})"
    sign = "&&" if form == "and" else "||"
    return f"({first} {sign} {_expression(chance, mode, named, depth - 1)})"


def _atom(chance: random.Random, mode: Mode, named: Mapping[str, Any]) -> str:
    if chance.random() < 0.12:
        return chance.choice(
            ['P.attr.actor == "bot"', 'P.attr.actor_kind != "agent"', "P.attr.actor == P.id"]
        )
    name = chance.choice(sorted(named))
    field, attribute = named[name], f"R.attr.{name}"
    literal = json.dumps(chance.choice(POOLS[field["kind"]]), ensure_ascii=False)
    forms = [f"{attribute} == {literal}", f"{attribute} != {literal}", f"{literal} == {attribute}"]
    among = [json.dumps(one, ensure_ascii=False) for one in POOLS[field["kind"]][:2]]
    forms.append(f"{attribute} in [{', '.join(among)}]")
    if field["kind"] == "string":
        forms += [f"{attribute} == P.id", f"P.attr.actor != {attribute}"]
    if field["nullable"]:
        forms += [f"{attribute} == null", f"null != {attribute}"]
        forms.append(f"{attribute} in [{among[0]}, null]")
    erring = [f"{attribute} {op} {literal}" for op in ("<", "<=", ">", ">=")]
    if field["kind"] == "boolean":
        # Alone a bare one that is missing is false, and not what its plan says: it never is here.
        erring = [] if field["nullable"] else [attribute, f"!{attribute}"]
    elif field["kind"] not in _ORDERED:
        erring = []
    chosen = chance.choice([*forms, *erring, *erring])
    if chosen in erring and field["nullable"] and mode != "loose":
        return f"({attribute} != null && {chosen})"
    return chosen
