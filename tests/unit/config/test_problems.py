"""Many wrong configs: each mistake is reported at its line, and all of a file at once."""

from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.columns import DatetimeColumn
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.splits import TimeSplit
from pipeline_lib.config.times import format_problem, time_problem
from pipeline_lib.data.values.datetimes import read_bound
from pipeline_lib.errors import ConfigError
from tests.unit.config.toy import problems_of, write

MakeConfig = Callable[..., PipelineConfig]

# One key per line, so that a line is a key.
TEXT = """\
name: toy
data:
  source:
    kind: csv
    path: toy.csv
  target: label
  task: multiclass
  classes: [a, b, c]
  key: [id]
  time: day
  private: [id]
columns:
  color:
    kind: category
  size:
    kind: number
    minimum: 0
    maximum: 9
  flag:
    kind: boolean
    true: ["yes"]
    false: ["no"]
  day:
    kind: datetime
    format: "%Y-%m-%d"
    time_zone: Europe/Vienna
    parts: [year, month]
    earliest: 2026-01-01
    latest: 2026-12-31
validation:
  rules:
    - kind: expression
      name: positive
      expression: size > 0
    - kind: function
      name: sane
      function: checks:sane
  volume:
    max_drop: 0.5
split:
  kind: time
  val_from: 2026-10-01
  test_from: 2026-11-01
training:
  epochs: 50
  batch_size: 64
  optimizer:
    kind: sgd
    momentum: 0.9
    nesterov: true
  scheduler:
    kind: multistep
    milestones: [20, 40]
  loss:
    kind: cross_entropy
    class_weights:
      a: 2.0
      b: 1.0
evaluation:
  primary: macro_f1
tracking:
  tags:
    team: cars
"""

