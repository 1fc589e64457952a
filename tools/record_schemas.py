"""The typed inputs and outputs of the tools over any collection. Not those of one collection's own tools."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from control_plane.data.measures import GROUP_FIELDS_MAX, MEASURES_MAX, AggregateOp
from tools.schemas import DryRun, Handle, Key, TenantName
from tools.spec import Arguments, Result

FIELD_PATTERN = r"^[a-z][a-z0-9_]{0,47}$"
CollectionName = Annotated[str, Field(pattern=FIELD_PATTERN)]
FieldName = Annotated[str, Field(pattern=FIELD_PATTERN)]
RecordId = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="The record's id."),
]
Version = Annotated[
    int,
    Field(ge=1, le=2**53 - 1, description="The version that you read; another one is refused."),
]
Sort = Annotated[
    str | None,
    Field(
        pattern=r"^-?[a-z][a-z0-9_]{0,47}$",
        description="A field; a leading minus sorts downwards.",
    ),
]
Filter = Annotated[
    dict[str, Any] | None,
    Field(
        description='{"op":"and|or|not","args":[…]} or '
        '{"op":"eq|ne|lt|le|gt|ge|in|is_null","field":…,"value":…}',
    ),
]
SomeFilter = Annotated[
    dict[str, Any],
    Field(
        description='{"op":"and|or|not","args":[…]} or '
        '{"op":"eq|ne|lt|le|gt|ge|in|is_null","field":…,"value":…}; a change has no default.',
    ),
]
Fields = Annotated[
    tuple[FieldName, ...],
    Field(max_length=64, description="Only these fields, with id and version; none means all."),
]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[
    str | None,
    Field(max_length=8192, description="The next_cursor of the page before, for the same query."),
]


class DescribeArguments(Arguments):
    """Which collection; none tells all of them in short."""

    collection: CollectionName | None = None


class QueryArguments(Arguments):
    """Which records: a typed filter tree, a sort, a page."""

    tenant: TenantName
    collection: CollectionName
    filter: Filter = None
    sort: Sort = None
    fields: Fields = ()
    limit: Limit = 20
    cursor: Cursor = None


class GetArguments(Arguments):
    """Which record."""

    tenant: TenantName
    collection: CollectionName
    id: RecordId
    fields: Fields = ()


class MeasureArgument(Arguments):
    """One figure; a count without a field counts records."""

    op: AggregateOp
    field: FieldName | None = None


class AggregateArguments(Arguments):
    """What to add up, over which records, by which groups."""

    tenant: TenantName
    collection: CollectionName
    measures: Annotated[
        tuple[MeasureArgument, ...],
        Field(min_length=1, max_length=MEASURES_MAX, description="Named op or op_field."),
    ]
    group_by: Annotated[
        tuple[FieldName, ...],
        Field(max_length=GROUP_FIELDS_MAX, description="Fields; none makes one group of all."),
    ] = ()
    filter: Filter = None
    limit: Limit = 20


class CreateArguments(Arguments):
    """The record that is to be."""

    tenant: TenantName
    collection: CollectionName
    values: dict[str, Any] = Field(max_length=64)
    idempotency_key: Key
    dry_run: DryRun = False


class UpdateArguments(Arguments):
    """The record, and the fields that are to change; what is not named stays."""

    tenant: TenantName
    collection: CollectionName
    id: RecordId
    version: Version
    values: dict[str, Any] = Field(min_length=1, max_length=64)
    idempotency_key: Key
    dry_run: DryRun = False


class DeleteArguments(Arguments):
    """The record that is to go."""

    tenant: TenantName
    collection: CollectionName
    id: RecordId
    version: Version
    idempotency_key: Key
    dry_run: DryRun = False


class BulkUpdateArguments(Arguments):
    """Which records, by a filter, and the fields that are to change in each."""

    tenant: TenantName
    collection: CollectionName
    filter: SomeFilter
    values: dict[str, Any] = Field(min_length=1, max_length=64)
    idempotency_key: Key
    dry_run: DryRun = False


class BulkDeleteArguments(Arguments):
    """Which records, by a filter."""

    tenant: TenantName
    collection: CollectionName
    filter: SomeFilter
    idempotency_key: Key
    dry_run: DryRun = False


class UndoArguments(Arguments):
    """The run whose changes are to be taken back."""

    tenant: TenantName
    run_id: Handle
    idempotency_key: Key
    dry_run: DryRun = False


class CollectionLine(Result):
    """A collection in short; its fields only where it was named."""

    collection: str
    description: str
    verbs: list[str]
    reference: bool
    fields: dict[str, dict[str, Any]] | None = None


class CollectionsResult(Result):
    """The collections that the workspace declares."""

    collections: list[CollectionLine]


class RecordsResult(Result):
    """A page of records; fields that you may not read are absent."""

    records: list[dict[str, Any]]
    next_cursor: str | None
    untrusted_fields: list[str]


class Group(Result):
    """One group: what its rows have in common, how many they are, and the figures by name."""

    by: dict[str, Any]
    rows: int
    values: dict[str, Any]


class AggregateResult(Result):
    """The groups in their order; those of fewer rows than ``group_rows_min`` are left out."""

    groups: list[Group]
    more_groups: bool
    group_rows_min: int


class RecordResult(Result):
    """One record; fields that you may not read are absent."""

    record: dict[str, Any]
    untrusted_fields: list[str]


class DeletedResult(Result):
    """The id of the record that is gone."""

    deleted: str


class ChangedResult(Result):
    """The records that a run has changed, by their ids."""

    changed: int
    ids: list[str]
