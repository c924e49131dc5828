"""A proposal as the text of a config."""

import re
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import load_config
from pipeline_lib.proposal.config_yaml import scalar
from tests.unit.data.in_memory import check_rows, read_source
from tests.unit.proposal.proposals import N, cycled, of, proposed, written


class TestText:
    NAMES = ("on", "null", "1", "a: b", "#x", "é", "yes", "~", "- a", "{x}", "a, b", "'q'", '"q"')

    def test_names_and_words_that_yaml_could_take_for_something_else_survive(
        self, tmp_path: Path
    ) -> None:
        columns = {name: cycled(f"{name}!", "other", "=") for name in self.NAMES}
        path = written(tmp_path, {**columns, "y: #": cycled("no", "~", "a: b", "#")})

        found = proposed(path, "y: #", tmp_path)

        assert tuple(found.config.columns) == self.NAMES
        assert found.config.data.target == "y: #"
        assert found.config.data.classes == ("#", "a: b", "no", "~")
        assert set(found.kinds.values()) == {"category"}

    @given(st.text(min_size=1).filter(lambda text: text.isprintable()) | st.text(min_size=1))
    def test_any_text_comes_back_from_yaml_as_it_was(self, text: str) -> None:
        from ruamel.yaml import YAML

        loaded = YAML(typ="rt").load(f"{{{scalar(text)}: [{scalar(text)}]}}  # and a comment")

        assert loaded == {text: [text]}

    def test_a_column_left_out_counts_without_its_mark(self, tmp_path: Path) -> None:
        y = np.random.default_rng(3).normal(size=N)
        found = of(
            tmp_path,
            [str(v) for v in y],
            leak=[str(2 * v) for v in y],
            same=["x"] * N,
            ids=[f"u{i}" for i in range(N)],
            money=[f"${i}" for i in range(N)],
            mixed=["n.v." if i % 50 == 0 else str(i) for i in range(N)],
        )
        taken = re.sub(r"(?m)^  #(?=\S+: \{)", "  ", found.text)
        (tmp_path / "taken.yaml").write_text(taken)

        config = load_config(tmp_path / "taken.yaml")

        assert len(found.left_out) == 5
        assert set(config.columns) == set(found.left_out) | {"plain"}
        rows = read_source(config.data.source, root=tmp_path)
        check_rows(rows, config.columns, config.data, config.validation, source="all of it")

    def test_a_word_with_line_breaks_stays_in_its_comment(self, tmp_path: Path) -> None:
        found = of(tmp_path, a=["x\n  evil: {kind: number}\u2028y"] * N)

        assert "evil" in found.text
        assert set(found.config.columns) == {"plain"}
