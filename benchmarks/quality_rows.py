"""The rows that every contestant of the quality benchmark gets, and what it returns of them.

A folder has `rows.csv`, the table's text with a column that names the split of each row, and
`about.json`. A contestant writes `predictions.npy` beside them, its answers to the test rows in
their order; the loss is computed by the benchmark, by the same code for all.
"""

import csv
import hashlib
import json
import resource
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SPLIT = "split_"
TRAIN, VAL, TEST = "train", "val", "test"
MOST_ROUNDS = 1_000
SMALLEST_PROBABILITY = 1e-7  # float32's resolution: who answers 0 in float32 pays no more

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class About:
    """What a contestant knows of the rows.

    Attributes:
        target: the column to predict.
        classes: its words in the order of probabilities; empty if it is a number.
        codes: columns of numerals that name something.
        n_rows: of train, val and test.
        digest: sha256 of `rows.csv`.
    """

    target: str
    classes: tuple[str, ...]
    codes: tuple[str, ...]
    n_rows: dict[str, int]
    digest: str

    @classmethod
    def read(cls, folder: Path) -> "About":
        """Read the file of a folder."""
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        classes, codes = tuple(about["classes"]), tuple(about["codes"])
        return cls(about["target"], classes, codes, about["n_rows"], about["digest"])


@dataclass(frozen=True)
class Fit:
    """What a fit took: CPU seconds, user and system, of the fit alone; rounds or epochs used."""

    cpu_s: float
    rounds: int | None = None


def write_split(
    table: Path,
    folder: Path,
    *,
    target: str,
    has_classes: bool,
    codes: Sequence[str],
    split: int,
    max_rows: int,
) -> About:
    """Write a table's rows with the split of each: 60 % train, 20 % val, 20 % test.

    Args:
        table: the CSV of the whole table; its file name seeds the split.
        folder: gets the files.
        target: the column to predict.
        has_classes: whether the target's values are classes.
        codes: columns of numerals that name something.
        split: another number is another split.
        max_rows: most training rows, validation rows a quarter of that; 0 for all. Test rows are
            all in any case.
    """
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    random = np.random.default_rng([split, zlib.crc32(table.stem.encode())])
    order = random.permutation(len(rows))
    n_train, n_val = int(0.6 * len(rows)), int(0.2 * len(rows))
    parts = {
        TRAIN: order[:n_train][: max_rows or None],
        VAL: order[n_train : n_train + n_val][: max_rows // 4 or None],
        TEST: order[n_train + n_val :],
    }
    names = {number: name for name, numbers in parts.items() for number in numbers.tolist()}
    path = folder / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*header, SPLIT])
        writer.writerows([*row, names[n]] for n, row in enumerate(rows) if n in names)
    place = header.index(target)
    about = About(
        target,
        tuple(sorted({row[place].strip() for row in rows})) if has_classes else (),
        tuple(codes),
        {name: len(numbers) for name, numbers in parts.items()},
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    (folder / "about.json").write_text(json.dumps(asdict(about)), encoding="utf-8")
    return about


def answers_of_test(folder: Path) -> list[str]:
    """Return the target of the test rows, as text without blanks around it."""
    target = About.read(folder).target
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
        return [row[target].strip() for row in csv.DictReader(file) if row[SPLIT] == TEST]


def loss_of(predictions: Numbers, answers: Sequence[str], classes: Sequence[str]) -> float:
    """Return the log loss of probabilities, or the RMSE of numbers if there are no classes.

    Args:
        predictions: ``(n_rows, n_classes)``, or ``(n_rows,)`` in the target's unit.
        answers: the target of each row, as text.
        classes: in the order of `predictions`.

    Raises:
        ValueError: predictions of another shape, or not finite.
    """
    shape = (len(answers), len(classes)) if classes else (len(answers),)
    if predictions.shape != shape or not np.isfinite(predictions).all():
        raise ValueError(f"predictions of shape {predictions.shape}, expected finite {shape}")
    if not classes:
        errors = predictions - np.array([float(answer) for answer in answers])
        return float(np.sqrt(np.mean(errors**2)))
    probabilities = np.clip(predictions, SMALLEST_PROBABILITY, 1)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    place = {word: number for number, word in enumerate(classes)}
    of_answers = probabilities[np.arange(len(answers)), [place[answer] for answer in answers]]
    return float(-np.log(of_answers).mean())


def cpu_s() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(fit: Callable[[], object]) -> float:
    """Return the CPU seconds that a call takes."""
    start = cpu_s()
    fit()
    return cpu_s() - start


def run_contestant(
    contestants: Mapping[str, Callable[[Path, int], tuple[Numbers, Fit]]],
    versions: Mapping[str, str],
) -> None:
    """Run the one that the command line names on the folder that it names; print what it took.

    Args:
        contestants: functions of the folder and of the most rounds of boosting, the command line's
            third argument; 1,000 without it.
        versions: of what they use.
    """
    name, folder = sys.argv[1], Path(sys.argv[2])
    most_rounds = int(sys.argv[3]) if len(sys.argv) > 3 else MOST_ROUNDS
    start = time.perf_counter()
    predictions, fit = contestants[name](folder, most_rounds)
    np.save(folder / "predictions.npy", np.asarray(predictions, dtype=np.float64))
    taken = {
        **asdict(fit),
        "wall_s": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": dict(versions),
    }
    print("\n" + json.dumps(taken))
