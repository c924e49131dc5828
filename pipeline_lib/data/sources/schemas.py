"""One schema for all files of a source: the same columns, and types that all of them fit into.

The order of columns does not count. A type is widened only where every value can be carried over
unchanged, and the cast of each batch is checked; anything else is refused by name.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline_lib.data.arrow import has_zone
from pipeline_lib.data.values.zones import canonical_zone, is_known_zone, zones_metadata
from pipeline_lib.errors import SourceError
from pipeline_lib.wording import examples


@dataclass(frozen=True)
class Head:
    """What is known of a file before its rows are read; `name` is what messages call the file.

    `left_out` are columns that the schema is without, and their types.
    """

    name: str
    schema: pa.Schema
    has_rows: bool
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def common_schema(heads: Sequence[Head]) -> pa.Schema:
    """Return the columns of the first file, with types that hold the values of every file.

    Dictionaries become their values, and what a schema says besides names and types is dropped.

    Raises:
        SourceError: a file lacks a column, has one more, or holds a type that does not fit.
    """
    first = heads[0]
    types = {field.name: _plain(field.type) for field in first.schema}
    zones: dict[str, set[str]] = {name: set() for name in types}
    # the file that a type was first seen in: the one to compare with
    seen_in = dict.fromkeys(types, first.name)
    for head in heads[1:]:
        _check_columns(head, first)
        for field in head.schema:
            before, found = types[field.name], _plain(field.type)
            common = _common_type(before, found)
            if common is None:
                raise SourceError(
                    f"{head.name}: column {field.name!r} is of type {found}, in "
                    f"{seen_in[field.name]} of type {before}; write it with one type in all files"
                )
            if common != before:
                types[field.name], seen_in[field.name] = common, head.name
    for field in (field for head in heads for field in head.schema):
        if (zone := _zone(field.type)) is not None:
            zones[field.name].add(zone)
    return pa.schema([_field(name, kind, zones[name]) for name, kind in types.items()])


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the columns of the schema, in their order, with their types.

    Raises:
        pa.ArrowInvalid: a value cannot be carried over unchanged; the message names the column.
    """
    columns: list[pa.Array] = []
    for field in schema:
        column = batch.column(field.name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise pa.ArrowInvalid(f"column {field.name!r}: {error}") from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _check_columns(head: Head, first: Head) -> None:
    missing = [name for name in first.schema.names if name not in head.schema.names]
    extra = [name for name in head.schema.names if name not in first.schema.names]
    found = [f"lacks {examples(missing)}"] if missing else []
    found += [f"has {examples(extra)} more"] if extra else []
    if found:
        raise SourceError(
            f"{head.name}: other columns than {first.name}: it {' and '.join(found)}. "
            "All files of a source need the same columns"
        )


def _plain(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type that values are read as: one without a form or zone of their own.

    Every batch of a dictionary column may bring other words, every file may use another width. For
    views and narrow decimals Arrow has few kernels. An instant is the same one in whatever zone
    its file shows it; a zone that this machine does not know becomes UTC.
    """
    if pa.types.is_dictionary(arrow_type):
        return _plain(arrow_type.value_type)
    if pa.types.is_string_view(arrow_type):
        return pa.string()
    if pa.types.is_binary_view(arrow_type):
        return pa.binary()
    if pa.types.is_decimal(arrow_type) and arrow_type.bit_width < 128:
        return pa.decimal128(arrow_type.precision, arrow_type.scale)
    if has_zone(arrow_type):
        zone = canonical_zone(str(arrow_type.tz))
        return pa.timestamp(arrow_type.unit, zone if is_known_zone(zone) else "UTC")
    return arrow_type


def _zone(arrow_type: pa.DataType) -> str | None:
    if pa.types.is_dictionary(arrow_type):
        return _zone(arrow_type.value_type)
    if not has_zone(arrow_type):
        return None
    return canonical_zone(str(arrow_type.tz))


def _field(name: str, kind: pa.DataType, zones: set[str]) -> pa.Field:
    """Return a field with the zones of its files where its type has another."""
    return pa.field(name, kind, metadata=zones_metadata(zones) if zones - {_zone(kind)} else None)


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other:
        return one
    for refused in (pa.types.is_binary, pa.types.is_large_binary):  # bytes are no text
        if refused(one) or refused(other):
            return None
    if {pa.types.is_decimal(one), pa.types.is_decimal(other)} == {True, False} and (
        pa.types.is_floating(one) or pa.types.is_floating(other)
    ):  # a cast between them rounds silently
        return None
    if (zones := {_zone(one), _zone(other)} - {None}) and len(zones) == 2:
        units = {one.unit, other.unit}
        finest = next(unit for unit in ("ns", "us", "ms", "s") if unit in units)
        return pa.timestamp(finest, "UTC")
    try:
        both = [pa.schema([("", one)]), pa.schema([("", other)])]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None
