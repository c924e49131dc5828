"""What is wrong with `prefect.yaml`, reported with line numbers before a server is asked.

Prefect ignores keys that it does not know, takes any parameter, and answers the rest with a
traceback. Text with `{{ … }}` is filled in later and is not looked at.
"""

import ast
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from evergreen.flow_parameters import value_problems
from pipeline_lib.config.yaml_text import YamlTextError, refuse_bombs
from pipeline_lib.errors import ConfigError, ConfigProblem
from pipeline_lib.wording import did_you_mean, examples, nearest_name

# As Prefect 3.8 has them (`prefect.cli.deploy._models`); a test compares.
TOP_KEYS = ("prefect-version", "name", "build", "push", "pull", "definitions", "deployments")
DEPLOYMENT_KEYS = (
    "name", "version", "version_type", "tags", "description", "schedule", "schedules", "paused",
    "concurrency_limit", "flow_name", "entrypoint", "parameters", "enforce_parameter_schema",
    "build", "push", "pull", "work_pool", "triggers", "sla",
)  # fmt: skip
POOL_KEYS = ("name", "work_queue_name", "job_variables")
LIMIT_KEYS = ("limit", "collision_strategy", "grace_period_seconds")
SCHEDULE_KEYS = (
    "cron", "interval", "rrule", "timezone", "anchor_date", "active", "parameters", "slug",
    "replaces", "day_or",
)  # fmt: skip
STRATEGIES = ("ENQUEUE", "CANCEL_NEW")
_MOMENTS = ("cron", "interval", "rrule")
_MAX_PROBLEMS = 20


def read_deployments(path: Path, *, pool: str) -> dict[str, tuple[str, ...]]:
    """Return the deployments in a `prefect.yaml` that is right, with the slugs of their schedules.

    A schedule without a slug has an empty one.

    Args:
        path: the file; configs and flows in it start from its folder.
        pool: the work pool that a deployment most likely means.

    Raises:
        ConfigError: what is wrong, a `file:line: key: rule` line each.
    """
    document = _read(path)
    found = _Findings(path, pool)
    found.keys(document, TOP_KEYS, "", only_near=True)
    deployments = document.get("deployments")
    if not isinstance(deployments, CommentedSeq) or not deployments:
        rule = "must be a list of deployments" if deployments else "there are none"
        if not found.is_misspelt(document, "deployments"):
            found.add(document, "deployments", "deployments", rule)
        deployments = CommentedSeq()
    slugs: dict[str, tuple[str, ...]] = {}
    for number, deployment in enumerate(cast("list[object]", deployments)):
        if not isinstance(deployment, CommentedMap):
            found.add(deployments, number, f"deployments[{number}]", "must be a mapping of keys")
            continue
        where = str(deployment.get("name") or f"deployments[{number}]")
        found.keys(deployment, DEPLOYMENT_KEYS, where)
        name = _name(deployment, number, slugs, found)
        _check(deployment, where, found)
        slugs[name] = tuple(_slugs(deployment))
    if found.problems:
        ordered = sorted(found.problems, key=lambda pair: pair[0])
        raise ConfigError([problem for _, problem in ordered[:_MAX_PROBLEMS]])
    return slugs


