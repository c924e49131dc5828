"""Files in folders that others write into: what a glob finds lies below the glob's fixed folder.

The fixed folder is what comes before the first star; the config's author has written it, links and
all. Below it a link may lead anywhere, also to a file that is no data.
"""

import os
from pathlib import Path

from pipeline_lib.errors import SourceError


def real_below(fixed: Path, path: Path) -> Path:
    """Return where a path leads to.

    Args:
        fixed: the folder that it starts from and must not leave.
        path: a file or folder that a glob came to.

    Raises:
        SourceError: it leads out of the folder.
    """
    real = path.resolve()
    if not real.is_relative_to(fixed.resolve()):
        raise SourceError(
            f"{path} leads out of {fixed}, to {real}; remove the link, or set "
            "`data.source.follow_symlinks: true`"
        )
    return real


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
