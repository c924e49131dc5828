"""Load a packaged model in a clean process and predict rows: `replay.py PACKAGE ROWS OUT`.

Run as a script, so that it sees what a consumer sees: MLflow, the package, and the code in it.
"""

import sys

import mlflow
import pandas as pd


def main() -> None:
    """Predict the rows of one parquet file with a package, into another."""
    package, rows, out = sys.argv[1:]
    model = mlflow.pyfunc.load_model(package)
    model.predict(pd.read_parquet(rows)).to_parquet(out)


if __name__ == "__main__":
    main()
