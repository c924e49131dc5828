"""A glob finds what Python's own finds, and a date is read where a regular expression reads it."""

import glob
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.sources.globs import Glob, fixed_part, walk
from pipeline_lib.data.sources.paths import day_in
from pipeline_lib.errors import SourceError

NAMES = ["a", "b", "ab", ".h", "a.csv", "[x]", "a b"]
PARTS = [
    "*",
    "**",
    "?",
    "a*",
    "*b",
    "[ab]",
    "[!a]*",
    ".*",
    "a",
    ".h",
    "a.csv",
    "*.csv",
    "[x",
    ".",
    "",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three levels of folders, each with files."""
    root = tmp_path_factory.mktemp("tree")
    for first in NAMES:
        for second in NAMES:
            folder = root / f"{first}.d" / second
            folder.mkdir(parents=True)
            for third in ("a.csv", "b", ".h"):
                (folder / third).write_text("x")
        (root / first).write_text("x")
    return root


@given(
    st.lists(st.sampled_from([*PARTS, "a.d", ".h.d"]), min_size=1, max_size=4).filter(
        lambda parts: parts[0] != ""  # an absolute pattern: "/**" is the whole machine
    )
)
def test_what_is_found_is_what_pythons_own_glob_finds(tree: Path, parts: list[str]) -> None:
    pattern = "/".join(parts)
    expected = glob.glob(pattern, root_dir=tree, recursive=True)  # noqa: PTH207

    found = [path for path in walk(tree, pattern) if (tree / path).is_file()]

    files = {
        str(Path(path)) for path in expected if (tree / path).is_file() and not path.endswith("/")
    }
    assert {str(Path(path)) for path in found} == files
    assert len(found) == len(set(found))


@given(
    st.lists(st.sampled_from(["**/", "*", "a", "/", "{YYYY}", "-{MM}-", "{DD}", "?"]), max_size=7),
    st.lists(st.sampled_from(["a", "/", "2026", "-05-", "01", "-", "2", "20260501"]), max_size=7),
)
def test_a_date_is_read_where_a_regular_expression_would_read_it(
    pattern: list[str], path: list[str]
) -> None:
    pattern = ["{YYYY}", "{MM}", "{DD}", *pattern]
    text, seen, regex = "20260501" + "".join(path), set[str](), ""
    forms = {"{YYYY}": r"\d{4}", "{MM}": r"\d\d", "{DD}": r"\d\d"}
    for piece in re.split(r"(\{\w+\}|\*\*/|\*+|\?)", "".join(pattern)):
        if piece in forms:
            name = piece.strip("{}")
            regex += f"(?P={name})" if name in seen else f"(?P<{name}>{forms[piece]})"
            seen.add(name)
        elif piece == "**/":
            regex += "(?:.*/)?" if not regex or regex.endswith("/") else "[^/]*/"
        else:
            regex += {"*": "[^/]*", "?": "[^/]"}.get(piece, re.escape(piece))
    if "**" in "".join(pattern).replace("**/", ""):
        return
    match = re.fullmatch(regex, text)

    assert (day_in(text, "".join(pattern)) is not None) == (match is not None)


def test_what_cannot_be_listed_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")

    assert list(walk(tmp_path / "none", "**/*")) == []
    assert list(walk(tmp_path, "a/*")) == []
    assert list(walk(tmp_path, "\0/*")) == []


def test_too_many_files_to_look_through_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_lib.data.sources.globs._MAX_ENTRIES", 50)
    for number in range(51):
        (tmp_path / str(number)).touch()

    with pytest.raises(SourceError, match=r"more than 50 files and folders .* name more"):
        list(walk(tmp_path, "**/*.csv"))


def test_links_that_lead_back_are_not_followed_for_ever(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "again").symlink_to(tmp_path)  # 2^n paths of n folders
        (tmp_path / name / "x.csv").touch()

    assert sorted(walk(tmp_path, "**/*.csv")) == ["a/x.csv", "b/x.csv"]


@pytest.mark.parametrize(
    ("pattern", "fixed"), [("a/b*/c", "a/"), ("/x/y/[a]", "/x/y/"), ("a/b", "a/"), ("a", "")]
)
def test_a_walk_starts_where_the_first_star_is(pattern: str, fixed: str) -> None:
    assert fixed_part(pattern) == fixed


def test_stars_of_a_bucket_stand_for_hidden_names_too() -> None:
    assert Glob(["**", "*.csv"], hidden=True).matches("a/.b/.c.csv")
    assert not Glob(["**", "*.csv"], hidden=False).matches("a/.b/c.csv")
