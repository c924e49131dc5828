"""What MLflow runs to load a registered model: this file, and no pickle.

MLflow copies the file into the package and executes it there ("models from code").
"""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class EvergreenModel(PythonModel):
    """Raw rows in; `prediction` in the target's own type, `probability_<class>`, `unseen` out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load network, encoder and target from the package."""
        from pipeline_lib.serving import load_model

        self._model = load_model(context.artifacts["model"])

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - declared without a type
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predict; see `pipeline_lib.serving.FittedModel.predict`."""
        del context, params
        return self._model.predict(model_input)


set_model(EvergreenModel())
