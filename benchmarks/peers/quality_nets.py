"""RealMLP-TD and TabM at pytabkit's defaults, on the rows of the quality benchmark.

The best epoch by validation log loss, and no label smoothing, as pytabkit's documentation asks for
where log loss counts. One thread, one seed.

Source: Holzmüller et al. 2024, arXiv:2407.04491; Gorishniy et al. 2025, arXiv:2410.24210.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.quality_frames import Frames, Part, load, with_missing_as_words
from benchmarks.quality_rows import Fit, Numbers, run_contestant, timed


def realmlp(folder: Path, _: int) -> tuple[Numbers, Fit]:
    """RealMLP with its tuned defaults."""
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    frames = _filled(load(folder))
    settings = {} if frames.is_regression else {"use_ls": False}
    kind: Any = RealMLP_TD_Regressor if frames.is_regression else RealMLP_TD_Classifier
    return _fitted(kind, frames, settings)


def tabm(folder: Path, _: int) -> tuple[Numbers, Fit]:
    """TabM with the library's defaults."""
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    frames = _filled(load(folder))
    kind: Any = TabM_D_Regressor if frames.is_regression else TabM_D_Classifier
    return _fitted(kind, frames, {})


def _fitted(kind: Any, frames: Frames, settings: dict[str, object]) -> tuple[Numbers, Fit]:
    if not frames.is_regression:
        settings = {**settings, "val_metric_name": "cross_entropy"}
    model = kind(device="cpu", random_state=0, n_threads=1, **settings)
    train, val = frames.train, frames.val
    cat_col_names = list(frames.words)
    cpu_s = timed(lambda: model.fit(train.x, train.y, val.x, val.y, cat_col_names=cat_col_names))
    if frames.is_regression:
        return np.asarray(model.predict(frames.test), dtype=float).reshape(-1), Fit(cpu_s)
    probabilities = np.asarray(model.predict_proba(frames.test), dtype=float)
    return frames.all_classes(probabilities), Fit(cpu_s)


def _filled(frames: Frames) -> Frames:
    """Return the frames with medians of the training for missing numbers, which are refused."""
    frames = with_missing_as_words(frames)
    medians = frames.train.x.drop(columns=list(frames.words)).median()

    def without_gaps(x: pd.DataFrame) -> pd.DataFrame:
        return x.fillna(medians)

    train, val = (Part(without_gaps(part.x), part.y) for part in (frames.train, frames.val))
    test, words = without_gaps(frames.test), frames.words
    return Frames(train, val, test, words, frames.classes, frames.n_classes)


if __name__ == "__main__":
    run_contestant(
        {"realmlp": realmlp, "tabm": tabm},
        {name: version(name) for name in ("pytabkit", "torch")},
    )