@dataclass
class _Findings:
    """Problems so far, each with its line."""

    path: Path
    pool: str
    problems: list[tuple[int, ConfigProblem]] = field(
        default_factory=list[tuple[int, ConfigProblem]]
    )
    meant: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])

    def add(self, node: object, key: object, name: str, rule: str) -> None:
        """Note that the value below a key of a node breaks a rule."""
        line = _line(node, key)
        problem = ConfigProblem(f"{self.path.name}:{line}", name, rule)
        # What several deployments share by an anchor is wrong once.
        if all((line, rule) != (at, other.rule) for at, other in self.problems):
            self.problems.append((line, problem))

    def keys(
        self, node: CommentedMap, known: Sequence[str], name: str, *, only_near: bool = False
    ) -> None:
        """Note keys that Prefect would ignore; `only_near`: those that are like a known one."""
        for key in cast("Iterable[object]", node):
            near = did_you_mean(str(key), known)
            if key not in known and (near or not only_near):
                self.add(node, key, _joined(name, key), f"unknown key{near}")
                meant = nearest_name(str(key), known)
                self.meant |= {(id(node), meant)} if meant else set()

    def is_misspelt(self, node: object, *keys: str) -> bool:
        """Return whether one of the keys is there with a typo, which was noted already."""
        return any((id(node), key) in self.meant for key in keys)

    def text(self, node: CommentedMap, key: str, name: str, *, required: bool = False) -> str:
        """Return the text below a key; empty where there is none, or it is filled in later."""
        value = node.get(key)
        if value is None and (not required or self.is_misspelt(node, key)):
            return ""
        if not isinstance(value, str) or not value.strip():
            rule = "is missing" if value is None else f"must be text, not {examples([value])}"
            self.add(node, key, _joined(name, key), rule)
            return ""
        return "" if "{{" in value else str(value)


def _read(path: Path) -> CommentedMap:
    try:
        text = path.read_text("utf-8")
        refuse_bombs(text)
        document: object = YAML(typ="rt").load(text)  # pyright: ignore[reportUnknownMemberType]
    except YamlTextError as error:
        place = f"{path.name}:{error.line}" if error.line else path.name
        raise ConfigError([ConfigProblem(place, "", f"is not valid YAML: {error}")]) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        rule = f"is not valid YAML: {' '.join(str(error.problem or error.context).split())}"
        raise ConfigError([ConfigProblem(f"{path.name}:{line}", "", rule)]) from None
    except (OSError, UnicodeDecodeError, YAMLError, ValueError, RecursionError) as error:
        rule = f"cannot be read: {' '.join(str(error).split())[:300]}"
        raise ConfigError([ConfigProblem(path.name, "", rule)]) from None
    if not isinstance(document, CommentedMap):
        rule = "is empty" if document is None else "is not a mapping of keys to values"
        raise ConfigError([ConfigProblem(f"{path.name}:1", "", rule)])
    return document


def _name(deployment: CommentedMap, number: int, taken: Container[str], found: _Findings) -> str:
    where = f"deployments[{number}]"
    name = found.text(deployment, "name", where, required=True)
    if name and name in taken:
        rule = f"{name!r} is there twice; the second would replace the first"
        found.add(deployment, "name", f"{where}.name", rule)
    if strange := [sign for sign in "/%&<>" if sign in name]:
        found.add(deployment, "name", f"{where}.name", f"{strange[0]!r} may not be in a name")
    return name


def _check(deployment: CommentedMap, name: str, found: _Findings) -> None:
    _check_pool(deployment, name, found)
    _check_limit(deployment, name, found)
    found.text(deployment, "description", name)
    for key in ("paused", "enforce_parameter_schema"):
        if (value := deployment.get(key)) is not None and not _is_switch(value):
            rule = f"must be true or false, not {examples([value])}"
            found.add(deployment, key, f"{name}.{key}", rule)
    tags = deployment.get("tags", CommentedSeq())
    if not _is_later(tags) and not (
        isinstance(tags, CommentedSeq) and all(isinstance(tag, str) for tag in tags)
    ):
        found.add(deployment, "tags", f"{name}.tags", f"must be a list of text: [{tags}]")
    _check_flow(deployment, name, found)
    for key in ("schedule", "schedules"):
        given = deployment.get(key)
        if given is not None and not _is_later(given):
            _check_schedules(deployment, key, name, found)


