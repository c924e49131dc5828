"""Prediction needs what a package names, and nothing else."""

import subprocess
import sys


def test_a_predictor_imports_only_what_a_package_requires() -> None:
    script = "import sys, pipeline_lib.serving; print(*{m.split('.')[0] for m in sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    others = {"torchmetrics", "sklearn", "scipy", "matplotlib", "prefect", "mlflow", "tensorboard"}
    assert not others & set(done.stdout.split())
