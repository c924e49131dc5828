"""What reads rows and makes tensors of them needs neither torch nor scipy to be imported."""

import subprocess
import sys

_SCRIPT = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(*{name.split(".")[0] for name in sys.modules})
"""


def _imported(package: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, package], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_config_data_and_encoding_import_no_torch() -> None:
    # Encoding imports config and data, and is above both.
    imported = _imported("pipeline_lib.encoding") | _imported("pipeline_lib.data")

    assert {"pyarrow", "numpy", "pydantic"} <= imported
    assert not imported & {"torch", "scipy", "sklearn", "matplotlib", "mlflow", "prefect"}
