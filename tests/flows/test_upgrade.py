"""A home that the release before has made goes on: codes, champion, journal and config.

The fixture is a project after two nights of commit 49fd611, 900 and 1,200 rows, both promoted. It
was made at another place, so it has moved as well.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from prefect.client.schemas.objects import State

from flows.outcome import Outcome
from pipeline_lib.home import find_home

FIXTURE = Path(__file__).parents[1] / "fixtures" / "release_49fd611.tar.xz"


@dataclass(frozen=True)
class Upgraded:
    """The project after its first nights of this release."""

    root: Path
    client: MlflowClient
    codes_before: dict[str, list[str]]
    journal_before: list[str]
    old_answers: pd.DataFrame
    same_rows: Outcome
    again: Outcome
    more_rows: Outcome


@pytest.fixture(scope="module")
def upgraded(harness: None, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    """Unpack the fixture, and run the rows it has, again, and more rows."""
    from flows.retrain import retrain
    from pipeline_lib.tracking.registry import read_champion
    from pipeline_lib.tracking.store import connect

    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    root = folder / "shop"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EVERGREEN_HOME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(root)

        def night() -> Outcome:
            state: State[Outcome] = retrain("configs/shop.yaml", return_state=True)
            return state.result()

        codes, journal = _codes(root), _journal(root)
        champion = read_champion(connect(find_home()), "shop")
        assert champion is not None, "no champion"
        assert champion.model is not None, champion.problem
        answers = champion.model.predict(pd.read_csv("shop.csv", dtype=str, nrows=50))
        same_rows, again = night(), night()
        (root / "shop.csv").write_text(_grown((root / "shop.csv").read_text()))
        more_rows = night()
        return Upgraded(
            root, connect(find_home()), codes, journal, answers, same_rows, again, more_rows
        )


def _codes(root: Path) -> dict[str, list[str]]:
    table = pq.read_table(root / ".evergreen/datasets/shop/ledger/categories.parquet").to_pandas()
    ordered = table.sort_values("code")
    return {
        str(column): rows["category"].dropna().tolist()
        for column, rows in ordered.groupby("column")
    }


def _journal(root: Path) -> list[str]:
    return (root / ".evergreen/datasets/shop/decisions.jsonl").read_text().splitlines()


def _grown(text: str) -> str:
    """Return a table with 400 more rows of the same kind, and a color that it did not have."""
    random = np.random.default_rng(2)
    lines = [text.rstrip("\n")]
    for _ in range(400):
        color = ["amber", "blue", "green", "red", "teal"][random.integers(0, 5)]
        member, size = bool(random.integers(0, 2)), round(float(random.normal(20, 5)), 2)
        score = int(size > 20) + int(color == "blue") + int(member) + 0.4 * random.normal()
        lines.append(f"{color},{member},{size},{int(score > 1.5)}")
    return "\n".join(lines) + "\n"


def test_the_first_night_compares_with_the_champion_of_the_release_before(
    upgraded: Upgraded,
) -> None:
    outcome = upgraded.same_rows

    assert "champion v2" in outcome.reason
    assert "cannot be compared" not in outcome.reason
    assert outcome.decision in ("promoted", "kept")
    assert not outcome.experiment
    assert upgraded.again.decision == "skipped"


def test_codes_keep_their_meaning_and_new_ones_come_after_them(upgraded: Upgraded) -> None:
    now = _codes(upgraded.root)

    for column, categories in upgraded.codes_before.items():
        assert now[column][: len(categories)] == categories
    assert now["color"][-1] == "amber"
    assert now["member"] == upgraded.codes_before["member"]


def test_the_journal_goes_on_behind_its_old_lines(upgraded: Upgraded) -> None:
    lines = _journal(upgraded.root)

    assert lines[:2] == upgraded.journal_before
    decisions = [json.loads(line)["decision"] for line in lines]
    assert decisions[:2] == ["promoted", "promoted"]
    assert decisions[3] == "skipped"
    assert len(decisions) == 5


def test_a_night_of_more_rows_ends_with_a_decision_and_a_champion(upgraded: Upgraded) -> None:
    outcome = upgraded.more_rows
    champion = upgraded.client.get_model_version_by_alias("shop", "champion")

    assert outcome.decision in ("promoted", "kept")
    assert str(champion.version) == outcome.champion


def test_a_model_of_the_release_before_answers_as_it_did(upgraded: Upgraded) -> None:
    answers = upgraded.old_answers

    assert list(answers.columns) == ["prediction", "probability_0", "probability_1", "unseen"]
    assert set(answers["prediction"]) <= {"0", "1"}
    assert answers["unseen"].sum() == 0


def test_every_address_is_where_the_project_is_now(upgraded: Upgraded) -> None:
    addresses = {run.info.artifact_uri for run in upgraded.client.search_runs(["1"])}
    assert all(address.startswith(upgraded.root.as_uri()) for address in addresses)
