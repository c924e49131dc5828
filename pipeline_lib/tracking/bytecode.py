"""Find bytecode of a package that is not what its code compiles to: `bytecode.py PACKAGE`.

Python runs what it finds in `__pycache__` without a look at the code beside it. Loading a
package in place leaves some there, which is harmless; any other has to be found. Run as a
script with limits of its own: what is read here may have been made to break its reader.
"""

import importlib.util
import json
import marshal
import re
import resource
import sys
from pathlib import Path
from types import CodeType

_MAX_BYTES = 2**31
_MAX_CPU_S = 120
_HEADER_BYTES = 16


def main() -> None:
    """Print the names of bytecode that would run and is not that of its source, as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S))
    package = Path(sys.argv[1])
    found = [
        path.relative_to(package).as_posix()
        for path in sorted(package.rglob("__pycache__/*.pyc"))
        if not _is_honest(path)
    ]
    print(json.dumps(found))  # noqa: T201 - what the caller reads


def _is_honest(path: Path) -> bool:
    try:
        source = Path(importlib.util.source_from_cache(str(path)))
    except ValueError:  # Python looks for no such name
        return True
    if not source.is_file():
        return True  # without its source it cannot be imported
    data = path.read_bytes()
    if data[:4] != importlib.util.MAGIC_NUMBER:
        return False  # another Python's, which this one cannot compile
    optimized = re.search(r"\.opt-([12])\.pyc$", path.name)
    level = int(optimized[1]) if optimized else 0
    expected = compile(source.read_bytes(), "", "exec", dont_inherit=True, optimize=level)
    try:
        actual: object = marshal.loads(data[_HEADER_BYTES:])  # noqa: S302 - read, never run
    except (ValueError, EOFError, TypeError, MemoryError, RecursionError):
        return True  # Python cannot run it either
    return isinstance(actual, CodeType) and _canonical(actual) == _canonical(expected)


def _canonical(code: CodeType) -> bytes:
    """Return bytes that are equal for equal code: format 2 keeps no references."""
    return marshal.dumps(_without_places(code), 2)


def _without_places(code: CodeType) -> CodeType:
    constants = [_without_places(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.replace(co_filename="", co_consts=tuple(constants))


if __name__ == "__main__":
    main()
