"""Which paths a glob means, in time that grows with the paths and not with what stars could mean.

`*`, `?` and `[…]` stand within one name and never for a dot at its beginning, `**` as a whole name
stands for any number of folders, none included. A path is followed name by name with all places of
the pattern that it may be at, so that no two ways to the same place are ever walked twice.
"""

import fnmatch
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline_lib.errors import SourceError

_MAGIC = re.compile(r"[*?[]")
_MAX_ENTRIES = 2_000_000
Places = frozenset[int]


class Glob:
    """A pattern, taken apart at its slashes."""

    def __init__(self, names: Sequence[str], *, hidden: bool) -> None:
        """Make a pattern ready.

        Args:
            names: the parts between slashes; what ends with a slash is never a file.
            hidden: whether stars stand for a dot at the beginning of a name.
        """
        *folders, last = names
        self.names = [name for name in folders if name not in ("", ".")]
        self.names += ["**", "*"] if last == "**" else [last]  # files are meant, not folders
        self._hidden = hidden
        self._tests = [
            None if name == "**" else re.compile(fnmatch.translate(re.sub(r"\*+", "*", name)))
            for name in self.names
        ]
        self.start = self._closed({0})

    def after(self, places: Places, name: str) -> Places:
        """Return the places of the pattern that a path is at after one more name."""
        found: set[int] = set()
        for place in places:
            if place == len(self.names):
                continue
            test = self._tests[place]
            if name.startswith(".") and not (self._hidden or self.names[place].startswith(".")):
                continue
            if test is None:
                found.add(place)
            elif test.match(name):
                found.add(place + 1)
        return self._closed(found)

    def is_end(self, places: Places) -> bool:
        """Report whether a path that is at these places is meant."""
        return len(self.names) in places

    def matches(self, path: str) -> bool:
        """Report whether a path is meant."""
        places = self.start
        for name in path.split("/"):
            places = self.after(places, name)
        return self.is_end(places)

    def plain_names(self, places: Places) -> list[str] | None:
        """Return the only names that may come next; None if stars are among them."""
        names = [self.names[place] for place in places if place < len(self.names)]
        return None if any(map(is_glob, names)) else names

    def _closed(self, places: set[int]) -> Places:
        for place in range(len(self.names)):
            if place in places and self._tests[place] is None:
                places.add(place + 1)
        return frozenset(places)


def is_glob(pattern: str) -> bool:
    """Report whether a path has stars or brackets."""
    return _MAGIC.search(pattern) is not None


def fixed_part(pattern: str) -> str:
    """Return the folders that a pattern begins with and that have no star; with the last slash.

    >>> fixed_part("data/2026/*/part-?.csv"), fixed_part("*.csv")
    ('data/2026/', '')
    """
    magic = _MAGIC.search(pattern)
    return pattern[: pattern.rfind("/", 0, magic.start() if magic else None) + 1]


def walk(
    folder: Path, pattern: str, *, enter: Callable[[Path], object] | None = None
) -> Iterator[str]:
    """Yield the paths below a folder that a pattern means, each beginning as the pattern does.

    Links are followed, to each folder once, and by its own name where it has one; what cannot be
    listed is left out.

    Args:
        folder: where the pattern starts.
        pattern: the glob.
        enter: is called with each folder that is a link, or `..`, before it is looked into.

    Raises:
        SourceError: there are too many files and folders to look through.
    """
    start = fixed_part(pattern)
    glob = Glob(pattern.removeprefix(start).split("/"), hidden=False)
    waiting, links, n_seen = [("", glob.start)], deque[tuple[str, Places]](), 0
    seen: set[tuple[int, int, Places]] = set()
    while waiting or links:
        path, places = waiting.pop() if waiting else links.popleft()
        here = folder / start / path
        if (key := _identity(here, places)) in seen:
            continue
        seen.add(key)
        for name, is_folder in _entries(here, glob.plain_names(places)):
            n_seen += 1
            if n_seen > _MAX_ENTRIES:
                raise SourceError(
                    f"{folder / pattern}: more than {_MAX_ENTRIES:,} files and folders to look "
                    "through; name more of the path"
                )
            reached = glob.after(places, name)
            if glob.is_end(reached):
                yield f"{start}{path}{name}"
            if is_folder and reached - {len(glob.names)}:
                leads_away = name == ".." or (here / name).is_symlink()
                if leads_away and enter is not None:
                    enter(here / name)
                (links if leads_away else waiting).append((f"{path}{name}/", reached))


def _identity(folder: Path, places: Places) -> tuple[int, int, Places]:
    try:
        facts = folder.stat()
    except (OSError, ValueError):  # ValueError: NUL in a name
        return 0, 0, places
    return facts.st_dev, facts.st_ino, places


def _entries(folder: Path, names: list[str] | None) -> Iterator[tuple[str, bool]]:
    """Yield names in a folder, and whether each is a folder; of these names alone, if given."""
    try:
        if not folder.is_dir():  # `a/.` is no name of a file
            return
        if names is not None:
            for name in dict.fromkeys(names):
                if os.path.lexists(folder / name):
                    yield name, (folder / name).is_dir()
            return
        with os.scandir(folder) as listed:
            for entry in listed:
                yield entry.name, entry.is_dir()
    except (OSError, ValueError):  # ValueError: NUL in a name
        return