# What is changed in the file above, the key that it is reported under, and words of the rule.
WRONG = [
    # text, numbers, choices, unions by kind
    ("name: toy", "name: Toy", "name", "match pattern"),
    ("kind: csv", "kind: cvs", "data.source", "did you mean csv?"),
    ("path: toy.csv", "pth: toy.csv", "data.source.pth", "did you mean path?"),
    ("path: toy.csv", "path: data/{YYYY}.csv", "data.source.path", "needs {MM} and {DD} as well"),
    ("path: toy.csv", "path: data/{YEAR}.csv", "data.source.path", "{YEAR} is not a field"),
    (
        "path: toy.csv",
        "path: x.csv\n    window_days: 3",
        "data.source.window_days",
        "needs a path with",
    ),
    (
        "path: toy.csv",
        "path: x.csv\n    encoding: utf-9",
        "data.source.encoding",
        "'utf-9' is not a text encoding",
    ),
    (
        "path: toy.csv",
        "path: x.csv\n    encoding: hex",
        "data.source.encoding",
        "'hex' is not a text encoding",
    ),
    ("task: multiclass", "task: multi", "data.task", "did you mean"),
    ("kind: boolean", "kind: bool", "columns.flag", "did you mean boolean?"),
    ("max_drop: 0.5", "max_drop: 1.5", "validation.volume.max_drop", "must be below 1"),
    ("epochs: 50", "epochs: many", "training.epochs", "must be a whole number"),
    # rules between values
    ("classes: [a, b, c]", "classes: [a, b, a]", "data.classes", "lists 'a' twice"),
    ("task: multiclass", "task: binary", "data.classes", "a binary task has 2 classes, not 3"),
    ("private: [id]", "private: [idd]", "data.private.0", "'idd' is not a column of the key"),
    ("private: [id]", "private: [id, size]", "data.private.1", "'size' is a feature"),
    ("private: [id]", "private: [label]", "data.private", "'label' is the target"),
    ("target: label", "target: color", "columns.color", "is the target and a feature"),
    ("key: [id]", "key: [id]\n  weight: label", "data.weight", "'label' is the target"),
    ("key: [id]", "key: [id]\n  weight: id", "data.weight", "is a column of `key`"),
    ("key: [id]", "key: [id]\n  weight: day", "data.weight", "is `time`"),
    ("private: [id]", "private: [w]\n  weight: w", "data.private", "'w' is the weight"),
    ("key: [id]", "key: [id]\n  weight: size", "columns.size", "is `data.weight` and a feature"),
    ("minimum: 0", "minimum: 10", "columns.size.minimum", "minimum 10 is above maximum 9"),
    ('false: ["no"]', "false: [Yes]", "columns.flag.false", "'yes' is in `true` and in `false`"),
    ("name: sane", "name: positive", "validation.rules.1.name", "two rules are called 'positive'"),
    ("function: checks:sane", "function: checks", "validation.rules.1.function", "match pattern"),
    ("batch_size: 64", "batch_size: 1", "training.batch_size", "at least 2 or `full`"),
    ("batch_size: 64", "batch_size: 64\n  accumulation: 33", "training.accumulation", "33 parts"),
    ("momentum: 0.9", "momentum: 0", "training.optimizer.nesterov", "needs a `momentum` above 0"),
    ("[20, 40]", "[20, 50]", "training.scheduler.milestones", "50 is never reached in 50 epochs"),
    ("[20, 40]", "[40, 20]", "training.scheduler.milestones", "must increase"),
    ("batch_size: 64", "warm_epochs: 3", "training.warm_epochs", "needs `start_from: champion`"),
    ("batch_size: 64", "cuda_graphs: true", "training.cuda_graphs", "needs `compile: true`"),
    ("      b: 1.0", "      d: 1.0", "training.loss.class_weights.d", "'d' is not a class"),
    ("primary: macro_f1", "primary: rmse", "evaluation.primary", "not a metric of a multiclass"),
    (
        "team: cars",
        "team: postgresql://ann:hunter2@host/db",
        "tracking.tags.team",
        "'team' holds a password",
    ),
    # days, times, formats and zones
    ("earliest: 2026-01-01", "earliest: 2026-13-01", "columns.day.earliest", "must be in 1..12"),
    ("earliest: 2026-01-01", "earliest: 2026-02-30", "columns.day.earliest", "is not an ISO 8601"),
    ("earliest: 2026-01-01", "earliest: 10:30", "columns.day.earliest", "is not an ISO 8601"),
    ("earliest: 2026-01-01", "earliest: 20260101", "columns.day.earliest", "is not an ISO 8601"),
    ("earliest: 2026-01-01", "earliest: soon", "columns.day.earliest", "is not an ISO 8601"),
    (
        "earliest: 2026-01-01",
        "earliest: 2027-01-01T00:00:00Z",
        "columns.day.earliest",
        "is after `latest`, 2026-12-31",
    ),
    ("val_from: 2026-10-01", "val_from: 2026-13-01", "split.val_from", "must be a date"),
    ("val_from: 2026-10-01", "val_from: 2026-10-01 07:00", "split.val_from", "without a time"),
    ("val_from: 2026-10-01", "val_from: 20261001", "split.val_from", "must be a date"),
    ("val_from: 2026-10-01", "val_from: 2026-11-01", "split.val_from", "must be before"),
    ("val_from: 2026-10-01", "val_days: 30", "split.val_days", "give `val_from` and `test_from`"),
    ('format: "%Y-%m-%d"', 'format: "%Y-%Q"', "columns.day.format", "'Q' is a bad directive"),
    ('format: "%Y-%m-%d"', 'format: "%Y %Y"', "columns.day.format", "names a directive twice"),
    ('format: "%Y-%m-%d"', 'format: "day %"', "columns.day.format", "stray %"),
    ('format: "%Y-%m-%d"', 'format: "YYYY-MM"', "columns.day.format", "has no directive"),
    (
        "time_zone: Europe/Vienna",
        "time_zone: Vienna",
        "columns.day.time_zone",
        "is not a time zone",
    ),
    ("[year, month]", "[year, year]", "columns.day.parts", "lists 'year' twice"),
    ("time: day", "time: size", "columns.size.kind", "so its kind is datetime, not number"),
    ("time: day", 'time: day\n  time_format: "%Q"', "data.time_format", "bad directive"),
    ("  time: day\n", "", "split.kind", "a split by time needs `data.time`"),
    # YAML
    ("time: day", "time: day\n  time: day", "", "found duplicate key 'time', also in line 10"),
    ("team: cars", "team: !!set {a}", "", "the tag tag:yaml.org,2002:set has no meaning"),
]


def test_the_whole_config_is_right(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TEXT))

    assert isinstance(config.split, TimeSplit)
    assert config.split.val_from == date(2026, 10, 1)


@pytest.mark.parametrize(("old", "new", "key", "rule"), WRONG, ids=lambda text: str(text)[:40])
def test_a_mistake_is_reported_at_the_line_that_has_to_change(
    tmp_path: Path, old: str, new: str, key: str, rule: str
) -> None:
    changed = TEXT.replace(old, new, 1)
    assert changed != TEXT
    lines = {_line(changed, key)} if key else range(1, len(changed.splitlines()) + 1)

    problems = problems_of(tmp_path, changed)

    assert any(
        problem.startswith(f"toy.yaml:{line}: {f'{key}: ' if key else ''}") and rule in problem
        for problem in problems
        for line in lines
    ), problems


