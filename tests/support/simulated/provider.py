"""A provider that keeps nothing and reaches nothing: it plans and makes what its schema declares.

Not a cloud: it knows no quota, no credential, and of an argument only its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from tests.support.simulated.protocol import ERROR, MESSAGES, NESTINGS
from tests.support.simulated.schema import Block, ProviderSchema
from tests.support.simulated.values import (
    Value,
    decode,
    encode,
    from_json,
    made,
    with_unknowns,
    without_write_only,
)
from tests.support.simulated.world import Deed, World

_FLAGS: Final = ("required", "optional", "computed", "sensitive", "deprecated", "write_only")


class SimulatedProvider:
    """Answers Terraform's questions about one schema. Questions and answers are MESSAGES."""

    def __init__(self, schema: ProviderSchema, world: World) -> None:
        self._schema = schema
        self._world = world

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """What answers each method of the protocol that is more than a formality."""
        return {
            "GetProviderSchema": self.describe,
            "UpgradeResourceState": self.upgrade,
            "ReadResource": self.read,
            "PlanResourceChange": self.plan,
            "ApplyResourceChange": self.apply,
            "ImportResourceState": self.take_over,
            "ReadDataSource": self.look,
        }

    def describe(self, _question: Any) -> Any:
        """The whole schema."""
        return MESSAGES["SchemaAnswer"](
            provider=_schema(self._schema.provider_block),
            resources=_named(self._schema.resources),
            data=_named(self._schema.data),
        )

    def upgrade(self, question: Any) -> Any:
        """A state out of a file, in the shape of this schema: there was never another."""
        block = self._schema.resources[question.type_name]
        return MESSAGES["UpgradeAnswer"](
            upgraded_state=_message(from_json(block, question.raw_state.json))
        )

    def read(self, question: Any) -> Any:
        """The state as it was kept, but for what the world did to it."""
        state = self._world.seen(question.type_name, _value(question.current_state))
        block = self._schema.resources[question.type_name]
        return MESSAGES["ReadAnswer"](
            new_state=_message(without_write_only(block, state)), private=question.private
        )

    def plan(self, question: Any) -> Any:
        """What the change would end in; a changed argument of `force_new` wants another resource."""
        block = self._schema.resources[question.type_name]
        prior = _value(question.prior_state)
        planned = without_write_only(block, _value(question.proposed_new_state))
        if planned is not None and planned != prior:
            planned = with_unknowns(block, planned)
        replaced = self._replaced(question.type_name, prior, planned)
        step, path = MESSAGES["Step"], MESSAGES["Path"]
        return MESSAGES["PlanAnswer"](
            planned_state=_message(planned),
            requires_replace=[path(steps=[step(attribute_name=name)]) for name in replaced],
        )

    def _replaced(self, type_name: str, prior: Value, planned: Value) -> list[str]:
        if prior is None or planned is None:
            return []
        return [
            name
            for name in self._schema.force_new.get(type_name, ())
            if prior.get(name) is not None and prior[name] != planned[name]
        ]

    def apply(self, question: Any) -> Any:
        """What was planned, with a value for all that was unknown."""
        prior, planned = _value(question.prior_state), _value(question.planned_state)
        deed: Deed = "create" if prior is None else "delete" if planned is None else "update"
        if self._world.fails(question.type_name, deed, planned or prior):
            refused = MESSAGES["Diagnostic"](severity=ERROR, summary=f"the {deed} was refused")
            return MESSAGES["ApplyAnswer"](new_state=_message(prior), diagnostics=[refused])
        block = self._schema.resources[question.type_name]
        return MESSAGES["ApplyAnswer"](new_state=_message(made(question.type_name, block, planned)))

    def take_over(self, question: Any) -> Any:
        """A resource that stands already: of it only the id is known."""
        block = self._schema.resources[question.type_name]
        state = from_json(block, json.dumps({"id": question.id}).encode())
        one = MESSAGES["Imported"](type_name=question.type_name, state=_message(state))
        return MESSAGES["ImportAnswer"](imported_resources=[one])

    def look(self, question: Any) -> Any:
        """What a data source says: its arguments, and a value for all else."""
        block = self._schema.data[question.type_name]
        asked = with_unknowns(block, _value(question.config))
        return MESSAGES["DataAnswer"](state=_message(made(question.type_name, block, asked)))


def _value(message: Any) -> Value:
    return decode(message.msgpack)


def _message(value: Value) -> Any:
    return MESSAGES["Value"](msgpack=encode(value))


def _named(blocks: dict[str, Block]) -> list[Any]:
    return [
        MESSAGES["NamedSchema"](key=name, value=_schema(block)) for name, block in blocks.items()
    ]


def _schema(block: Block) -> Any:
    return MESSAGES["Schema"](block=_block(block))


def _block(block: Block) -> Any:
    return MESSAGES["Block"](
        attributes=_attributes(block.get("attributes", {})),
        block_types=[
            MESSAGES["NestedBlock"](
                type_name=name,
                block=_block(one["block"]),
                nesting=NESTINGS[one["nesting_mode"]],
                min_items=one.get("min_items", 0),
                max_items=one.get("max_items", 0),
            )
            for name, one in block.get("block_types", {}).items()
        ],
    )


def _attributes(attributes: dict[str, Any]) -> list[Any]:
    return [
        MESSAGES["Attribute"](
            name=name, **_typed(one), **{flag: one.get(flag, False) for flag in _FLAGS}
        )
        for name, one in attributes.items()
    ]


def _typed(attribute: dict[str, Any]) -> dict[str, Any]:
    if (inner := attribute.get("nested_type")) is None:
        return {"type": json.dumps(attribute["type"]).encode()}
    nesting = NESTINGS[inner["nesting_mode"]]
    return {
        "nested_type": MESSAGES["Object"](
            attributes=_attributes(inner["attributes"]), nesting=nesting
        )
    }
