"""Every mistake of a declaration is told once, with its line. Not the rules themselves."""

from __future__ import annotations

import pytest

from control_plane.data.collection import SAMPLES
from control_plane.data.declaration_mistakes import MISTAKES_MAX, misdeclarations
from control_plane.domain.strict_yaml import parse_document

MANY = """\
name: contact
description: ""
colour: red
fields:
  full_name:
    kind: string
    max_lenght: 200
    pattern: "("
  Bad:
    kind: string
  email:
    kind: strin
  id:
    kind: integer
  flag:
    kind: boolean
    max_length: 3
    currency: EUR
  total:
    kind: computed
    formula: {op: sum, fields: [email, flag]}
  other:
    kind: computed
    formula: {op: sum, fields: [full_name, nope]}
indexes:
  - [ful_name]
  - [email]
  - [flag]
  - [flag]
groups:
  pii: {group_size_min: 0}
  x: {group_size_min: 1}
verbs: [query, query, querry]
limits: {page_rows_max: 5000}
"""
ROWS = """\
name: units
description: Units.
reference: true
key: code
fields:
  code: {kind: string, max_length: 3}
  title: {kind: string, max_length: 5}
  number: {kind: integer, default: 3}
rows:
  - {code: AAAA, title: x, number: 1}
  - {code: AAB, titel: xxxx, number: 1}
  - {code: AAC, title: x, number: [1]}
  - {code: AAC, title: x, number: 2}
  - {code: AAC, title: x, number: 2}
"""


ODD = """\
fields:
  a: {kind: strin, group: [a]}
  b: {kind: {}, values: 3}
  c:
rows: [{a: 1}, 3, [4]]
indexes: [3, [a], [[a]]]
groups: [a]
verbs: {}
limits: []
reference: 3
"""


def found(text: str, stem: str) -> dict[str, int]:
    told = misdeclarations(parse_document(text, "x.yaml"), stem)
    assert len({one.part for one in told}) == len(told)
    return {one.part: one.line for one in told}


def test_every_part_that_is_wrong_is_told_with_its_line() -> None:
    assert found(MANY, "contacts") == {
        "name": 1,
        "description": 2,
        "colour": 3,
        "fields.full_name.max_lenght": 7,
        "fields.full_name.pattern": 8,
        "fields.Bad": 9,
        "fields.email.kind": 12,
        "fields.id": 13,
        "fields.flag.max_length": 17,
        "fields.flag.currency": 18,
        "fields.other.formula.fields.0": 24,
        "indexes.0.0": 26,
        "indexes.3": 29,
        "groups.pii.group_size_min": 31,
        "groups.x": 32,
        "verbs.1": 33,
        "verbs.2": 33,
        "limits.page_rows_max": 34,
    }


def test_each_declared_row_is_told_by_its_own_place() -> None:
    assert found(ROWS, "units") == {
        "fields.number.default": 8,
        "rows.0.code": 10,
        "rows.1.titel": 11,
        "rows.2.number": 12,
        "rows.4": 14,
    }


def test_what_was_probably_meant_is_told() -> None:
    rules = {one.part: one.rule for one in misdeclarations(parse_document(MANY, "x"), "contacts")}
    assert rules["fields.full_name.max_lenght"] == "is not known; did you mean max_length?"
    assert rules["indexes.0.0"] == "must be a declared field; did you mean full_name?"
    assert rules["colour"] == "is not known"


@pytest.mark.parametrize(
    "text", ["", "- 1", "fields: 3", "rows: 3", "fields: {a: 3}", "indexes: x"]
)
def test_a_file_that_is_hardly_begun_has_mistakes_and_no_traceback(text: str) -> None:
    assert misdeclarations(parse_document(text, "x.yaml"), "units")


def test_a_declaration_without_a_mistake_has_none() -> None:
    for path in sorted(SAMPLES.glob("c*.yaml")):
        assert misdeclarations(parse_document(path.read_text(), path.name), path.stem) == ()


def test_no_more_is_told_than_anybody_reads() -> None:
    rows = "".join(f"  - {{code: A{number:04}, nope: 1}}\n" for number in range(200))
    text = ROWS.partition("rows:")[0].replace("max_length: 3", "max_length: 9") + "rows:\n" + rows
    assert len(misdeclarations(parse_document(text, "x.yaml"), "units")) == MISTAKES_MAX
