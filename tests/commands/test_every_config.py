"""`--all`: every config of a project has its turn, and the worst gives the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evergreen.config_argument import chosen_configs
from evergreen.every_config import Ended, conclude, turn, worst_of
from pipeline_lib.errors import ConfigError, ConfigProblem, ContractError, UsageError, Violation

NAMES = ("a_good", "b_broken_contract", "c_no_file", "d_good", "e_typo")
CONFIG = """\
name: {name}
data: {{source: {{kind: csv, path: {path}}}, target: label, task: binary}}
columns: {{color: {{kind: category}}, size: {{kind: number{bound}}}}}
"""


def evergreen(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Run the command in a clean process; return exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "evergreen", *arguments],
        cwd=cwd,
        env={**os.environ, "EVERGREEN_HOME": str(cwd / "home")},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with two good configs, and one of each failure between them."""
    (tmp_path / "prefect.yaml").touch()
    (tmp_path / "configs").mkdir()
    rows = [f"{'rgb'[n % 3]},{n * n % 97},{'xy'[n % 3 == 0]}" for n in range(300)]
    (tmp_path / "rows.csv").write_text("\n".join(["color,size,label", *rows]) + "\n")
    (tmp_path / "configs/defaults.yaml").write_text("training: {epochs: 2, device: cpu}\n")
    for name, path, bound, more in (
        ("a_good", "rows.csv", "", ""),
        ("b_broken_contract", "rows.csv", ", maximum: 50", ""),
        ("c_no_file", "nowhere.csv", "", ""),
        ("d_good", "rows.csv", "", "training: {epochs: 1}\n"),
        ("e_typo", "rows.csv", "", "training: {epoch: 3}\n"),
    ):
        text = CONFIG.format(name=name, path=path, bound=bound) + more
        (tmp_path / "configs" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_all_looks_at_each_config_and_ends_with_a_table(project: Path) -> None:
    code, out, err = evergreen("check", "--all", cwd=project)

    table = [line.split()[:2] for line in out.splitlines()[-6:]]
    assert code == 2
    assert table == [
        ["config", "result"],
        ["configs/a_good.yaml", "fine"],
        ["configs/b_broken_contract.yaml", "stopped"],
        ["configs/c_no_file.yaml", "stopped"],
        ["configs/d_good.yaml", "fine"],
        ["configs/e_typo.yaml", "failed"],
    ]
    n_over = sum(n * n % 97 > 50 for n in range(300))
    assert f"column 'size': {n_over} rows hold" in err
    assert "configs/e_typo.yaml:4: training.epoch: unknown key; did you mean epochs?" in err


def test_check_all_prints_a_list_of_facts_as_json(project: Path) -> None:
    code, out, _ = evergreen("check", "--all", "--json", "--set", "training.seed=3", cwd=project)

    facts = json.loads(out)
    assert code == 2
    assert [each["exit_code"] for each in facts] == [0, 3, 2, 0, 2]
    assert facts[0]["config"] == "configs/a_good.yaml"
    assert facts[0]["defaults"] == {"training.epochs": "2", "training.device": "cpu"}
    assert facts[3]["defaults"] == {"training.device": "cpu"}
    assert "more than 50" in facts[1]["detail"]


def test_check_shows_what_the_shared_settings_give_unless_it_is_set(project: Path) -> None:
    arguments = ("check", "configs/a_good.yaml", "--set", "training.epochs=5")
    code, out, _ = evergreen(*arguments, cwd=project)

    assert code == 0
    assert "set by configs/defaults.yaml" in out
    assert "    training.device  cpu" in out
    assert "training.epochs" not in out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_all_trains_each_config_whatever_came_of_the_others(project: Path) -> None:
    code, out, err = evergreen("run", "--all", "--set", "promotion.floor=0.01", cwd=project)

    assert code == 2, err
    table = [line.split()[:2] for line in out.splitlines()[-5:]]
    assert [config for config, _ in table] == [f"configs/{name}.yaml" for name in NAMES]
    results = [result for _, result in table]
    assert [results[n] for n in (1, 2, 4)] == ["stopped", "stopped", "failed"]
    assert {results[0], results[3]} <= {"promoted", "kept", "rejected"}
    assert out.count("  evaluate  test: ") == 2
    code, out, err = evergreen("run", "--all", "--json", cwd=project)
    facts = json.loads(out)
    assert [each["exit_code"] for each in facts] == [0, 3, 2, 0, 2], err
    assert {facts[0]["decision"], facts[3]["decision"]} <= {"promoted", "rejected", "kept"}


def test_a_turn_in_which_a_library_exits_has_failed_and_ends_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def leave(path: Path) -> Ended:
        sys.exit(0)

    ended = turn(Path("configs/a.yaml"), leave)

    assert (ended.exit_code, ended.decision) == (1, "failed")
    assert "error: configs/a.yaml: unexpected SystemExit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([0, 0], 0),
        ([0, 3, 0], 3),
        ([3, 2], 2),
        ([2, 1, 3], 1),
        ([], 0),
    ],
)
def test_a_failure_is_worse_than_wrong_input_and_that_than_a_broken_contract(
    codes: list[int], worst: int
) -> None:
    assert worst_of(codes) == worst


def test_what_a_turn_raises_ends_that_turn_only(capsys: pytest.CaptureFixture[str]) -> None:
    def do(config: Path) -> Ended:
        match config.name:
            case "wrong":
                raise ConfigError([ConfigProblem("wrong:3", "name", "is required")])
            case "broken":
                raise ContractError([Violation("size", "range", 3, "3 rows")], source="rows.csv")
            case "bug":
                raise ZeroDivisionError("a bug of ours")
            case _:
                return Ended(config, 0, "promoted", "better", {"version": "1"})

    ended = [turn(Path(name), do) for name in ("wrong", "broken", "bug", "good")]

    assert [each.exit_code for each in ended] == [2, 3, 1, 0]
    assert conclude(ended, json_=False) == 1
    out, err = capsys.readouterr()
    assert "error: wrong:3: name: is required" in err
    assert "error: broken: contract broken by rows.csv:" in err
    assert "unexpected ZeroDivisionError: a bug of ours" in err
    assert [line.split()[:2] for line in out.splitlines()[-4:]] == [
        ["wrong", "failed"],
        ["broken", "stopped"],
        ["bug", "failed"],
        ["good", "promoted"],
    ]


def test_a_signal_ends_all_turns() -> None:
    def do(config: Path) -> Ended:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turn(Path("any"), do)


def test_one_config_or_all_are_named_and_never_both_nor_none(project: Path) -> None:
    with pytest.raises(UsageError, match="or give --all, not both"):
        chosen_configs(Path("a_good"), every=True)
    with pytest.raises(UsageError, match="name a config, such as"):
        chosen_configs(None, every=False)
    assert chosen_configs(Path("a_good"), every=False) == [Path("configs/a_good.yaml")]
    assert len(chosen_configs(None, every=True)) == 5


def test_all_configs_of_a_project_without_any_say_how_to_write_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match="holds no config; write one with `evergreen new"):
        chosen_configs(None, every=True)
