"""The training of a model that is fitted in one call: no epochs, and no checkpoints."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline_lib.fitting.training import Figures, Floats, Part, TrainingInput, scores_of
from pipeline_lib.models import EstimatorKind, FitInput, Model
from pipeline_lib.training.batches import EVAL_BATCH_ROWS, refuse_too_few_rows
from pipeline_lib.training.devices import suitable_threads
from pipeline_lib.training.judging import judge
from pipeline_lib.training.records import EpochRecord, Progress
from pipeline_lib.training.rows import ChainedRows

_PULSE_S = 0.25


class EstimatorTraining:
    """Fits a model of a kind; see `Training`.

    Args:
        given: settings and rows.
        kind: fits the model.

    Raises:
        TrainingError: a split is too small, or a weight is of a class that does not exist.
    """

    carried = None
    last = None
    network = None
    resumable = None

    def __init__(self, given: TrainingInput, kind: EstimatorKind) -> None:
        refuse_too_few_rows(given.train.n_rows, given.val.n_rows)
        self._given, self._kind, self._loss = given, kind, given.loss()
        self._n_passes, self._seconds = 0, 0.0
        self._model: Model | None = None
        self._of_train: Model | None = None
        self.is_refit = False
        self._figures: Figures | None = None

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Fit the model; there are no records.

        Raises:
            TrainingError: the fit gives no model, or a loss that is not finite.
        """
        given, started = self._given, time.perf_counter()
        pulsed, dimensions = started, given.dimensions
        n_inputs = len(dimensions.cardinalities) + dimensions.n_numeric
        n_macs = min(given.train.n_rows, EVAL_BATCH_ROWS) * n_inputs * dimensions.d_out

        def report(done: int, at_most: int) -> None:
            nonlocal pulsed
            self._n_passes, now = done, time.perf_counter()
            if on_pulse is not None and now - pulsed >= _PULSE_S:
                pulsed = now
                rows_per_s = given.train.n_rows * done / max(now - started, 1e-9)
                on_pulse(Progress(done, at_most, 0, 1, rows_per_s, None, unit="pass"))

        inputs = FitInput(
            given.train,
            given.val,
            dimensions,
            self._loss,
            given.training,
            report,
            given.class_weights(),
        )
        with suitable_threads(n_macs, given.device):
            model = self._kind.fit(inputs)
        self._seconds = time.perf_counter() - started
        settings, n_classes = given.training.loss, dimensions.n_classes
        train_loss, _ = judge(model, given.train, n_classes=n_classes, settings=settings)
        val_loss, primary = judge(
            model, given.val, n_classes=n_classes, settings=settings, metric=given.metric()
        )
        self._figures = Figures(
            train_loss, val_loss, primary, self._seconds, max(self._n_passes, 1)
        )
        self._model = self._of_train = model
        if given.training.refit:
            both, again = (
                replace(inputs, train=ChainedRows((given.train, given.val))),
                time.perf_counter(),
            )
            with suitable_threads(n_macs, given.device):
                refitted = self._kind.refit(model, both)
            self.is_refit = refitted is not None
            self._model = refitted or model
            refit_s = time.perf_counter() - again
            self._figures = replace(self._figures, refit_s=refit_s)
            self._seconds += refit_s
        yield from ()

    def model(self) -> Model:
        """Return the fitted model: of training and validation rows, if it `is_refit`."""
        assert self._model is not None, "it is not fitted yet"
        return self._model

    def of_train(self) -> Model:
        """Return the model of the training rows alone, which the figures are of."""
        assert self._of_train is not None, "it is not fitted yet"
        return self._of_train

    def val_scores(self) -> Floats:
        """See `Training.val_scores`."""
        return scores_of(self.of_train(), self._given.val)

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `Training.parts`."""
        name, fit_s = "the new model itself", self.figures.fit_s
        return (Part(self._kind, self.model(), fit_s, name, self.is_refit),)

    @property
    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def history(self) -> tuple[EpochRecord, ...]:
        """No records."""
        return ()

    @property
    def best(self) -> tuple[EpochRecord, ...]:
        """No records."""
        return ()

    @property
    def figures(self) -> Figures:
        """See `Training.figures`."""
        assert self._figures is not None, "it is not fitted yet"
        return self._figures

    @property
    def plan(self) -> str:
        """See `Training.plan`."""
        return f"one fit of all {self._given.train.n_rows:,} rows"

    @property
    def course(self) -> tuple[str, str]:
        """See `Training.course`."""
        passes = f", {self.figures.n_passes} passes over the rows" if self._n_passes else ""
        again = "; fitted again on training and validation rows" if self.is_refit else ""
        return "fit", f"{self._seconds:.1f} s{passes}{again}"

    @property
    def size(self) -> str:
        """See `Training.size`."""
        return self.model().size
