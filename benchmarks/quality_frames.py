"""The quality benchmark's rows as pandas frames, typed as a careful user of a rival types them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.quality_rows import SPLIT, TEST, TRAIN, VAL, About, Numbers


@dataclass(frozen=True)
class Part:
    """Rows of one split: features, and the target as codes of classes or as numbers."""

    x: pd.DataFrame
    y: np.ndarray


@dataclass(frozen=True)
class Frames:
    """A table's parts.

    Attributes:
        train: learns.
        val: stops; rows of a class that no training row has are left out.
        test: features of the test rows.
        words: columns of text, and of numerals that name something.
        classes: places in `About.classes` of the classes in training; empty for numbers.
        n_classes: of the whole table.
    """

    train: Part
    val: Part
    test: pd.DataFrame
    words: tuple[str, ...]
    classes: np.ndarray
    n_classes: int

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number."""
        return self.n_classes == 0

    def all_classes(self, probabilities: Numbers) -> Numbers:
        """Return probabilities of the training's classes as those of all, others 0."""
        whole = np.zeros((len(probabilities), self.n_classes))
        whole[:, self.classes] = probabilities
        return whole


def load(folder: Path) -> Frames:
    """Read the rows: text is stripped, blank is missing; types are pandas' guess of all rows."""
    about = About.read(folder)
    frame = pd.read_csv(
        folder / "rows.csv",
        skipinitialspace=True,
        low_memory=False,
        dtype=dict.fromkeys((*about.codes, *([about.target] if about.classes else [])), str),
    )
    y = _targets(frame[about.target], about)
    split = frame[SPLIT].to_numpy()
    x = frame.drop(columns=[about.target, SPLIT])
    words = tuple(
        name for name in x if name in about.codes or not pd.api.types.is_numeric_dtype(x[name])
    )
    words = tuple(dict.fromkeys((*words, *(n for n in x if x[n].dtype == bool))))
    for name in words:
        x[name] = x[name].astype("string").str.strip().astype(object).where(x[name].notna(), None)
    masks = {name: split == name for name in (TRAIN, VAL, TEST)}
    classes = np.unique(y[masks[TRAIN]]).astype(int) if about.classes else np.array([], dtype=int)
    if about.classes:
        masks[VAL] &= np.isin(y, classes)
        places = np.full(len(about.classes), -1)
        places[classes] = np.arange(len(classes))
        y = places[y]
    train, val = (Part(x[masks[n]], y[masks[n]]) for n in (TRAIN, VAL))
    return Frames(train, val, x[masks[TEST]], words, classes, len(about.classes))


def as_categories(frames: Frames) -> Frames:
    """Return the same, words as pandas categories of the training rows, others missing."""
    known = {name: sorted(frames.train.x[name].dropna().unique()) for name in frames.words}

    def typed(x: pd.DataFrame) -> pd.DataFrame:
        # A word outside `categories` is deprecated in pandas 3; its code, -1, is a missing value.
        codes = {name: pd.Index(words).get_indexer(x[name]) for name, words in known.items()}
        kinds = {n: pd.Categorical.from_codes(c, known[n]) for n, c in codes.items()}
        return x.assign(**{name: pd.Series(of, index=x.index) for name, of in kinds.items()})

    train, val = (Part(typed(part.x), part.y) for part in (frames.train, frames.val))
    test, words = typed(frames.test), frames.words
    return Frames(train, val, test, words, frames.classes, frames.n_classes)


def with_missing_as_words(frames: Frames) -> Frames:
    """Return the same with missing words as a word of their own, all words as text."""

    def filled(x: pd.DataFrame) -> pd.DataFrame:
        return x.assign(**{name: x[name].fillna("missing").astype(str) for name in frames.words})

    train, val = (Part(filled(part.x), part.y) for part in (frames.train, frames.val))
    words, classes = frames.words, frames.classes
    return Frames(train, val, filled(frames.test), words, classes, frames.n_classes)


def _targets(column: pd.Series, about: About) -> np.ndarray:
    """Return places in the classes, or numbers."""
    if not about.classes:
        return column.to_numpy(dtype=float)
    places = {word: number for number, word in enumerate(about.classes)}
    return column.str.strip().map(places).to_numpy(dtype=int)
