"""Folders that cannot be made or written are named, with the way out."""

from pathlib import Path

import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.storage.folders import writable_folder


def test_a_folder_that_cannot_be_created_names_evergreen_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="EVERGREEN_HOME") as raised:
        writable_folder(tmp_path / "file" / "home")

    assert str(tmp_path / "file" / "home") in str(raised.value)


def test_a_file_where_a_folder_has_to_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state"
    file.write_text("")
    monkeypatch.setenv("EVERGREEN_HOME", str(file))

    for folder in (file, file / "datasets"):
        with pytest.raises(StorageError, match=rf"cannot make .*: {file} is a file\. Rename it"):
            writable_folder(folder)
