"""The commands that change a model store: what is not sound is refused, and nothing changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.settings import ModelSettings, Settings
from deploy.wiring import open_classifier, with_model
from models.bundle import DEPLOYED_MODEL, load_bundle
from models.errors import BundleError, ConfigurationError
from models.store import ModelStore, StoreState
from tests.variants import variant


@pytest.fixture(scope="module")
def hotter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return variant(tmp_path_factory.mktemp("hotter"), "hotter", temperature=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def tinyt2(*arguments: str | Path, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, arguments)], env=environment)


def done(*arguments: str | Path) -> str:
    result = tinyt2(*arguments)
    assert result.exit_code == 0, result.exception
    return result.output


def refused(*arguments: str | Path) -> str:
    """Return the message; the command line makes it a line and exit code 2 (test_cli)."""
    result = tinyt2(*arguments)
    assert isinstance(result.exception, BundleError | ConfigurationError)
    return str(result.exception)


def test_push_promote_roll_back(folder: Path, hotter: Path) -> None:
    store = ModelStore(folder)
    deployed, hot = load_bundle().sha256, load_bundle(hotter).sha256
    assert done("push", DEPLOYED_MODEL, "--store", folder) == f"{deployed} is current\n"
    assert done("push", hotter, "--store", folder, "--shadow") == f"{hot} is the candidate\n"
    assert store.state() == StoreState(deployed, None, hot)
    assert done("promote", "--store", folder) == f"{hot} is current\n"
    assert store.state() == StoreState(hot, deployed, None)
    assert done("rollback", "--store", folder) == f"{deployed} is current\n"
    assert done("promote", hot[:6], "--store", folder) == f"{hot} is current\n"
    done("push", DEPLOYED_MODEL, "--store", folder, "--shadow")
    done("withdraw", "--store", folder)
    assert store.state() == StoreState(hot, deployed, None)


def test_the_list_says_which_is_which(folder: Path, hotter: Path) -> None:
    assert "push one" in done("list", "--store", folder)
    done("push", DEPLOYED_MODEL, "--store", folder)
    done("push", hotter, "--store", folder)
    text = done("list", "--store", folder)
    assert text.index("previous") < text.index("hotter") < text.index("current")
    path = ModelStore(folder).path(load_bundle(hotter).sha256)
    path.write_bytes(b"")
    assert "damaged" in done("list", "--store", folder)


def test_a_broken_file_is_refused_and_nothing_changes(
    folder: Path, hotter: Path, tmp_path: Path
) -> None:
    done("push", DEPLOYED_MODEL, "--store", folder)
    before = ModelStore(folder).state(), ModelStore(folder).models()
    broken = tmp_path / "model.onnx"
    broken.write_bytes(hotter.read_bytes()[:-100])
    (tmp_path / "card.json").write_bytes((hotter.parent / "card.json").read_bytes())
    for option in ([], ["--shadow"]):
        text = refused("push", broken, "--store", folder, *option)
        assert "copy model and card together" in text
    assert "cannot read the model's card" in refused("push", "README.md", "--store", folder)
    assert (ModelStore(folder).state(), ModelStore(folder).models()) == before


def test_mistakes_say_what_to_do(folder: Path) -> None:
    assert "push one with --shadow" in refused("promote", "--store", folder)
    assert "promote another" in refused("rollback", "--store", folder)
    assert "no models of the store begin with 'ab'" in refused("promote", "ab", "--store", folder)
    assert "set store in [model]" in refused("list")


def test_the_store_of_the_settings(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "tinyt2.toml"
    config.write_text(f"[model]\nstore = {json.dumps(str(folder))}\n")
    done("push", DEPLOYED_MODEL, "--config", config)
    assert ModelStore(folder).state().current == load_bundle().sha256
    result = tinyt2("list", environment={"TINYT2__MODEL__STORE": str(folder)})
    assert "current" in result.output


def test_a_new_store_gets_the_model_of_the_settings(folder: Path, hotter: Path) -> None:
    settings = Settings(model=ModelSettings(path=hotter, store=folder))
    classifier = open_classifier(settings)
    assert classifier.bundle.manifest.version == "hotter"
    assert ModelStore(folder).state() == StoreState(classifier.bundle.sha256)


def test_a_store_wins_over_a_path(folder: Path, hotter: Path) -> None:
    done("push", DEPLOYED_MODEL, "--store", folder)
    settings = Settings(model=ModelSettings(path=hotter, store=folder))
    assert open_classifier(settings).bundle.sha256 == load_bundle().sha256
    assert open_classifier(with_model(settings, hotter)).bundle.manifest.version == "hotter"


def test_a_service_does_not_start_with_a_damaged_model(folder: Path) -> None:
    done("push", DEPLOYED_MODEL, "--store", folder)
    store = ModelStore(folder)
    store.path(store.models()[0]).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"copy model and card .*tinyt2 model rollback"):
        open_classifier(Settings(model=ModelSettings(store=folder)))
