"""A finding of the lint is given the line that it is about. Not the findings."""

from __future__ import annotations

import pytest

from policies import places

TEXT = """\
# has( and R.attr.shop stand in a comment
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: Rows-x
  version: "1"
  schemas:
    resourceSchema: {ref: "cerbos:///x.json"}
  rules:
    - name: first
      actions: [read]
      condition:
        match: {expr: R.attr.shop == 1}
    - actions: [read_pi]
      condition:
        match: {expr: 'has(R.attr.one) && size(R.attr.two) + 1 > 2'}
"""


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        ("rule first: must have a name", 9),
        ("rule number 2: must have a name", 13),
        ("kind must match [a-z][a-z0-9_]*", 4),
        ("version must be 'default': the bundle stamps it", 5),
        ("must name a resource schema that is in the bundle", 6),
        ("resource attribute shop is not in its schema", 12),
        ("must not use has() on the resource: send the fact, or null", 15),
        ("must not call size(): no filter of rows can say it", 15),
        ("must not use +: no filter of rows can say it", 15),
        ("something that nobody knows", 0),
    ],
)
def test_a_findings_line_is_found(finding: str, line: int) -> None:
    assert places.line_of(TEXT, finding) == line


def test_an_action_is_found_whole() -> None:
    assert places.action_line(TEXT, "read") == 10
    assert places.action_line(TEXT, "read_pi") == 13


def test_a_text_that_is_no_yaml_has_the_line_where_it_ends_to_be() -> None:
    assert places.parse_line("a: [1\nb: }") == 2
    assert places.parse_line("a: 1") == 0
    assert places.line_of("a: [1\nb: }", "kind must match") == 0
