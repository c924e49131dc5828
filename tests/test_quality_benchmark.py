"""The quality benchmark: its rows, its loss, its tables and its page, without any rival."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import log_loss, root_mean_squared_error

from benchmarks import quality_generated as generated
from benchmarks.quality import measure_fit, run_jobs
from benchmarks.quality_frames import as_categories, load
from benchmarks.quality_large import large_table, write_large
from benchmarks.quality_page import Standing, require_same_rows, standings, write_page
from benchmarks.quality_peers import ROOT, Contestant, ours
from benchmarks.quality_results import Job, Result, append_result, read_results
from benchmarks.quality_rows import About, answers_of_test, loss_of, write_split

WORDS = ("dog", "cat", "eel")


def _split(folder: Path, *, split: int = 0, max_rows: int = 0, name: str = "pets") -> About:
    """Write 100 rows of pets to a table, and a split of it to `folder`."""
    folder.mkdir(parents=True)
    table = folder.parent / f"{name}.csv"
    rows = [f" {n},{WORDS[n % 3]},{n % 7}" for n in range(100)]
    table.write_text("\n".join(["weight,kind,code", *rows]) + "\n", encoding="utf-8")
    return write_split(
        table,
        folder,
        target="kind",
        has_classes=True,
        codes=("code",),
        split=split,
        max_rows=max_rows,
    )


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _result(
    table: str, contestant: str, loss: float, *, split: int = 0, cpu_s: float = 1
) -> Result:
    return Result(
        table=table,
        split=split,
        max_rows=4_000,
        contestant=contestant,
        digest=f"{table} {split}",
        n_rows={"train": 60, "val": 20, "test": 20},
        metric="log_loss",
        loss=loss,
        cpu_s=cpu_s,
    )


def _of(name: str, rows: list[Standing]) -> Standing:
    return next(row for row in rows if row.name == name)


def test_every_row_is_in_one_split_of_60_20_20_percent(tmp_path: Path) -> None:
    about = _split(tmp_path / "a")

    rows = _rows(tmp_path / "a")

    assert about.n_rows == {"train": 60, "val": 20, "test": 20}
    assert sorted(int(row["weight"]) for row in rows) == list(range(100))
    assert {row["split_"] for row in rows} == {"train", "val", "test"}


def test_two_contestants_get_the_same_rows_and_another_split_others(tmp_path: Path) -> None:
    first, second = _split(tmp_path / "a"), _split(tmp_path / "b")
    other = _split(tmp_path / "c", split=1)

    assert first == second
    assert (tmp_path / "a/rows.csv").read_bytes() == (tmp_path / "b/rows.csv").read_bytes()
    assert other.digest != first.digest


def test_fewer_training_rows_leave_the_test_rows_as_they_are(tmp_path: Path) -> None:
    _split(tmp_path / "a")
    about = _split(tmp_path / "b", max_rows=20)

    of_test = [[r for r in _rows(tmp_path / n) if r["split_"] == "test"] for n in "ab"]

    assert about.n_rows == {"train": 20, "val": 5, "test": 20}
    assert of_test[0] == of_test[1]


def test_frames_have_the_rows_of_the_file_and_codes_as_words(tmp_path: Path) -> None:
    about = _split(tmp_path / "a")

    frames = as_categories(load(tmp_path / "a"))

    rows = [row for row in _rows(tmp_path / "a") if row["split_"] == "train"]
    assert frames.words == ("code",)
    assert [*frames.train.x["weight"]] == [int(row["weight"]) for row in rows]
    assert [about.classes[code] for code in frames.train.y] == [row["kind"] for row in rows]
    assert [*frames.train.x["code"].astype(str)] == [row["code"] for row in rows]


def test_a_category_without_a_training_row_is_missing_for_a_rival(tmp_path: Path) -> None:
    _split(tmp_path / "a")
    path = tmp_path / "a" / "rows.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line.replace(",3,test", ",new,test") for line in lines]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    frames = as_categories(load(tmp_path / "a"))

    new = [row["code"] == "new" for row in _rows(tmp_path / "a") if row["split_"] == "test"]
    assert any(new)
    assert [*frames.test["code"].isna()] == new


def test_the_loss_is_scikit_learns(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 50)
    answers = random.choice(sorted(WORDS), 50).tolist()
    numbers, found = random.normal(size=50), random.normal(size=50)

    of_classes = loss_of(probabilities, answers, sorted(WORDS))
    of_numbers = loss_of(found, [str(number) for number in numbers], ())

    assert of_classes == pytest.approx(log_loss(answers, probabilities, labels=sorted(WORDS)))
    assert of_numbers == pytest.approx(root_mean_squared_error(numbers, found))


def test_a_class_that_was_ruled_out_costs_as_much_as_float32_can_say() -> None:
    loss = loss_of(np.array([[0.0, 1.0]]), ["a"], ("a", "b"))

    assert loss == pytest.approx(-np.log(1e-7), rel=1e-6)


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.full((1, 2), np.nan)])
def test_predictions_of_another_shape_or_without_a_value_have_no_loss(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected finite"):
        loss_of(bad, ["a"], ("a", "b"))


def test_answers_are_those_of_the_test_rows_in_their_order(tmp_path: Path) -> None:
    _split(tmp_path / "a")

    expected = [row["kind"] for row in _rows(tmp_path / "a") if row["split_"] == "test"]

    assert answers_of_test(tmp_path / "a") == expected


@pytest.mark.parametrize(
    ("make", "target", "counts"),
    [
        (generated.tic_tac_toe, "class", {"positive": 626, "negative": 332}),
        (generated.balance_scale, "class", {"L": 288, "B": 49, "R": 288}),
        (lambda: generated.monks(1), "class", {"yes": 216, "no": 216}),
        (lambda: generated.monks(2), "class", {"yes": 142, "no": 290}),
    ],
)
def test_enumerated_tables_have_the_classes_that_uci_publishes(
    make: Callable[[], object], target: str, counts: dict[str, int]
) -> None:
    import pandas as pd

    table = make()

    assert isinstance(table, pd.DataFrame)
    assert table[target].value_counts().to_dict() == counts
    assert not table.duplicated().any()


def test_a_fit_that_has_a_result_is_not_repeated_and_a_failed_one_is(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    contestant = Contestant("catboost", (), ROOT)
    append_result(path, _result("car", "catboost", 0.1))
    append_result(path, replace(_result("wine", "catboost", 0.1), loss=None, failure="killed"))
    jobs = [Job(name, 0, 4_000, "catboost") for name in ("car", "wine", "bike")]
    measured: list[str] = []

    def measure(job: Job, _: Contestant) -> Result:
        measured.append(job.table)
        return _result(job.table, job.contestant, 0.2)

    run_jobs(jobs, [contestant], path, measure)
    run_jobs(jobs, [contestant], path, measure)

    assert measured == ["wine", "bike"]
    assert {r.table: r.loss for r in read_results(path)} == {"car": 0.1, "wine": 0.2, "bike": 0.2}


def test_a_line_that_a_kill_cut_off_costs_no_other_result(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, _result("car", "catboost", 0.1))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"table": "wi')

    append_result(path, _result("bike", "catboost", 0.3))

    assert [result.table for result in read_results(path)] == ["car", "bike"]


def test_a_ratio_is_the_geometric_mean_over_the_splits_that_both_have() -> None:
    reference = [_result("car", "catboost", loss, split=n) for n, loss in enumerate((1, 2, 9))]
    other = [_result("car", "other", loss, split=n) for n, loss in enumerate((2, 1))]

    found = _of("other", standings([*reference, *other]))

    assert found.ratios == {"car": pytest.approx(1.0)}
    assert found.won_tied_lost == (0, 1, 0)


def test_wins_ranks_and_p_are_those_of_scipy_and_of_a_calculation_by_hand() -> None:
    losses = {"catboost": [1.0] * 7, "better": [0.8, 0.9, 0.7, 0.6, 0.95, 1.001, 1.2]}
    losses["worse"] = [1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1]
    results = [
        _result(f"table {n}", name, loss, cpu_s=2 if name == "worse" else 1)
        for name, of in losses.items()
        for n, loss in enumerate(of)
    ]

    rows = standings(results)

    better, worse = _of("better", rows), _of("worse", rows)
    assert [row.name for row in rows] == ["better", "catboost", "worse"]
    assert better.won_tied_lost == (5, 1, 1)
    assert better.median == pytest.approx(0.9)
    assert better.p_value == pytest.approx(float(wilcoxon(np.log(losses["better"])).pvalue))
    # Second on the two tables that it loses, first on the others.
    assert better.rank == pytest.approx((5 * 1 + 2 * 2) / 7)
    assert (worse.rank, worse.cpu_ratio) == (3, 2)


def test_an_exact_table_is_in_no_ratio_and_on_the_page_with_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        _result("nursery", "catboost", 0.02),
        _result("nursery", "other", 0.001),
        _result("car", "catboost", 0.5),
        _result("car", "other", 0.6),
    ]

    write_page(results, tmp_path / "page.md")

    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert _of("other", standings(results)).ratios == {"car": pytest.approx(1.2)}
    assert "| nursery | 0.02 (+0.0000) | 0.001 (-0.0190) |" in page
    assert "| car | 0.5 | 0.6 |" in page
    assert capsys.readouterr().out.startswith(page)


def test_contestants_with_other_rows_are_not_compared() -> None:
    results = [_result("car", "catboost", 0.5), _result("car", "other", 0.6)]

    with pytest.raises(ValueError, match="car, split 0: other had other rows"):
        require_same_rows([results[0], replace(results[1], digest="of other rows")])


def test_a_checkout_takes_part_with_assignments(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()

    contestant = ours(f"trees={tmp_path}:model.kind=boosting;training.seed=1")

    assert contestant.name == "trees"
    assert contestant.python_path == tmp_path
    assert contestant.after == ("model.kind=boosting", "training.seed=1")


def test_a_folder_without_an_environment_is_no_contestant(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a checkout with an environment"):
        ours(f"trees={tmp_path}")


def test_results_are_json_that_reads_as_the_same_result(tmp_path: Path) -> None:
    result = replace(_result("car", "catboost", 0.5), versions={"catboost": "1.2.10"})

    append_result(tmp_path / "a.jsonl", result)

    assert json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))["table"] == "car"
    assert read_results(tmp_path / "a.jsonl") == [result]


def test_the_true_odds_of_the_large_table_are_the_lowest_loss_there_is(tmp_path: Path) -> None:
    about, lowest, constant = write_large(tmp_path / "a", 5_000)

    answers = answers_of_test(tmp_path / "a")

    odds = large_table(5_000, seed=0)[2][4_500:]
    truth = 1 / (1 + np.exp(-odds))
    assert about.n_rows == {"train": 4_000, "val": 500, "test": 500}
    assert lowest == pytest.approx(log_loss(answers, np.stack([1 - truth, truth], axis=1)))
    assert lowest < constant - 0.05


@pytest.mark.slow
def test_evergreen_takes_part_with_what_new_proposes_and_learns(tmp_path: Path) -> None:
    table, folder = tmp_path / "pets.csv", tmp_path / "rows"
    folder.mkdir()
    # One row in seven looks like another: a column that always knew the kind would be a leak.
    looks = [WORDS[(n + (n % 7 == 0)) % 3] for n in range(400)]
    lines = [f"{n * 37 % 1000},{looks[n]}ish,{WORDS[n % 3]}" for n in range(400)]
    table.write_text("\n".join(["weight,looks,kind", *lines]) + "\n", encoding="utf-8")
    about = write_split(
        table, folder, target="kind", has_classes=True, codes=(), split=0, max_rows=0
    )
    script = str(ROOT / "benchmarks" / "quality_ours.py")
    contestant = Contestant("evergreen", (sys.executable, "-P", script), ROOT)

    result = measure_fit(Job("pets", 0, 0, "evergreen"), contestant, folder, about)

    assert not result.failure
    assert result.loss is not None
    assert result.loss < 0.7 * np.log(3)
