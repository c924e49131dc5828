"""Which config is a dataset's own, and why a run with anything else is an experiment.

A dataset has one config whose runs may change its champion. Other values, or another config with
the same name, make a run an experiment: it is trained, scored and compared, but not registered.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.config.layers import is_defaults
from pipeline_lib.config.pipeline import PipelineConfig
from pipeline_lib.config.sources import BuiltinTable, Source, SqlQuery
from pipeline_lib.config.yaml_text import YamlTextError, refuse_bombs

_RETRAIN = "flows/retrain.py:retrain"
_PROJECT_FILE = "prefect.yaml"


def own_config(
    name: str,
    root: Path,
    *,
    of_champion: str | None = None,
    champions_project: str | None = None,
) -> str | None:
    """Return the path of a dataset's own config, relative to the project where it lies below.

    The first of these that exists: the config that trained the champion, the one of the
    deployment `nightly-<name>` in prefect.yaml, `configs/<name>.yaml`.

    Args:
        name: of the dataset.
        root: the project's folder.
        of_champion: the path that the champion's version is tagged with.
        champions_project: the folder that it started from; a config of that project, while it is
            there, is the dataset's own for all others.

    Returns:
        The path, or None if there is no such file: then any config may be the dataset's own.
    """
    elsewhere = None
    if of_champion and champions_project:
        elsewhere = str(Path(champions_project) / of_champion)
    candidates = (of_champion, elsewhere, _nightly_config(name, root), f"configs/{name}.yaml")
    there = (path for path in candidates if path and (root / path).is_file())
    return next((path for path in there if not is_defaults(root / path)), None)


def why_experiment(config: PipelineConfig, plain: PipelineConfig | None, own: str | None) -> str:
    """Return why a run of `config` is an experiment, or an empty string.

    Args:
        config: the values of the run.
        plain: the same file without the run's own values; None if it cannot be read alone.
        own: what `own_config` returned.
    """
    if own is not None and not _same_file(config, own):
        return (
            f"its config is {config.path_in_project or 'no file'}, that of {config.name} is {own}"
        )
    if plain is None or plain.digest() != config.digest():
        return f"values differ from {config.path_in_project or 'the config'}"
    return ""


def source_text(source: Source) -> str:
    """Return what identifies the table of a source: kind, and path or address and query.

    >>> source_text(BuiltinTable(table="car_evaluation"))
    'builtin car_evaluation'
    """
    if isinstance(source, BuiltinTable):
        return f"{source.kind} {source.table}"
    if isinstance(source, SqlQuery):
        return f"{source.kind} {source.url}: {' '.join(source.query.split())}"
    return f"{source.kind} {source.path}"


def _same_file(config: PipelineConfig, own: str) -> bool:
    path, project = config.path_in_project, config.project
    return bool(path) and (project / path).resolve() == (project / own).resolve()


def _nightly_config(name: str, root: Path) -> str | None:
    """Return the config that prefect.yaml gives to the deployment `nightly-<name>`."""
    try:
        text = (root / _PROJECT_FILE).read_text("utf-8")
        refuse_bombs(text)
        document: object = YAML(typ="safe", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType]
    except (OSError, ValueError, YAMLError, YamlTextError):
        return None  # `evergreen deploy` says what is wrong with it
    deployments = _get(document, "deployments")
    if not isinstance(deployments, Sequence):
        return None
    for block in cast("Sequence[object]", deployments):
        is_ours = _get(block, "entrypoint") == _RETRAIN and _get(block, "name") == f"nightly-{name}"
        path = _get(_get(block, "parameters"), "config")
        if is_ours and isinstance(path, str):
            return path
    return None


def _get(node: object, key: str) -> object:
    return cast("Mapping[str, object]", node).get(key) if isinstance(node, Mapping) else None
