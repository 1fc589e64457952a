"""Which roles a proof is about. The proof is tested with the machines, and what it opens through a face."""

from __future__ import annotations

from server.proving import named_roles


def test_only_the_roles_that_a_policy_names_are_proved_for() -> None:
    texts = ["roles: [support, platform_admin]", "a sentence about an operator's day"]
    assert named_roles(texts) == ["support", "operator", "platform_admin"]


def test_a_word_within_a_word_names_no_role() -> None:
    assert named_roles(["supporting cooperators"]) == []
