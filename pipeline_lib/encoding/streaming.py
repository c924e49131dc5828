"""RowSelection of a snapshot to encoded files, in memory that does not grow with the rows.

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

from pipeline_lib.config.columns import CategoryColumn, Column
from pipeline_lib.data.splits.assign import SPLITS, UNUSED
from pipeline_lib.encoding.encoder import CountedWords, Encoder, float_fitters
from pipeline_lib.encoding.log_scale import LogScaleFitter
from pipeline_lib.encoding.numeric import FloatFitter
from pipeline_lib.encoding.segments import NumberedBatch, Segment, common_numbers
from pipeline_lib.encoding.target import ClassTarget, Target
from pipeline_lib.encoding.tensors import SplitWriter, code_type
from pipeline_lib.encoding.vocabulary import MISSING, UNSEEN, Vocabulary
from pipeline_lib.encoding.weights import RowWeights, WeightsFitter
from pipeline_lib.encoding.words import WordNumbers
from pipeline_lib.errors import UnknownCategoryError

_TRAIN, _VAL, _TEST = (SPLITS.index(name) for name in ("train", "val", "test"))
RowSelection = npt.NDArray[np.bool_] | slice
_ALL = slice(None)


@dataclass(frozen=True)
class Counted:
    """What a pass over numbered rows has seen.

    `train` counts training rows by word. `used` counts those of all splits: of the target, and of
    columns in which a category unseen in training is an error. `weights` is None where all rows
    count alike; else rows of weight 0 are not counted, test rows of a strict column excepted.
    """

    train: Mapping[str, CountedWords]
    used: Mapping[str, CountedWords]
    fitters: Mapping[str, FloatFitter]
    weights: RowWeights | None = None


class NumberedRows:
    """The segments of a snapshot, with the split of each row.

    Args:
        segments: consecutive rows, see `encoding.segments`.
        columns: features, and the target as the last.
        splits: positions in `SPLITS`, −1 for rows that no split uses; shape ``(n_rows,)``.
        zones: the time zones of columns of times that have one.
        weight: the column of weights, if there is one; no split has its rows of weight 0.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        columns: Mapping[str, Column],
        splits: npt.NDArray[np.int8],
        zones: Mapping[str, str] | None = None,
        weight: str | None = None,
    ) -> None:
        self._columns, self._segments, self._splits = columns, segments, splits
        self._zones, self._weight = zones, weight
        self._words, self._numbers = common_numbers(segments)
        *features, target = columns.items()
        self._strict = [name for name, column in features if _is_strict(column)]
        self._strict += [target[0]] if target[0] in self._words else []

    def count(self, logs: LogScaleFitter | None = None) -> Counted:
        """Count words, and learn scales from training rows; `logs` look at the target too."""
        train, used = (
            {name: np.zeros(len(self._words[name]) + 1, np.int64) for name in names}
            for names in (self._words, self._strict)
        )
        learned = {name: c for name, c in self._columns.items() if name != self._weight}
        fitters, weights = float_fitters(learned, self._zones), WeightsFitter(self._weight or "")
        *_, target = self._columns
        for batch, splits, seen in self._batches():
            is_train, is_used, is_seen = map(_rows, (splits == _TRAIN, splits >= 0, seen))
            for values, name in zip(batch.rows.columns, self._columns, strict=True):
                if name in self._words:
                    own, numbers = values.to_numpy(), batch.numbers[name]
                    _count(train[name], own[is_train], numbers)
                    if name in used:
                        _count(used[name], own[is_used if name == target else is_seen], numbers)
                elif name == self._weight:
                    weights.add(pa.chunked_array([_taken(values, is_train)]))
                elif name in fitters:
                    fitters[name].add(pa.chunked_array([_taken(values, is_train)]))
            if logs is not None:
                numbers_of_target = batch.rows.columns[-1]
                logs.add(pa.chunked_array([_taken(numbers_of_target, is_train)]))
                logs.look(pa.chunked_array([_taken(numbers_of_target, _rows(splits == _VAL))]))
        found = None if self._weight is None else weights.finish()
        return Counted(self._with_words(train), self._with_words(used), fitters, found)

    def codes(self, encoder: Encoder) -> dict[str, npt.NDArray[np.int32]]:
        """Return the code of each word of the rows, by column; 0 for one that has none."""
        return {
            name: vocabulary.codes_of(self._words[name])
            for name, vocabulary in encoder.vocabularies.items()
        }

    def refuse_unknown(
        self, encoder: Encoder, counted: Counted, codes: Mapping[str, npt.NDArray[np.int32]]
    ) -> None:
        """Stop at a category that only val or test rows hold, where a column says so.

        Raises:
            UnknownCategoryError: for the first such column.
        """
        for name, vocabulary in encoder.vocabularies.items():
            if _is_strict(encoder.columns[name]):
                words, used = self._words[name], counted.used[name].counts[1:]
                untrained = (used > 0) & (counted.train[name].counts[1:] == 0)
                unknown = np.flatnonzero(untrained & (codes[name] == UNSEEN))
                if unknown.size:
                    raise UnknownCategoryError(
                        name,
                        words.take(pa.array(unknown)).to_pylist(),
                        int(used[unknown].sum()),
                        vocabulary.categories.slice(0, 100).to_pylist(),
                        hidden=encoder.columns[name].hides_values,
                    )

    def write(
        self,
        folder: Path,
        encoder: Encoder,
        target: Target,
        codes: Mapping[str, npt.NDArray[np.int32]],
        weights: RowWeights | None = None,
    ) -> None:
        """Encode all rows into `<split>.parquet`.

        `codes` are those of `codes(encoder)`, `weights` those of `count()`.
        """
        codes = {name: np.concatenate([[MISSING], known]) for name, known in codes.items()}
        if isinstance(target, ClassTarget):
            classes = pa.array(target.classes, pa.string())
            numbers = pc.index_in(self._words[target.column], value_set=classes).fill_null(0)
            codes[target.column] = np.concatenate([[0], numbers.to_numpy()])
        narrow = {name: c.astype(code_type(int(c.max()) + 1)) for name, c in codes.items()}
        # Number 0 is no value, which `of_words` has as the last.
        ranks = {n: np.roll(i.of_words(self._words[n]), 1, 0) for n, i in encoder.orders.items()}
        with ExitStack() as stack:
            writers = [
                stack.enter_context(
                    SplitWriter(
                        folder / f"{name}.parquet",
                        encoder,
                        target,
                        weighted=weights is not None,
                    )
                )
                for name in SPLITS
            ]
            for batch, splits, _ in self._batches():
                arrays = _encoded(batch, self._columns, narrow, ranks, encoder, target)
                if weights is not None:
                    values = batch.rows.columns[[*self._columns].index(weights.column)]
                    arrays.append(weights.encode(pa.chunked_array([values])))
                for position, writer in enumerate(writers):
                    rows = _rows(splits == position)
                    if isinstance(rows, slice) or rows.any():
                        writer.write([array[rows] for array in arrays])

    def _batches(
        self,
    ) -> Iterator[tuple[NumberedBatch, npt.NDArray[np.int8], npt.NDArray[np.bool_]]]:
        """Yield batches with the common numbers of their words, and the splits of their rows.

        The last part are the rows that a model sees: those of a split, and test rows of weight 0,
        which are predicted.
        """
        start = 0
        for segment, common in zip(self._segments, self._numbers, strict=True):
            for batch in segment.batches():
                numbers = {name: common[name][own] for name, own in batch.numbers.items()}
                n_rows = batch.rows.num_rows
                splits = self._splits[start : start + n_rows]
                start += n_rows
                is_seen = splits >= 0
                if self._weight is not None:
                    values = batch.rows.columns[[*self._columns].index(self._weight)]
                    counted = np.where(values.to_numpy() > 0, splits, np.int8(UNUSED))
                    is_seen, splits = (counted >= 0) | (splits == _TEST), counted
                yield NumberedBatch(batch.rows, numbers), splits, is_seen

    def _with_words(self, counts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, CountedWords]:
        return {name: CountedWords(self._words[name], c) for name, c in counts.items()}


