"""Trees and linear models at their defaults, on the rows of the quality benchmark.

Early stopping on the validation rows after 50 rounds without a better loss, at most 1,000 rounds,
one thread, a seed; whatever else is the library's default. scikit-learn's boosting does not go back
to its best round and keeps its own patience, 10. Words go in as each documentation asks for.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.quality_frames import Frames, Part, as_categories, load, with_missing_as_words
from benchmarks.quality_rows import Fit, Numbers, run_contestant, timed

PATIENCE = 50  # rounds


def catboost(folder: Path, most_rounds: int) -> tuple[Numbers, Fit]:
    """CatBoost, words as `cat_features`, a missing word as a word."""
    frames = with_missing_as_words(load(folder))
    model = _catboost(frames, iterations=most_rounds, early_stopping_rounds=PATIENCE)
    cpu_s = timed(lambda: _fit_catboost(model, frames, frames.train, eval_set=frames.val))
    return _answers(model, frames, frames.test), Fit(cpu_s, model.tree_count_)


def catboost_refit(folder: Path, most_rounds: int) -> tuple[Numbers, Fit]:
    """CatBoost, fitted again on train and validation with the number of trees found.

    And with the rate found: the one that it chooses depends on how many trees there are to be.
    """
    frames = with_missing_as_words(load(folder))
    first = _catboost(frames, iterations=most_rounds, early_stopping_rounds=PATIENCE)
    cpu_s = timed(lambda: _fit_catboost(first, frames, frames.train, eval_set=frames.val))
    n_trees = max(1, first.tree_count_)
    model = _catboost(frames, iterations=n_trees, learning_rate=first.learning_rate_)
    both = Part(
        pd.concat([frames.train.x, frames.val.x]), np.concatenate([frames.train.y, frames.val.y])
    )
    cpu_s += timed(lambda: _fit_catboost(model, frames, both))
    return _answers(model, frames, frames.test), Fit(cpu_s, n_trees)


def lightgbm(folder: Path, most_rounds: int) -> tuple[Numbers, Fit]:
    """LightGBM, words as pandas categories."""
    from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping

    frames = as_categories(load(folder))
    kind = LGBMRegressor if frames.is_regression else LGBMClassifier
    model = kind(n_estimators=most_rounds, n_jobs=1, random_state=0, verbosity=-1)

    def fit() -> None:
        stop = early_stopping(PATIENCE, verbose=False)
        model.fit(
            _plain(frames.train.x),
            frames.train.y,
            eval_set=[(_plain(frames.val.x), frames.val.y)],
            callbacks=[stop],
        )

    cpu_s = timed(fit)
    return _answers(model, frames, _plain(frames.test)), Fit(cpu_s, model.best_iteration_)


def xgboost(folder: Path, most_rounds: int) -> tuple[Numbers, Fit]:
    """XGBoost, `enable_categorical` with pandas categories."""
    from xgboost import XGBClassifier, XGBRegressor

    frames = as_categories(load(folder))
    kind = XGBRegressor if frames.is_regression else XGBClassifier
    model = kind(
        n_estimators=most_rounds,
        early_stopping_rounds=PATIENCE,
        enable_categorical=True,
        n_jobs=1,
        random_state=0,
    )

    def fit() -> None:
        val = (frames.val.x, frames.val.y)
        model.fit(frames.train.x, frames.train.y, eval_set=[val], verbose=False)

    cpu_s = timed(fit)
    return _answers(model, frames, frames.test), Fit(cpu_s, model.best_iteration + 1)


def hgb(folder: Path, most_rounds: int) -> tuple[Numbers, Fit]:
    """scikit-learn's, categories from the dtype; columns of more than 255 as their codes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    frames = as_categories(load(folder))
    many = [n for n in frames.words if len(frames.train.x[n].cat.categories) > 255]

    def coded(x: pd.DataFrame) -> pd.DataFrame:
        codes = {n: x[n].cat.codes.astype(float).replace(-1.0, np.nan) for n in many}
        return x.assign(**codes)

    kind: Any = (
        HistGradientBoostingRegressor if frames.is_regression else HistGradientBoostingClassifier
    )
    model = kind(
        max_iter=most_rounds,
        early_stopping=True,
        categorical_features="from_dtype",
        random_state=0,
    )

    def fit() -> None:
        val = {"X_val": coded(frames.val.x), "y_val": frames.val.y}
        model.fit(coded(frames.train.x), frames.train.y, **val)

    cpu_s = timed(fit)
    return _answers(model, frames, coded(frames.test)), Fit(cpu_s, model.n_iter_)


def linear(folder: Path, _: int) -> tuple[Numbers, Fit]:
    """Logistic or ridge regression on one-hot words and standardized numbers, medians for gaps."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frames = with_missing_as_words(load(folder))
    numbers = [name for name in frames.train.x if name not in frames.words]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), list(frames.words)),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
    )
    last = Ridge() if frames.is_regression else LogisticRegression(max_iter=1_000)
    model = make_pipeline(columns, last)
    cpu_s = timed(lambda: model.fit(frames.train.x, frames.train.y))
    return _answers(model, frames, frames.test), Fit(cpu_s)


def _catboost(frames: Frames, **settings: float) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind: Any = CatBoostRegressor if frames.is_regression else CatBoostClassifier
    return kind(thread_count=1, random_seed=0, verbose=0, allow_writing_files=False, **settings)


def _fit_catboost(model: Any, frames: Frames, part: Part, *, eval_set: Part | None = None) -> None:
    val = None if eval_set is None else (eval_set.x, eval_set.y)
    model.fit(part.x, part.y, cat_features=list(frames.words), eval_set=val)


def _plain(x: pd.DataFrame) -> pd.DataFrame:
    """Return the columns under names that LightGBM accepts: it refuses JSON's characters."""
    return x.set_axis([f"column_{n}" for n in range(x.shape[1])], axis=1)


def _answers(model: Any, frames: Frames, test: pd.DataFrame) -> Numbers:
    if frames.is_regression:
        return np.asarray(model.predict(test), dtype=float)
    return frames.all_classes(np.asarray(model.predict_proba(test), dtype=float))


if __name__ == "__main__":
    run_contestant(
        {f.__name__: f for f in (catboost, catboost_refit, lightgbm, xgboost, hgb, linear)},
        {name: version(name) for name in ("catboost", "lightgbm", "xgboost", "scikit-learn")},
    )
