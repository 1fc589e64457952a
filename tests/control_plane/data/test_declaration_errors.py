"""Wrong declarations: each is told with file, line, field and rule, and never with the value."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from control_plane.data.collection import Collection, bind_collections, load_collections
from control_plane.data.field import LENGTH_MAX
from control_plane.errors import BadInput

DEALS: Final = """\
name: deals
description: What is sold.
fields:
  title:
    kind: string
    max_length: 200
  stage:
    kind: enum
    values: [open, won]
  person:
    kind: reference
    collection: people
  count:
    kind: integer
  price:
    kind: money
    currency: EUR
  weight:
    kind: decimal
    precision: 8
    scale: 2
  extra:
    kind: json
  notes:
    kind: text
    group: pii
  total:
    kind: computed
    formula:
      op: product
      fields: [count, price]
indexes:
  - [stage, count]
groups:
  pii:
    group_size_min: 5
verbs: [query, get]
limits:
  bulk_rows_max: 10
"""
PEOPLE: Final = "name: people\ndescription: Who.\nfields:\n  name:\n    kind: string\n"
CODES: Final = """\
name: codes
description: Codes.
reference: true
key: code
fields:
  code:
    kind: string
    max_length: 3
    pattern: '[a-z]+'
  weight:
    kind: integer
    nullable: true
rows:
  - {code: abc, weight: 1}
  - {code: def}
