"""What rows are known by: one sha256 over their content, made as they stream by."""

import hashlib
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipeline_lib.data.arrow import has_zone, is_binary, is_null, is_wide_text
from pipeline_lib.data.hashing import add_words
from pipeline_lib.data.values.written import is_typed_text
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.storage.json_files import Json

_BLOCK_ROWS = 65_536


class _Hash(Protocol):
    def update(self, data: "bytes | memoryview[Any]", /) -> None: ...
    def copy(self) -> "_Hash": ...
    def hexdigest(self) -> str: ...


class ContentDigest:
    """One sha256 over names, types and every value, row order included.

    Text that was written from typed values is another type than text. How rows are chunked, sliced
    or dictionary-encoded does not count; what stands behind a null does not either.

    Args:
        schema: of all rows.
        prefix_rows: where to take the digest of the rows up to there as well.
    """

    def __init__(self, schema: pa.Schema, *, prefix_rows: int | None = None) -> None:
        self._schema, self._prefix_rows = schema, prefix_rows
        self._hashes: list[_Hash] = [hashlib.sha256() for _ in schema]
        self._pending: list[pa.Table] = []
        self._n_pending = self._n_done = 0
        self.prefix: str | None = None

    def add(self, rows: pa.Table) -> None:
        """Take in the next rows."""
        self._pending.append(rows)
        self._n_pending += rows.num_rows
        if self._n_pending >= _BLOCK_ROWS:
            table = pa.concat_tables(self._pending)
            n_whole = table.num_rows - table.num_rows % _BLOCK_ROWS
            for start in range(0, n_whole, _BLOCK_ROWS):
                self._take(table.slice(start, _BLOCK_ROWS))
            rest = table.slice(n_whole)
            self._pending, self._n_pending = [rest], rest.num_rows

    def finish(self) -> str:
        """Return the digest of all rows."""
        if self._n_pending:
            self._take(pa.concat_tables(self._pending))
        return self._digest(self._hashes, self._n_done)

    def _take(self, block: pa.Table) -> None:
        if self._prefix_rows is not None:
            within = self._prefix_rows - self._n_done
            if 0 < within <= block.num_rows:
                hashes = [hash_.copy() for hash_ in self._hashes]
                _feed(hashes, block.slice(0, within))
                self.prefix = self._digest(hashes, self._prefix_rows)
        _feed(self._hashes, block)
        self._n_done += block.num_rows

    def _digest(self, hashes: "list[_Hash]", n_rows: int) -> str:
        columns: list[Json] = [
            {"name": field.name, "type": _type_of(field), "digest": hash_.hexdigest()}
            for field, hash_ in zip(self._schema, hashes, strict=True)
        ]
        return digest_json({"n_rows": n_rows, "columns": columns})


def plain_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type of values, however they are stored."""
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return pa.string() if is_wide_text(arrow_type) else arrow_type


def _type_of(field: pa.Field) -> str:
    kind = str(plain_type(field.type))
    return f"{kind} of typed values" if is_typed_text(field) else kind


def _feed(hashes: "list[_Hash]", block: pa.Table) -> None:
    for column, hash_ in zip(block.columns, hashes, strict=True):
        plain = plain_type(column.type)
        values = pa.concat_arrays(column.cast(plain).chunks)
        hash_.update(np.packbits(~is_null(values)).tobytes())
        if pa.types.is_integer(plain) or pa.types.is_floating(plain):
            hash_.update(values.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
            continue
        add_words(hash_, _as_bytes(values))


def _as_bytes(values: pa.Array) -> pa.Array:
    """Return each value as bytes, or as text: nested ones, which Arrow cannot cast, as Python's."""
    if is_binary(values.type):
        return values.cast(pa.binary()).fill_null(b"")
    if has_zone(values.type):
        # To show another zone than UTC Arrow needs a database that not every machine has.
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    try:
        return values.cast(pa.string()).fill_null("")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array(["" if v is None else repr(v) for v in values.to_pylist()], pa.string())
