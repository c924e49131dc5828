"""Who may read and write what is made: its owner, and a group if the owner has opened it to one.

The home itself is closed: no other user can enter it, whatever the umask and whoever creates the
files in it. What is made while a command or a flow runs is closed as well, so that nothing in it
is exposed if the home is opened later. Nothing is ever open to all users.
"""

import contextlib
import grp
import os
import pwd
import stat
from pathlib import Path

from pipeline_lib.errors import StorageError
from pipeline_lib.wording import user_name

_WORLD, _WRITE, _ALL = 0o007, 0o002, 0o777
# By the system, and cut by the umask: new folders and files of ours, never the world's.
_NEW_FOLDER, _NEW_FILE = 0o770, 0o660
_CLOSED = 0o700
_ACCESS_LIST = "system.posix_acl_access"
# Folders that are more than a home: they keep their modes.
_OF_A_PROJECT = ("prefect.yaml", ".git", "pyproject.toml")


def make_folders(folder: Path, *, mode: int = _NEW_FOLDER) -> None:
    """Make a folder, and those above it that are missing; none is made for the world to write.

    Raises:
        OSError: one cannot be made.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folders(folder.parent, mode=mode)
    try:
        folder.mkdir(mode)
    except FileExistsError:
        if not folder.is_dir():
            raise


def make_private(folder: Path) -> None:
    """Make a folder for its owner alone, whatever the umask and the folder around it.

    Raises:
        FileExistsError: there is one already: it may be another user's.
        OSError: it cannot be made.
    """
    make_folders(folder.parent, mode=0o755)
    folder.mkdir(_CLOSED)
    folder.chmod(_CLOSED | (folder.stat().st_mode & stat.S_ISGID))


def open_lock(path: Path) -> int:
    """Open a file to lock, and nothing else: it is not cut, and a link in its place not followed.

    Returns:
        The descriptor; it is closed in children.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, _NEW_FILE)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError("it is not a regular file")
    return number


def open_to_append(path: Path) -> int:
    """Open a file, made if it is not there, to read it and write behind its end; no link.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, _NEW_FILE)


def make_file(path: Path, *, mode: int = _NEW_FILE) -> None:
    """Make an empty file where there is nothing yet, and no link either.

    Args:
        path: the file.
        mode: its permissions, of which the umask takes its own.

    Raises:
        OSError: there is something, or it cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode))


def mode_of_chosen(status: os.stat_result) -> int:
    """Return the permissions that a folder's owner can have meant, as 0o700, 0o750 or 0o2770.

    The owner has all; the group what it has, if it was singled out: the world has nothing, or
    less, or the folder is another group's than the owner's own, or has the bit that lets new
    files be of its group. Bits that follow from the umask alone do not count.
    """
    mode = stat.S_IMODE(status.st_mode)
    group, world = mode >> 3 & 7, mode & _WORLD
    singled_out = (
        not world
        or bool(mode & stat.S_ISGID)
        or status.st_gid != _own_group(status.st_uid)
        or (bool(group & ~world) and mode & _ALL != _ALL & ~_umask())
    )
    return _CLOSED | (mode & (0o070 | stat.S_ISGID) if singled_out else 0)


def close_to_others(home: Path) -> str:
    """Close a home to all but its owner and the group that it was opened to.

    Done again, nothing changes.

    Returns:
        A sentence to log, or an empty string if it was closed already.

    Raises:
        StorageError: others may put files into it, and this user cannot end that.
    """
    status = home.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return ""
    chosen = mode_of_chosen(status)
    if _has_access_list(home):
        chosen |= mode & 0o070
    if not mode & _WORLD:
        return _share(home, status) if chosen & 0o070 else ""
    if mode & stat.S_ISVTX and mode & _WRITE:
        raise StorageError(
            f"{home} is writable by all users: they could put files there that a run uses. Set "
            f"EVERGREEN_HOME to a folder of its own, as {home / 'evergreen'}"
        )
    if _is_more_than_a_home(home):
        return (
            f"the home {home} is a folder of other things, too, and keeps its permissions: others "
            "can look into it. Set EVERGREEN_HOME to a folder of its own"
        )
    with contextlib.suppress(OSError):
        home.chmod(chosen)
    owner, left = user_name(status.st_uid), stat.S_IMODE(home.stat().st_mode)
    if left & _WRITE and os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
        raise StorageError(
            f"{home} belongs to {owner} and all users may write there: its files cannot be "
            "trusted. Set EVERGREEN_HOME to a folder of your own"
        )
    if left & _WORLD:
        return (
            f"the home {home} is open to other users of this machine (mode {left:o}), and this "
            f"user or its disk cannot close it: let {owner} run `chmod o-rwx` on it"
        )
    close_tree(home, chosen)
    _share(home, home.stat())
    if chosen & 0o070:
        now = f"to its group {_group(status.st_gid)} alone ({left & _ALL:o})"
    else:
        now = f"to its owner alone ({left & _ALL:o}; `chmod -R g+rwX` opens it to its group)"
    return (
        f"the home {home} was open to all users of this machine ({mode & _ALL:o}); it is open {now}"
    )