"""

# What is replaced, by what, and then: the line, the path and the rule that are told.
WRONG: Final[list[tuple[str, str, int, str, str]]] = [
    ("kind: json", "kind: varchar", 23, "fields.extra.kind", "Input should be 'string', 'text'"),
    ("max_length: 200", "max_length: '9'", 6, "fields.title.max_length", "valid integer"),
    ("max_length: 200", "max_length: 1001", 6, "fields.title.max_length", "at most 1000"),
    ("max_length: 200", "max_length: 0", 6, "fields.title.max_length", "greater than or equal"),
    ("max_length: 200", "length: 9", 6, "fields.title.length", "not permitted"),
    ("max_length: 200", "values: [a]", 6, "fields.title.values", "not belong to kind string"),
    ("max_length: 200", "nullable: 1", 6, "fields.title.nullable", "valid boolean"),
    ("max_length: 200", "pattern: '('", 6, "fields.title.pattern", "without look-around"),
    ("max_length: 200", "pattern: 'a)|(b'", 6, "fields.title.pattern", "without look-around"),
    ("max_length: 200", "default: [a]", 6, "fields.title.default", "must be text"),
    ("max_length: 200", "default: 7", 6, "fields.title.default", "valid string"),
    ("200\n", "2\n    default: abc\n", 7, "fields.title.default", "at most 2 characters"),
    ("max_length: 200", "unique: 'yes'", 6, "fields.title.unique", "valid boolean"),
    ("200\n", "601\n    unique: true\n", 7, "fields.title.unique", "at most 600 characters"),
    ("    values: [open, won]\n", "", 7, "fields.stage.values", "needs it"),
    ("[open, won]", "[won, won]", 9, "fields.stage.values", "must not repeat"),
    ("[open, won]", "[]", 9, "fields.stage.values", "1 to 64 values"),
    ("[open, won]", "[open, 7]", 9, "fields.stage.values.1", "valid string"),
    ("[open, won]", "[open, won]\n    default: lost", 10, "fields.stage.default", "'open'"),
    ("collection: people", "collection: persons", 12, "fields.person.collection", "declared"),
    ("collection: people", "collection: Persons", 12, "fields.person.collection", "pattern"),
    ("    collection: people\n", "", 10, "fields.person.collection", "needs it"),
    ("collection: people", "default: x", 12, "fields.person.default", "kind reference"),
    ("kind: integer", "kind: integer\n    default: '1'", 15, "fields.count.default", "integer"),
    ("kind: integer", "kind: integer\n    currency: EUR", 15, "fields.count.currency", "belong"),
    ("currency: EUR", "currency: eur", 17, "fields.price.currency", "pattern"),
    ("    currency: EUR\n", "", 15, "fields.price.currency", "needs it"),
    ("currency: EUR", "currency: EUR\n    unique: true", 18, "fields.price.unique", "kind money"),
    ("precision: 8", "precision: 19", 20, "fields.weight.precision", "less than or equal to 18"),
    ("precision: 8", "precision: 1", 21, "fields.weight.scale", "not be more than precision"),
    ("    precision: 8\n", "", 18, "fields.weight.precision", "needs it"),
    ("    scale: 2\n", "", 18, "fields.weight.scale", "needs it"),
    ("scale: 2", "scale: 10", 21, "fields.weight.scale", "less than or equal to 9"),
    ("scale: 2", "scale: 2\n    default: 12.5", 22, "fields.weight.default", "exactly 2 decimals"),
    ("kind: json", "kind: json\n    default: '{}'", 24, "fields.extra.default", "kind json"),
    ("kind: json", "kind: json\n    max_length: 100001", 24, "fields.extra.max_length", "100000"),
    ("    formula:", "    nullable: true\n    formula:", 29, "fields.total.nullable", "computed"),
    ("    formula:", "    default: 1\n    formula:", 29, "fields.total.default", "computed"),
    ("op: product", "op: quotient", 30, "fields.total.formula.op", "'concat', 'sum'"),
    ("op: product", "op: sum", 31, "fields.total.formula.fields.1", "kind, currency and scale"),
    ("op: product", "op: concat", 31, "fields.total.formula.fields.0", "that concat takes"),
    (
        "op: product",
        "op: product\n      separator: x",
        31,
        "fields.total.formula.separator",
        "not belong to op product",
    ),
    ("[count, price]", "[count]", 31, "fields.total.formula.fields", "at least 2 items"),
    ("[count, price]", "[weight, price]", 31, "fields.total.formula.fields.1", "only one"),
    ("[count, price]", "[count, cost]", 31, "fields.total.formula.fields.1", "declared field"),
    ("[count, price]", "[count, total]", 31, "fields.total.formula.fields.1", "product takes"),
    ("currency: EUR", "currency: EUR\n    group: pii", 28, "fields.total.group", "the one group"),
    ("[stage, count]", "[stage, cost]", 33, "indexes.0.1", "declared field"),
    ("[stage, count]", "[stage, notes]", 33, "indexes.0.1", "kind text has no index"),
    ("[stage, count]", "[extra]", 33, "indexes.0.0", "kind json has no index"),
    ("[stage, count]", "[count, count]", 33, "indexes.0", "must not repeat a field"),
    ("[stage, count]", "[count]\n  - [count]", 34, "indexes.1", "must not repeat an index"),
    ("[stage, count]", "[]", 33, "indexes.0", "at least 1 item"),
    ("  - [stage, count]\n", "  - [count]\n" * 17, 32, "indexes", "at most 16 items"),
    ("  pii:\n", "  secret:\n", 35, "groups.secret", "the group of a field"),
    ("group_size_min: 5", "group_size_min: 0", 36, "groups.pii.group_size_min", "greater"),
    ("group_size_min: 5", "size: 5", 36, "groups.pii.size", "not permitted"),
    ("pii:\n    group_size_min: 5", "pii: {}", 35, "groups.pii", "must say something"),
    ("group_size_min: 5", "leaves_as: veil", 36, "groups.pii.leaves_as", "'clear' or 'handle'"),
    ("[query, get]", "[query, drop]", 37, "verbs.1", "'query', 'get'"),
    ("[query, get]", "[get, get]", 37, "verbs.1", "must not repeat"),
    ("[query, get]", "[]", 37, "verbs", "at least 1 item"),
    ("bulk_rows_max: 10", "bulk_rows_max: 1001", 39, "limits.bulk_rows_max", "1000"),
    ("bulk_rows_max: 10", "page_rows_max: 0", 39, "limits.page_rows_max", "greater"),
    ("  title:\n", "  Title:\n", 4, "fields.Title", "pattern"),
    ("  title:\n", "  tenant_id:\n", 4, "fields.tenant_id", "must not declare"),
    ("name: deals", "name: paybill_deals", 1, "name", "must not start with"),
    ("name: deals", "name: orders", 1, "name", "file's name"),
    ("description: What is sold.\n", "", 1, "description", "required"),
    ("limits:", "key: title\nlimits:", 38, "key", "belongs to a reference"),
    ("limits:", "rows: [{title: a}]\nlimits:", 38, "rows", "belongs to a reference"),
    ("limits:", "reference: true\nlimits:", 11, "fields.person.kind", "reference collection"),
]
WRONG_CODES: Final[list[tuple[str, str, int, str, str]]] = [
    ("reference: true\n", "", 3, "key", "belongs to a reference"),
    ("key: code\n", "", 1, "key", "needs a key"),
    ("key: code", "key: weight", 4, "key", "needs a key"),
    ("key: code", "key: other", 4, "key", "needs a key"),
    ("  - {code: abc, weight: 1}\n  - {code: def}\n", "  []\n", 13, "rows", "needs rows"),
    ("code: def", "code: abc", 15, "rows.1", "must not repeat a key"),
    ("code: def", "code: DEF", 15, "rows.1.code", "String should match"),
    ("code: def", "weight: 2", 15, "rows.1.code", "valid string"),
    ("code: def", "code: def, id: x", 15, "rows.1.id", "must be a declared field"),
    ("code: def", "code: [DEF]", 15, "rows.1.code", "must be text"),
    ("weight: 1", "weight: '1'", 14, "rows.0.weight", "valid integer"),
    ("weight: 1", "weight: true", 14, "rows.0.weight", "valid integer"),
    ("max_length: 3", "unique: true", 8, "fields.code.unique", "reference collection"),
    ("max_length: 3", "default: DEF", 8, "fields.code.default", "reference collection"),
    ("rows:", "indexes: [[code]]\nrows:", 13, "indexes", "reference collection"),
    ("rows:", "verbs: [get, create]\nrows:", 13, "verbs.1", "has only query, get"),
]
PLACED: Final = [("deals", DEALS, *wrong) for wrong in WRONG] + [
    ("codes", CODES, *wrong) for wrong in WRONG_CODES
]


def load(folder: Path, **texts: str) -> tuple[Collection, ...]:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_collections(folder)


def test_what_the_mistakes_are_made_in_is_right(tmp_path: Path) -> None:
    loaded = load(tmp_path, deals=DEALS, people=PEOPLE, codes=CODES)
    assert [one.name for one in loaded] == ["codes", "deals", "people"]


@pytest.mark.slice_of(4)
@pytest.mark.parametrize(("name", "text", "old", "new", "line", "path", "rule"), PLACED)
def test_a_broken_rule_is_told_with_its_place(
    tmp_path: Path, name: str, text: str, old: str, new: str, line: int, path: str, rule: str
) -> None:
    assert text.count(old) >= 1
    with pytest.raises(BadInput) as caught:
        load(tmp_path, people=PEOPLE, **{name: text.replace(old, new, 1)})
    assert caught.value.field == f"{name}.yaml:{line}: {path}"
    assert rule in caught.value.rule
    assert not caught.value.rule.startswith("Value error")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_length: 200", "max_length: hunter2"),
        ("max_length: 200", "max_length: 3\n    default: hunter2"),
        ("currency: EUR", "currency: hunter2"),
        ("collection: people", "collection: hunter2"),
        ("[count, price]", "[count, hunter2]"),
        ("[stage, count]", "[hunter2]"),
        ("[query, get]", "[hunter2]"),
        ("name: deals", "name: hunter2"),
    ],
)
def test_the_value_that_breaks_a_rule_is_not_told(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, people=PEOPLE, deals=DEALS.replace(old, new, 1))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "7", "text"])
def test_a_file_that_is_no_mapping_is_told_by_its_first_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, deals=text)
    assert caught.value.field == "deals.yaml:1"


def test_a_computed_text_has_a_bounded_length(tmp_path: Path) -> None:
    joined = DEALS.replace("op: product", "op: concat").replace("[count, price]", "[title, title]")
    assert load(tmp_path, people=PEOPLE, deals=joined)[0].columns["total"].length_max == 400
    with pytest.raises(BadInput) as caught:
        load(tmp_path, people=PEOPLE, deals=joined.replace("200", str(LENGTH_MAX["string"])))
    assert caught.value.field == "deals.yaml:31: fields.total.formula.fields"
    assert "at most 1000 characters" in caught.value.rule


def test_collections_from_elsewhere_must_refer_to_each_other_too(tmp_path: Path) -> None:
    (deals, people) = load(tmp_path, people=PEOPLE, deals=DEALS)
    assert bind_collections([deals, people]) == (deals, people)
    with pytest.raises(BadInput) as caught:
        bind_collections([deals])
    assert caught.value.field == "deals.yaml:1: fields.person.collection"