def _check_schedules(deployment: CommentedMap, key: str, name: str, found: _Findings) -> None:
    given, where = deployment[key], f"{name}.{key}"
    if key == "schedules" and not isinstance(given, CommentedSeq):
        found.add(deployment, key, where, 'must be a list, as [{cron: "0 2 * * *"}]')
        return
    listed = cast("list[object]", given) if isinstance(given, CommentedSeq) else [given]
    for number, schedule in enumerate(listed):
        place = f"{where}[{number}]" if key == "schedules" else where
        if isinstance(schedule, CommentedMap):
            _check_schedule(schedule, place, found)
        else:
            found.add(deployment, key, place, 'must be a mapping, as {cron: "0 2 * * *"}')
    slugs = Counter(_slugs(deployment))
    if double := [slug for slug, n in slugs.items() if slug and n > 1]:
        found.add(deployment, key, where, f"the slug {double[0]!r} is used twice")
    if "" in slugs and len(slugs) > 1:
        found.add(deployment, key, where, "give each schedule a slug, or none of them")


def _slugs(deployment: CommentedMap) -> Iterator[str]:
    for key in ("schedule", "schedules"):
        given = deployment.get(key)
        listed = cast("list[object]", given) if isinstance(given, CommentedSeq) else [given]
        for schedule in listed:
            if isinstance(schedule, CommentedMap):
                yield str(schedule.get("slug") or "")


def _check_pool(deployment: CommentedMap, name: str, found: _Findings) -> None:
    pool = deployment.get("work_pool")
    if not isinstance(pool, CommentedMap):
        if not found.is_misspelt(deployment, "work_pool"):
            rule = f"must be a mapping, as {{name: {found.pool}}}"
            found.add(deployment, "work_pool", f"{name}.work_pool", rule)
        return
    found.keys(pool, POOL_KEYS, f"{name}.work_pool")
    given = found.text(pool, "name", f"{name}.work_pool", required=True)
    if given == found.pool and pool.get("job_variables"):
        rule = (
            f"the pool {given} takes none, or a form could set them, too; what a run's environment "
            "needs is set where the worker is started"
        )
        found.add(pool, "job_variables", f"{name}.work_pool.job_variables", rule)
    if given and given != found.pool and (near := did_you_mean(given, [found.pool])):
        found.add(pool, "name", f"{name}.work_pool.name", f"{given!r} is not there{near}")


def _check_limit(deployment: CommentedMap, name: str, found: _Findings) -> None:
    limit, key, node = deployment.get("concurrency_limit"), "concurrency_limit", deployment
    where = f"{name}.{key}"
    if isinstance(limit, CommentedMap):
        found.keys(limit, LIMIT_KEYS, where)
        strategy = found.text(limit, "collision_strategy", where)
        if strategy and strategy not in STRATEGIES:
            near = did_you_mean(strategy, STRATEGIES)
            rule = f"must be {' or '.join(STRATEGIES)}, not {strategy!r}{near}"
            found.add(limit, "collision_strategy", f"{where}.collision_strategy", rule)
        node, key, where, limit = limit, "limit", f"{where}.limit", limit.get("limit")
    if limit is None or _is_later(limit):
        return
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        found.add(node, key, where, f"must be a whole number from 1, not {examples([limit])}")


def _check_flow(deployment: CommentedMap, name: str, found: _Findings) -> None:
    """Look up the flow in its file, and check the parameters against its signature."""
    entrypoint = found.text(deployment, "entrypoint", name, required=True)
    parameters = deployment.get("parameters")
    if parameters is not None and not isinstance(parameters, CommentedMap):
        found.add(deployment, "parameters", f"{name}.parameters", "must be a mapping of values")
        parameters = None
    file, colon, function = entrypoint.rpartition(":")
    if not colon:
        return  # a module, or filled in later
    where, root = f"{name}.entrypoint", found.path.parent
    source = root / file
    if not source.is_file():
        near = did_you_mean(source.name, (p.name for p in source.parent.glob("*.py")))
        found.add(deployment, "entrypoint", where, f"there is no file {file}{near}")
        return
    try:
        functions = _functions(source)
    except (SyntaxError, ValueError) as error:
        found.add(deployment, "entrypoint", where, f"{file} is not valid Python: {error}")
        return
    if function not in functions:
        near = did_you_mean(function, functions)
        found.add(deployment, "entrypoint", where, f"{file} has no function {function}{near}")
        return
    known, given = functions[function], parameters or CommentedMap()
    for key in cast("Iterable[object]", given):
        if known is not None and key not in known:
            near = did_you_mean(str(key), known) or f"; known: {', '.join(sorted(known))}"
            rule = f"the flow has no such parameter{near}"
            found.add(given, key, f"{name}.parameters.{key}", rule)
    values = {str(key): value for key, value in given.items() if known and key in known}
    for key, rule in value_problems(source, function, values, root=root):
        node = given if key in given else deployment
        found.add(node, key if key in given else "parameters", f"{name}.parameters.{key}", rule)