def umask_of(home: Path) -> int:
    """Return the umask under which what is made in a home is closed as the home is."""
    return 0o077 & ~mode_of_chosen(home.stat())


def close_tree(folder: Path, mode: int, *, group: int | None = None, is_new: bool = False) -> None:
    """Close all that lies in a folder to the world, and to the group beyond a mode's group bits.

    Links are not followed; files of other owners, and files with several names, stay as they are.

    Args:
        folder: itself stays as it is.
        mode: 0o700, or one with bits for the group.
        group: the group that all becomes of, if it is another one.
        is_new: its files were made just now, under any umask: what the owner may do
            with it, the group may, as far as `mode` lets it.
    """
    owner = folder.stat().st_uid
    for _, folders, files, place in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            try:
                number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            except OSError:  # a link, a socket, or what its owner cannot read
                continue
            try:
                _close(number, owner, mode, group, is_new=is_new)
            except OSError:  # another group than this user's
                continue
            finally:
                os.close(number)


def _close(number: int, owner: int, mode: int, group: int | None, *, is_new: bool) -> None:
    status = os.fstat(number)
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid != owner or not (
        is_folder or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
    ):
        return
    if group is not None:
        os.fchown(number, -1, group)
    before = stat.S_IMODE(status.st_mode)
    of_owner = before & 0o700
    of_group = (of_owner >> 3 if is_new else before) & mode & 0o070
    after = of_owner | of_group | (before & stat.S_ISGID)
    if is_folder and group is not None:
        after |= stat.S_ISGID
    if after != before or group is not None:
        os.fchmod(number, after)


def _share(home: Path, status: os.stat_result) -> str:
    """Let what is in a home, and will be made there, be of the group that the home is open to."""
    is_ours = os.geteuid() in (0, status.st_uid)
    if status.st_gid == _own_group(status.st_uid) or not is_ours or _is_shared(home, status):
        return ""
    try:
        close_tree(home, status.st_mode & 0o770, group=status.st_gid)
        home.chmod(stat.S_IMODE(status.st_mode) | stat.S_ISGID)
    except OSError:
        return ""
    return f"the home {home} is open to the group {_group(status.st_gid)}: so is what is made in it"


def _is_shared(home: Path, status: os.stat_result) -> bool:
    """Return whether new files get the home's group, judged by its top-level folders."""
    folders = [path.lstat() for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
    return all(
        found.st_mode & stat.S_ISGID and found.st_gid == status.st_gid
        for found in (status, *folders)
        if found.st_uid == status.st_uid and found.st_mode & 0o070
    )


def _is_more_than_a_home(home: Path) -> bool:
    try:
        own = Path(pwd.getpwuid(os.geteuid()).pw_dir).resolve()
    except KeyError:  # a user whom the system does not know has no other home
        own = None
    return home in (Path(home.anchor), own) or any((home / n).exists() for n in _OF_A_PROJECT)


def _has_access_list(folder: Path) -> bool:
    """Return whether an access list names users or groups; the mode's group is their mask."""
    try:
        return _ACCESS_LIST in os.listxattr(folder)
    except (OSError, AttributeError):  # another system than Linux
        return False


def _own_group(user: int) -> int:
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return os.getegid()


def _umask() -> int:
    """Return the umask, which can only be read by setting another one."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
