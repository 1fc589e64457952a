"""The messages that Terraform and a provider exchange (plugin protocol 6), as classes. Not what they mean.

Of the protocol only what a simulated provider needs is here: on the wire a message is its fields'
numbers and types, so its name here is our own, and a field that is left out is passed over.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE: Final = "paybill.simulated"
# One field: type, name, number; a star in front means repeated. A map is a repeated key and value.
_MESSAGES: Final = {
    "Empty": "",
    "Value": "bytes msgpack 1, bytes json 2",
    "Step": "string attribute_name 1",
    "Path": "*Step steps 1",
    "Diagnostic": "int32 severity 1, string summary 2, string detail 3, Path attribute 4",
    "Attribute": "string name 1, bytes type 2, bool required 4, bool optional 5, bool computed 6,"
    "bool sensitive 7, bool deprecated 9, Object nested_type 10, bool write_only 11",
    "Object": "*Attribute attributes 1, int32 nesting 3",
    "NestedBlock": "string type_name 1, Block block 2, int32 nesting 3, int64 min_items 4,"
    "int64 max_items 5",
    "Block": "*Attribute attributes 2, *NestedBlock block_types 3",
    "Schema": "int64 version 1, Block block 2",
    "NamedSchema": "string key 1, Schema value 2",
    "SchemaAnswer": "Schema provider 1, *NamedSchema resources 2, *NamedSchema data 3,"
    "*Diagnostic diagnostics 4",
    "RawState": "bytes json 1",
    "UpgradeQuestion": "string type_name 1, int64 version 2, RawState raw_state 3",
    "UpgradeAnswer": "Value upgraded_state 1, *Diagnostic diagnostics 2",
    "ReadQuestion": "string type_name 1, Value current_state 2, bytes private 3",
    "ReadAnswer": "Value new_state 1, *Diagnostic diagnostics 2, bytes private 3",
    "PlanQuestion": "string type_name 1, Value prior_state 2, Value proposed_new_state 3,"
    "Value config 4, bytes prior_private 5",
    "PlanAnswer": "Value planned_state 1, *Path requires_replace 2, bytes planned_private 3,"
    "*Diagnostic diagnostics 4",
    "ApplyQuestion": "string type_name 1, Value prior_state 2, Value planned_state 3,"
    "Value config 4, bytes planned_private 5",
    "ApplyAnswer": "Value new_state 1, bytes private 2, *Diagnostic diagnostics 3",
    "ImportQuestion": "string type_name 1, string id 2",
    "Imported": "string type_name 1, Value state 2, bytes private 3",
    "ImportAnswer": "*Imported imported_resources 1, *Diagnostic diagnostics 2",
    "DataQuestion": "string type_name 1, Value config 2",
    "DataAnswer": "Value state 1, *Diagnostic diagnostics 2",
}
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
}
# Which question and answer each method has; those that only check or stop need no more than Empty.
METHODS: Final = {
    "GetProviderSchema": ("Empty", "SchemaAnswer"),
    "ValidateProviderConfig": ("Empty", "Empty"),
    "ValidateResourceConfig": ("Empty", "Empty"),
    "ValidateDataResourceConfig": ("Empty", "Empty"),
    "ConfigureProvider": ("Empty", "Empty"),
    "StopProvider": ("Empty", "Empty"),
    "UpgradeResourceState": ("UpgradeQuestion", "UpgradeAnswer"),
    "ReadResource": ("ReadQuestion", "ReadAnswer"),
    "PlanResourceChange": ("PlanQuestion", "PlanAnswer"),
    "ApplyResourceChange": ("ApplyQuestion", "ApplyAnswer"),
    "ImportResourceState": ("ImportQuestion", "ImportAnswer"),
    "ReadDataSource": ("DataQuestion", "DataAnswer"),
}
NESTINGS: Final = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
ERROR: Final = 1


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="paybill_simulated.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for words in (one.split() for one in fields.split(",") if one):
            kind, field_name, number = words
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if kind.startswith("*") else _Field.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


MESSAGES: Final[dict[str, Any]] = _classes()
