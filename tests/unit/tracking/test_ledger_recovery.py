"""A ledger that is lost or behind: its codes are those of the registered models."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import CategoryColumn
from pipeline_lib.encoding import Encoder, Vocabulary
from pipeline_lib.encoding.encoded_splits import read_ledger, write_ledger
from pipeline_lib.home import find_home
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.storage.publishing import MANIFEST, publish
from pipeline_lib.tracking.ledger_recovery import recover_ledger

MakeConfig = Callable[..., PipelineConfig]
Words = Mapping[str, Sequence[str]]


def _vocabulary(column: str, words: Sequence[str], day: str = "2026-01-01") -> Vocabulary:
    """Return a vocabulary whose codes are in the order of the words, each in one training row."""
    known = Vocabulary(column)
    for word in words:
        known = known.fit(pa.chunked_array([pa.array([word])]), today=day)
    return known


class Registry:
    """Registers packages that hold nothing but their vocabularies."""

    def __init__(self, client: MlflowClient, name: str, folder: Path) -> None:
        self.client, self.name, self._folder = client, name, folder
        client.create_registered_model(name)

    def add(self, words: Words) -> str:
        """Return the version of a package with these words, in the order of their codes."""
        vocabularies = {name: _vocabulary(name, known) for name, known in words.items()}
        package = self._folder / str(len(list(self._folder.glob("*"))))
        with publish(package / "artifacts" / "model", {}) as scratch:
            columns = {name: CategoryColumn() for name in vocabularies}
            Encoder(columns, vocabularies, {}).save(scratch)
        version = self.client.create_model_version(
            self.name,
            package.as_uri(),
            tags={"package.sha256": digest_file(package / "artifacts" / "model" / MANIFEST)},
        )
        return str(version.version)

    def package(self, version: str) -> Path:
        """Return where the files of a version lie."""
        return self._folder / str(int(version) - 1) / "artifacts" / "model"

    def promote(self, version: str) -> None:
        """Make a version the champion."""
        self.client.set_registered_model_alias(self.name, "champion", version)


@pytest.fixture
def config(table_config: MakeConfig, request: pytest.FixtureRequest) -> PipelineConfig:
    """Return a config with one category column, `color`, and a name of the test's own."""
    return table_config(name=f"r{abs(hash(request.node.name)) % 10**12}")


@pytest.fixture
def registry(client: MlflowClient, config: PipelineConfig, tmp_path: Path) -> Registry:
    """Return the registry of that dataset."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return Registry(client, config.name, folder)


def _known(config: PipelineConfig) -> dict[str, list[str]]:
    ledger = read_ledger(find_home().dataset(config.name))
    return {name: words.categories.to_pylist() for name, words in ledger.items()}


def test_a_lost_ledger_starts_from_the_champions_codes_and_says_so(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    registry.promote(registry.add({"color": ["red", "blue"]}))

    told = recover_ledger(client, config)

    assert _known(config) == {"color": ["red", "blue"]}  # blue is 3, as it was
    assert told == (
        "the ledger was not there: it starts from the 2 categories of registered version 1, "
        "so that codes stay the same",
    )
    assert recover_ledger(client, config) == ()


def test_counts_and_days_come_back_with_the_codes(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    registry.add({"color": ["red", "blue"]})

    recover_ledger(client, config)

    color = read_ledger(find_home().dataset(config.name))["color"]
    assert color.counts.tolist() == [0, 1]
    assert color.first_seen.astype(str).tolist() == ["2026-01-01"] * 2


def test_later_versions_count_where_they_only_add_to_the_champions_codes(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    champion = registry.add({"color": ["red", "blue"]})
    registry.add({"color": ["red", "blue", "amber"]})
    registry.add({"color": ["amber", "blue", "red", "teal"]})  # of another home
    registry.promote(champion)

    recover_ledger(client, config)

    assert _known(config) == {"color": ["red", "blue", "amber"]}


def test_without_a_champion_the_newest_version_that_can_be_read_counts(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    registry.add({"color": ["red"]})
    registry.add({"color": ["red", "blue"]})
    newest = registry.add({"color": ["red", "blue", "teal"]})
    shutil.rmtree(registry.package(newest))

    (told,) = recover_ledger(client, config)

    assert _known(config) == {"color": ["red", "blue"]}
    assert "registered version 2" in told


def test_columns_that_tonights_config_does_not_have_come_back_too(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    older = registry.add({"color": ["red", "blue"], "shape": ["round", "flat"]})
    registry.promote(registry.add({"shape": ["round", "flat", "oval"]}))

    (told,) = recover_ledger(client, config)

    assert _known(config) == {"shape": ["round", "flat", "oval"], "color": ["red", "blue"]}
    assert f"registered versions 2, {older}" in told


@pytest.mark.parametrize("damage", ["manifest", "categories", "gone"])
def test_without_any_package_that_can_be_believed_codes_start_anew_and_it_is_said(
    client: MlflowClient, config: PipelineConfig, registry: Registry, damage: str
) -> None:
    registry.promote(registry.add({"color": ["red", "blue"]}))
    package = registry.package("1")
    if damage == "gone":
        shutil.rmtree(package)
    else:
        with publish(package, {}) as scratch:
            encoder = Encoder(
                {"color": CategoryColumn()}, {"color": _vocabulary("color", "ab")}, {}
            )
            encoder.save(scratch)
        if damage == "categories":  # with the manifest that was registered
            manifest = registry.package("1") / MANIFEST
            good = registry.add({"color": ["red", "blue"]})
            shutil.copy(registry.package(good) / MANIFEST, manifest)
            client.delete_model_version(config.name, good)

    (told,) = recover_ledger(client, config)

    assert _known(config) == {}
    assert "codes are assigned anew" in told
    assert f"models:/{config.name}/1" in told


def test_a_first_night_has_nothing_to_recover_and_nothing_to_say(
    client: MlflowClient, config: PipelineConfig
) -> None:
    assert recover_ledger(client, config) == ()
    assert not find_home().dataset(config.name).ledger.exists()


def test_a_ledger_from_before_the_champion_takes_the_champions_new_codes(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    write_ledger(
        find_home().dataset(config.name),
        {"color": _vocabulary("color", ["red"]), "size": _vocabulary("size", ["big"])},
    )
    registry.promote(registry.add({"color": ["red", "blue"]}))

    (told,) = recover_ledger(client, config)

    assert _known(config) == {"color": ["red", "blue"], "size": ["big"]}
    assert told == "the ledger was behind champion v1: it takes the champion's codes of 'color'"


def test_a_ledger_that_knows_more_than_the_champion_stays_as_it_is(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    write_ledger(
        find_home().dataset(config.name), {"color": _vocabulary("color", ["red", "blue", "teal"])}
    )
    registry.promote(registry.add({"color": ["red", "blue"]}))

    assert recover_ledger(client, config) == ()
    assert _known(config) == {"color": ["red", "blue", "teal"]}


def test_codes_that_differ_from_the_champions_are_reported_and_left_alone(
    client: MlflowClient, config: PipelineConfig, registry: Registry
) -> None:
    write_ledger(find_home().dataset(config.name), {"color": _vocabulary("color", ["blue", "red"])})
    registry.promote(registry.add({"color": ["red", "blue"]}))

    (told,) = recover_ledger(client, config)

    assert _known(config) == {"color": ["blue", "red"]}
    assert "different codes for the categories of 'color'" in told