def _line(text: str, key: str) -> int:
    """Return the line of a dotted key in a text with a key a line, by its indentation alone."""
    first, depth = 0, 0
    lines = text.splitlines()
    for part in key.split("."):
        if part.isdigit():
            number, items = int(part), ("- ",)
            at = [i for i in range(first, len(lines)) if lines[i].strip().startswith(items)]
            if not at or at[0] > first + 1:  # a list in brackets, on the line of its key
                return first
            first, depth = at[number] + 1, depth + 1
            continue
        for number in range(first, len(lines)):
            words = lines[number].replace("- ", "  ", 1)
            if words.strip().startswith(f"{part}:") and (len(words) - len(words.lstrip())) == (
                2 * depth
            ):
                first, depth = number + 1, depth + 1
                break
        else:
            if depth:  # an item of a list begins on the line above its other keys
                return first
            raise AssertionError(key)
    return first


def test_mistakes_of_every_kind_are_reported_together_in_the_order_of_lines(
    tmp_path: Path,
) -> None:
    changes = [
        ("path: toy.csv", "path: toy.csv\n    trimm: true"),
        ("private: [id]", "private: [idd]"),
        ("minimum: 0", "minimum: 10"),
        ("earliest: 2026-01-01", "earliest: 2026-13-01"),
        ("name: sane", "name: positive"),
        ("val_from: 2026-10-01", "val_from: 2026-12-01"),
        ("epochs: 50", "epochs: 0\n  cuda_graphs: true\n  cuda_graphs: true"),
        ("momentum: 0.9", "momentum: 0"),
        ("      b: 1.0", "      d: 1.0"),
        ("primary: macro_f1", "primary: rmse"),
        ("team: cars", "team: postgresql://ann:hunter2@host/db"),
    ]
    text = TEXT
    for old, new in changes:
        text = text.replace(old, new, 1)

    problems = problems_of(tmp_path, text)

    keys = [problem.split(": ")[1] for problem in problems]
    assert keys == [
        "data.source.trimm",
        "data.private.0",
        "columns.size.minimum",
        "columns.day.earliest",
        "validation.rules.1.name",
        "split.val_from",
        "training.epochs",
        "training.cuda_graphs",
        "is not valid YAML",  # the key that stands twice
        "training.optimizer.nesterov",
        "training.loss.class_weights.d",
        "evaluation.primary",
        "tracking.tags.team",
    ]
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert lines == sorted(lines)


def test_a_rule_says_nothing_of_a_value_that_is_wrong_itself(tmp_path: Path) -> None:
    text = TEXT.replace("epochs: 50", "epochs: none").replace("[20, 40]", "[20, 4000]")

    problems = problems_of(tmp_path, text)

    assert [problem.split(": ")[1] for problem in problems] == ["training.epochs"]


def test_more_mistakes_than_a_screen_holds_are_counted(tmp_path: Path) -> None:
    columns = "".join(f"  c{n}: {{kind: number, minimums: 1}}\n" for n in range(60))

    problems = problems_of(tmp_path, TEXT.replace("columns:\n", f"columns:\n{columns}"))

    assert len(problems) == 21
    assert problems[-1] == "…: and 40 more"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-12-01", "2026-12-01"),
        ("'2026-12-01'", "2026-12-01"),
        ("2026-12-01 10:00", "2026-12-01 10:00"),
        ("2026-12-01T10:00:00", "2026-12-01T10:00:00"),
        ("2026-12-01T10:00:00Z", "2026-12-01T10:00:00Z"),
        ("2026-12-01 10:00:00.5 +02:00", None),
        ("2026-12-01T10:00:00.5+02:00", "2026-12-01T10:00:00.5+02:00"),
    ],
)
def test_a_day_or_a_time_needs_no_quotes_in_a_bound(
    tmp_path: Path, written: str, kept: str | None
) -> None:
    text = TEXT.replace("earliest: 2026-01-01", f"earliest: {written}")

    if kept is None:
        assert "columns.day.earliest" in problems_of(tmp_path, text)[0]
        return
    column = load_config(write(tmp_path, text)).columns["day"]
    assert isinstance(column, DatetimeColumn)
    assert column.earliest == kept


def test_a_bound_may_be_a_date_of_python_as_other_loaders_make_it() -> None:
    column = DatetimeColumn.model_validate(
        {"earliest": date(2026, 12, 1), "latest": datetime(2026, 12, 2, 10, 30)}  # noqa: DTZ001
    )

    assert (column.earliest, column.latest) == ("2026-12-01", "2026-12-02T10:30:00")


