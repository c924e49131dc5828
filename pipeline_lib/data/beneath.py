"""Globs in folders that others write into: what matches lies below the glob's fixed folder.

The fixed folder is what comes before the first star; the config's author has written it, links and
all. Below it a link may lead anywhere, also to a file that is nobody's data.
"""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_lib.errors import SourceError

_MAGIC = re.compile(r"[*?[]")
_ANY_DEPTH = "**"


@dataclass(frozen=True)
class Glob:
    """A pattern below a folder; `*`, `?` and `[…]` in a name, `**` for folders of any depth.

    Stars match no name that begins with a dot. With `follow_symlinks` links may lead anywhere.
    """

    folder: Path
    parts: tuple[str, ...]
    follow_symlinks: bool = False
    # Folders that a `**` has gone through: links may lead back to one.
    _seen: set[tuple[int, int, int]] = field(default_factory=set[tuple[int, int, int]])

    @classmethod
    def of(cls, folder: Path, pattern: str, *, follow_symlinks: bool = False) -> "Glob":
        """Return the glob of a pattern that starts from a folder, with the fixed part taken off."""
        parts = Path(pattern).parts
        fixed = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
        return cls(folder.joinpath(*parts[:fixed]), parts[fixed:], follow_symlinks)

    def paths(self) -> Iterator[Path]:
        """Yield what matches, in the order of names; the same path may come twice.

        Raises:
            SourceError: a folder on the way is a link that leads out of the fixed folder.
        """
        self._seen.clear()
        yield from self._below(self.folder, self.parts) if self.parts else [self.folder]

    def real(self, path: Path) -> Path:
        """Return where a matching path leads to.

        Raises:
            SourceError: out of the fixed folder.
        """
        real = path.resolve()
        if not self.follow_symlinks and not real.is_relative_to(self.folder.resolve()):
            raise SourceError(
                f"{path} leads out of {self.folder}, to {real}; remove the link, or set "
                "`data.source.follow_symlinks: true`"
            )
        return real

    def _below(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        name, rest = parts[0], parts[1:]
        if name == _ANY_DEPTH:
            for inner in self._every_folder(folder, len(rest)):
                yield from self._below(inner, rest or ("*",))
            return
        for path in _named(folder, name):
            if not rest:
                yield path
            elif self._is_folder(path):
                yield from self._below(path, rest)

    def _every_folder(self, folder: Path, place: int) -> Iterator[Path]:
        """Yield a folder and those below it, each once for a `place` in the pattern."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            facts = here.stat()
            key = (facts.st_dev, facts.st_ino, place)
            if key not in self._seen:
                self._seen.add(key)
                yield here
                inner = [path for path in _named(here, "*") if self._is_folder(path)]
                # what is a link comes last: a folder is called by its own name where it has one
                waiting += sorted(
                    inner, key=lambda path: (not path.is_symlink(), path), reverse=True
                )

    def _is_folder(self, path: Path) -> bool:
        if not path.is_dir():
            return False
        if path.is_symlink() or path.name == "..":
            self.real(path)
        return True


def _named(folder: Path, name: str) -> list[Path]:
    """Return what a folder holds by a name or pattern; nothing where it cannot be listed."""
    if not _MAGIC.search(name):
        return [folder / name] if os.path.lexists(folder / name) else []
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    hidden = name.startswith(".")
    return [folder / n for n in fnmatch.filter(names, name) if hidden or not n.startswith(".")]


def open_beneath(folder: Path, file: Path) -> int:
    """Open a file for reading without going through a link below a folder; return the descriptor.

    Args:
        folder: where to start, resolved.
        file: below it, resolved.

    Raises:
        OSError: there is a link on the way by now, or no such file.
    """
    *above, name = file.relative_to(folder).parts
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in above:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        # Without O_NONBLOCK a pipe in the file's place would be waited for.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)