def _is_strict(column: Column) -> bool:
    return isinstance(column, CategoryColumn) and column.on_unknown == "error"


def _count(
    counts: npt.NDArray[np.int64], own: npt.NDArray[np.unsignedinteger], numbers: WordNumbers
) -> None:
    np.add.at(counts, numbers, np.bincount(own, minlength=len(numbers)))


def _rows(chosen: npt.NDArray[np.bool_]) -> RowSelection:
    """Return a slice where all rows are chosen: nothing has to be copied then."""
    return _ALL if chosen.all() else chosen


def _taken(values: pa.Array, rows: RowSelection) -> pa.Array:
    return values if isinstance(rows, slice) else values.filter(pa.array(rows))


def _encoded(
    batch: NumberedBatch,
    columns: Mapping[str, Column],
    codes: Mapping[str, npt.NDArray[np.generic]],
    ranks: Mapping[str, npt.NDArray[np.float32]],
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
        if name in ranks:
            arrays += [*ranks[name][batch.numbers[name]][of_name[name].to_numpy()].T]
            continue
        arrays += [*inputs.encode(pa.chunked_array([of_name[name]])).T]
    labels = of_name[target.column]
    if isinstance(target, ClassTarget):
        name = target.column
        return [*arrays, codes[name][batch.numbers[name]][labels.to_numpy()]]
    return [*arrays, target.encode(pa.chunked_array([labels]))]
