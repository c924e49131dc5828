"""Digests, compared with hashlib and the system's own."""

import hashlib
import os
import subprocess
from pathlib import Path

from pipeline_lib.storage.digests import digest_file, digest_json, digest_tree


def test_the_digest_of_a_value_is_that_of_its_canonical_json() -> None:
    text = '{"a":[1,null,true],"b":"é"}'

    digest = digest_json({"b": "é", "a": [1, None, True]})

    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_of_a_file_is_the_sha256_that_the_system_computes(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(os.urandom(100_000))

    theirs = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)

    assert digest_file(path) == theirs.stdout.split()[0]


def test_the_digest_of_a_tree_changes_with_a_name_and_with_content(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        folder = tmp_path / f"{name}-{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / "ignored.txt").write_text(text)
        return digest_tree(folder, "*.py")

    assert len({digest("a.py", "x"), digest("b.py", "x"), digest("a.py", "y")}) == 3
