"""Which of our code goes into a package: what serving needs, and no more."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_NEEDED = "pipeline_lib.serving"


def copy_code(folder: Path) -> None:
    """Copy what loading and predicting import into `folder/pipeline_lib`."""
    for file in _needed_files():
        copy = folder / _ROOT.name / file.relative_to(_ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _needed_files() -> list[Path]:
    """Return the files of all modules that serving imports, also those of lazy imports."""
    found, waiting = set[Path](), [_NEEDED]
    while waiting:
        for file in _files_of(waiting.pop()):
            if file not in found:
                found.add(file)
                # What the package itself offers is looked up by name, and not needed here.
                waiting += [] if file == _ROOT / "__init__.py" else _imports(file)
    return sorted(found)


def _files_of(module: str) -> Iterator[Path]:
    """Yield the files that importing a name runs: of the packages around it, and its own."""
    parts = module.split(".")
    if parts[0] != _ROOT.name:
        return
    for n_parts in range(1, len(parts) + 1):
        place = _ROOT.parent.joinpath(*parts[:n_parts])
        yield from (p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file())


def _imports(file: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
