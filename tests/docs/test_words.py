"""Messages, descriptions and pages use plain words: the field's terms, in international English."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CODE = sorted(
    file
    for package in ("evergreen", "flows", "tasks", "pipeline_lib")
    for file in (PROJECT / package).rglob("*.py")
)
PAGES = sorted(
    [
        *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(PROJECT / "docs").rglob("*.md"),
    ]
)

# What a reader stumbles over, and what to write instead.
BANNED = {
    r"(?:tell|tells|told|telling)(?! apart)": "reported, logged, shown; distinguished by",
    r"nobody|nobody's|whoever|somebody": "no one, no other account, anyone who",
    r"(?:put|puts|putting) (?:\w+ )?aside": "quarantined (rows), set aside (files)",
    r"by heart": "overfitting",
    r"held against|(?:hold|holds|holding) (?:\w+ ){1,4}against": "compared with, checked against",
    r"means? nothing": "is not valid, is not defined",
    r"(?:go|goes|going) round": "are cyclical (sine and cosine)",
    r"who (?:moves|learns|chooses|judges|is who)": "the optimizer, how rows are assigned",
    r"in sight": "visible, known",
    r"at the door": "at the input, before the run",
    r"out of hand|in no time|night after night": "say it plainly",
    r"the same is said": "predictions are constant",
    r"what it was (?:told|given)": "its settings, its input",
}
_WORDS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): use for words, use in BANNED.items()}


def _strange(text: str) -> Iterator[str]:
    flat = " ".join(text.split())
    for words, instead in _WORDS.items():
        for found in words.finditer(flat):
            around = flat[max(0, found.start() - 40) : found.end() + 40]
            yield f"{found[0]!r} in …{around}… (better: {instead})"


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Constant]]:
    """Yield each docstring with what it describes."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if not isinstance(node, kinds) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            yield node, first.value


def _shown_texts(file: Path) -> Iterator[ast.Constant]:
    """Yield the literals that a user may see.

    Docstrings are for developers, but for those of settings, which make the reference and the
    form, and of commands, which make the help.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    hidden = {id(text) for _, text in _docstrings(tree)}
    if file.parent == PROJECT / "pipeline_lib" / "config":
        hidden -= {id(text) for node, text in _docstrings(tree) if isinstance(node, ast.ClassDef)}
    if file.parent == PROJECT / "evergreen" / "commands":
        hidden -= {
            id(text)
            for node, text in _docstrings(tree)
            if isinstance(node, ast.FunctionDef) and node.name == file.stem
        }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in hidden
        ):
            yield node


def _name(file: Path) -> str:
    return file.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("file", CODE, ids=_name)
def test_messages_and_descriptions_use_plain_words(file: Path) -> None:
    strange = [
        f"{file.name}:{text.lineno}: {what}"
        for text in _shown_texts(file)
        for what in _strange(str(text.value))
    ]

    assert strange == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages_use_plain_words(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()

    strange = [
        f"{page.name}:{n}: {what}" for n, line in enumerate(lines, 1) for what in _strange(line)
    ]

    assert strange == []


@pytest.mark.parametrize(
    "text",
    [
        "late days are told",
        "Nobody's to rewrite",
        "rows are put\naside",
        "holds the table against it",
        "all others go round",
    ],
)
def test_a_strange_word_is_found(text: str) -> None:
    assert list(_strange(text))


def test_a_word_that_only_holds_one_of_them_is_fine() -> None:
    assert list(_strange("intelligent, satellite, tellurium, an outsider, retold_by")) == []