def _functions(source: Path) -> dict[str, set[str] | None]:
    """Return the functions of a file with their parameters; None where any is taken."""
    tree = ast.parse(source.read_text("utf-8"))
    found: dict[str, set[str] | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = node.args
            named = (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)
            found[node.name] = None if taken.kwarg else {argument.arg for argument in named}
    return found


def _check_schedule(schedule: CommentedMap, name: str, found: _Findings) -> None:
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    found.keys(schedule, SCHEDULE_KEYS, name)
    if (value := schedule.get("active")) is not None and not _is_switch(value):
        rule = f"must be true or false, not {examples([value])}"
        found.add(schedule, "active", f"{name}.active", rule)
    found.text(schedule, "slug", name)
    moments = [key for key in _MOMENTS if schedule.get(key) is not None]
    if found.is_misspelt(schedule, *_MOMENTS):
        return
    if len(moments) != 1:
        found.add(schedule, "", name, "needs exactly one of cron, interval and rrule")
        return
    if zone := found.text(schedule, "timezone", name):
        from zoneinfo import available_timezones

        if (zones := available_timezones()) and zone not in zones:
            rule = f"{zone!r} is not a time zone{_zone_like(zone, zones)}"
            found.add(schedule, "timezone", f"{name}.timezone", rule)
    key, kind = moments[0], {"cron": CronSchedule, "interval": IntervalSchedule}
    value = schedule[key]
    if not _is_later(value):
        try:
            kind.get(key, RRuleSchedule).model_validate({key: value})
        except ValidationError as error:
            rule = error.errors()[0]["msg"].removeprefix("Value error, ").splitlines()[0]
            shown = f"{examples([value])} is not valid: {rule}"
            found.add(schedule, key, f"{name}.{key}", shown)


def _zone_like(zone: str, zones: Iterable[str]) -> str:
    """Return the nearest time zone, by its whole name or its city."""
    whole = {name for name in zones if "/" in name}
    by_city = {name.rpartition("/")[2]: name for name in sorted(whole)}
    if zone.isupper():  # an abbreviation, like CEST, which is none of a place
        return "; write it as Europe/Berlin"
    near = nearest_name(zone, whole) or by_city.get(nearest_name(zone, by_city) or "")
    return f"; did you mean {near}?" if near else "; write it as Europe/Berlin"


def _is_later(value: object) -> bool:
    return isinstance(value, str) and "{{" in value


def _is_switch(value: object) -> bool:
    return isinstance(value, bool) or _is_later(value)


def _joined(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _line(node: object, key: object) -> int:
    """Return the line of a key, of what it was merged from, or else of its mapping."""
    if isinstance(node, CommentedSeq):
        return int(node.lc.item(key)[0]) + 1  # pyright: ignore[reportUnknownMemberType]
    if not isinstance(node, CommentedMap):
        return 1
    own = cast("Mapping[object, object]", node.lc.data or {})
    if key in own:
        return int(node.lc.key(key)[0]) + 1  # pyright: ignore[reportUnknownMemberType]
    merged: object = getattr(node, "merge", ())
    for other in cast("Iterable[object]", merged):
        source = other[1] if isinstance(other, tuple) else other
        if isinstance(source, CommentedMap) and key in source:
            return _line(source, key)
    return int(node.lc.line) + 1
