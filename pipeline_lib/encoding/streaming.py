"""Rows of a snapshot to encoded files, in memory that does not grow with the rows.

Three steps: number the words of each segment, count training rows and fit the encoder, write
every split. Only the first sees strings, and it sees each once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config import CategoryColumn, Column
from pipeline_lib.data.splits import SPLITS
from pipeline_lib.encoding.encoder import CountedWords, Encoder, float_fitters
from pipeline_lib.encoding.numeric import FloatFitter
from pipeline_lib.encoding.segments import NumberedBatch, Segment, common_numbers
from pipeline_lib.encoding.target import ClassTarget, Target
from pipeline_lib.encoding.tensors import SplitWriter, code_type
from pipeline_lib.encoding.vocabulary import MISSING, UNSEEN, Vocabulary
from pipeline_lib.errors import UnknownCategoryError

_TRAIN = SPLITS.index("train")
Rows = npt.NDArray[np.bool_] | slice
_ALL = slice(None)


@dataclass(frozen=True)
class Counted:
    """What a pass over numbered rows has seen.

    `train` and `used` count rows by word: of training, and of all splits.
    """

    train: Mapping[str, CountedWords]
    used: Mapping[str, CountedWords]
    fitters: Mapping[str, FloatFitter]


class NumberedRows:
    """The segments of a snapshot, with the split of each row.

    Args:
        segments: consecutive rows, see `encoding.segments`.
        columns: features and target.
        splits: positions in `SPLITS`, −1 for rows that nobody uses; shape ``(n_rows,)``.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        columns: Mapping[str, Column],
        splits: npt.NDArray[np.int8],
    ) -> None:
        self._columns, self._segments, self._splits = columns, segments, splits
        self._words, self._numbers = common_numbers(segments)

    def count(self) -> Counted:
        """Count words, and learn scales from training rows."""
        train, used = (
            {name: np.zeros(len(words) + 1, np.int64) for name, words in self._words.items()}
            for _ in range(2)
        )
        fitters = float_fitters(self._columns)
        for batch, splits in self._batches():
            is_train, is_used = _rows(splits == _TRAIN), _rows(splits >= 0)
            for values, name in zip(batch.rows.columns, self._columns, strict=True):
                if name in self._words:
                    own, numbers = values.to_numpy(), batch.numbers[name]
                    for counts, rows in ((train, is_train), (used, is_used)):
                        found = np.bincount(own[rows], minlength=len(numbers))
                        np.add.at(counts[name], numbers, found)
                elif name in fitters:
                    fitters[name].add(pa.chunked_array([_taken(values, is_train)]))
        return Counted(self._with_words(train), self._with_words(used), fitters)

    def refuse_unknown(self, encoder: Encoder, counted: Counted) -> None:
        """Stop at a category that only val or test rows hold, where a column says so.

        Raises:
            UnknownCategoryError: for the first such column.
        """
        for name, vocabulary in encoder.vocabularies.items():
            column = encoder.columns[name]
            if isinstance(column, CategoryColumn) and column.on_unknown == "error":
                words, used = self._words[name], counted.used[name].counts[1:]
                untrained = (used > 0) & (counted.train[name].counts[1:] == 0)
                unknown = np.flatnonzero(untrained & (vocabulary.codes_of(words) == UNSEEN))
                if unknown.size:
                    raise UnknownCategoryError(
                        name,
                        words.take(pa.array(unknown)).to_pylist(),
                        int(used[unknown].sum()),
                        vocabulary.categories.slice(0, 100).to_pylist(),
                    )

    def write(self, folder: Path, encoder: Encoder, target: Target) -> None:
        """Encode all rows into `<split>.parquet`."""
        codes = {
            name: np.concatenate([[MISSING], vocabulary.codes_of(self._words[name])])
            for name, vocabulary in encoder.vocabularies.items()
        }
        if isinstance(target, ClassTarget):
            classes = pa.array(target.classes, pa.string())
            numbers = pc.index_in(self._words[target.column], value_set=classes).fill_null(0)
            codes[target.column] = np.concatenate([[0], numbers.to_numpy()])
        narrow = {name: c.astype(code_type(int(c.max()) + 1)) for name, c in codes.items()}
        with ExitStack() as stack:
            writers = [
                stack.enter_context(SplitWriter(folder / f"{name}.parquet", encoder, target))
                for name in SPLITS
            ]
            for batch, splits in self._batches():
                arrays = _encoded(batch, self._columns, narrow, encoder, target)
                for position, writer in enumerate(writers):
                    rows = _rows(splits == position)
                    if isinstance(rows, slice) or rows.any():
                        writer.write([array[rows] for array in arrays])

    def _batches(self) -> Iterator[tuple[NumberedBatch, npt.NDArray[np.int8]]]:
        """Yield batches with the common numbers of their words, and the splits of their rows."""
        start = 0
        for segment, common in zip(self._segments, self._numbers, strict=True):
            for batch in segment.batches():
                numbers = {name: common[name][own] for name, own in batch.numbers.items()}
                n_rows = batch.rows.num_rows
                yield NumberedBatch(batch.rows, numbers), self._splits[start : start + n_rows]
                start += n_rows

    def _with_words(self, counts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, CountedWords]:
        return {name: CountedWords(self._words[name], c) for name, c in counts.items()}


def _rows(chosen: npt.NDArray[np.bool_]) -> Rows:
    """Return a slice where all rows are chosen: nothing has to be copied then."""
    return _ALL if chosen.all() else chosen


def _taken(values: pa.Array, rows: Rows) -> pa.Array:
    return values if isinstance(rows, slice) else values.filter(pa.array(rows))


def _encoded(
    batch: NumberedBatch,
    columns: Mapping[str, Column],
    codes: Mapping[str, npt.NDArray[np.generic]],
    encoder: Encoder,
    target: Target,
) -> list[npt.NDArray[np.generic]]:
    """Return codes, floats and target of all rows, an array per column of the file."""
    of_name = dict(zip(columns, batch.rows.columns, strict=True))
    arrays: list[npt.NDArray[np.generic]] = []
    for name, inputs in encoder.code_inputs.items():
        own = of_name[name].to_numpy()
        if isinstance(inputs, Vocabulary):
            arrays.append(codes[name][batch.numbers[name]][own])
        else:
            arrays.append(own.astype(code_type(inputs.cardinality)))
    for name, inputs in encoder.float_inputs.items():
        arrays += [*inputs.encode(pa.chunked_array([of_name[name]])).T]
    labels = of_name[target.column]
    if isinstance(target, ClassTarget):
        name = target.column
        return [*arrays, codes[name][batch.numbers[name]][labels.to_numpy()]]
    return [*arrays, target.encode(pa.chunked_array([labels]))]