@given(
    st.one_of(
        st.dates().map(str),
        st.datetimes(timezones=st.none() | st.timezones()).map(lambda t: t.isoformat()),
        st.times().map(time.isoformat),
        st.from_regex(
            r"\A\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?(Z|[+-]\d\d(:?\d\d)?)?\Z"
        ),
    )
)
def test_a_config_takes_the_times_that_the_contract_can_read(text: str) -> None:
    if text[:4] in ("0000", "0001", "9999"):  # the contract keeps clear of the ends of the calendar
        return

    assert (time_problem(text) is None) is (read_bound(text) is not None)


@pytest.mark.parametrize("form", ["%Y", "%d.%m.%Y %H:%M", "%j", "%s", "%", "a", "", "%Y%Y", "%%"])
def test_a_format_that_passes_can_write_and_read_a_time(form: str) -> None:
    when = datetime(2026, 12, 1, 10, 30)  # noqa: DTZ001

    if format_problem(form) is None:
        datetime.strptime(when.strftime(form), form)  # noqa: DTZ007


@pytest.mark.parametrize(
    ("earliest", "latest", "zone", "is_refused"),
    [
        ("2026-12-01", "2026-12-01", None, False),  # a last day includes its end
        ("2026-12-02", "2026-12-01", None, True),
        ("2026-12-01T10:00", "2026-12-01T09:59", None, True),
        ("2026-12-01T10:00+02:00", "2026-12-01T09:00Z", None, False),
        ("2026-12-01T10:00+02:00", "2026-12-01T07:00Z", None, True),
        ("2026-12-01T10:00", "2026-12-01T09:30Z", None, False),  # the rows will say their zone
        ("2026-12-01T10:00", "2026-12-01T08:30Z", "Europe/Vienna", True),
        ("2026-12-01T10:00", "2026-12-01T09:30Z", "Europe/Vienna", False),
    ],
)
def test_bounds_are_compared_as_instants(
    earliest: str, latest: str, zone: str | None, is_refused: bool
) -> None:
    tree = {"earliest": earliest, "latest": latest, "time_zone": zone}

    try:
        DatetimeColumn.model_validate(tree)
        found = False
    except ValidationError as error:
        found = "is after `latest`" in str(error)

    assert found is is_refused


def test_a_library_user_gets_every_broken_rule_in_one_error() -> None:
    with pytest.raises(ValidationError) as raised:
        DatetimeColumn(format="%Q", earliest="soon", parts=("year", "year"))

    text = str(raised.value)
    assert "'Q' is a bad directive" in text
    assert "earliest: 'soon' is not" in text
    assert "parts: lists 'year' twice" in text


def test_rules_between_settings_are_methods_that_yield_mistakes() -> None:
    # A validator of pydantic that raises would hide the other mistakes of the file.
    def below(cls: type[BaseModel]) -> list[type[BaseModel]]:
        return [cls, *(inner for child in cls.__subclasses__() for inner in below(child))]

    validators = {
        (cls.__name__, name)
        for cls in below(Settings)
        for name in cls.__pydantic_decorators__.model_validators
    }

    assert {name for _, name in validators} == {"_keeps_its_rules"}


def test_the_error_of_a_mistake_survives_a_type_adapter() -> None:
    adapter = TypeAdapter(dict[str, DatetimeColumn])

    with pytest.raises(ValidationError, match="bad directive"):
        adapter.validate_python({"day": {"kind": "datetime", "format": "%Q"}})


def test_an_error_of_a_config_lists_its_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path, TEXT.replace("epochs: 50", "epochs: 0\n  seed: -1")))

    assert [problem.key for problem in raised.value.problems] == [
        "training.epochs",
        "training.seed",
    ]


@pytest.mark.parametrize("split", ["kind: group\n  columns: [w]", "kind: predefined\n  column: w"])
def test_a_weight_by_which_rows_are_split_is_refused(tmp_path: Path, split: str) -> None:
    text = TEXT.replace("  key: [id]\n", "  key: [id]\n  weight: w\n")
    before, _, after = text.partition("  kind: time\n")
    text = f"{before}  {split}\n{after.partition('2026-11-01')[2]}"

    (problem,) = problems_of(tmp_path, text)

    line = text.splitlines().index("  weight: w") + 1
    assert problem.startswith(f"toy.yaml:{line}: data.weight")
    assert "'w' is a column of the split" in problem
