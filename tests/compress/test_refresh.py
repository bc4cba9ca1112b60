"""A refresh promotes what is better, refuses what is worse, and does nothing twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from compress.gates import GateRecipe
from compress.refresh import RefreshRecipe, RefreshSection, refresh
from models.errors import BusyError, ConfigurationError, GateError
from models.recipe import Recipe, TrainingRecipe
from models.store import ModelStore, StoreState
from tests.compress.bundles import RECIPE, WORSE, quiet

OPEN = GateRecipe(max_ece=1, min_agreement=0)


@dataclass(frozen=True)
class Place:
    """A store whose current model is the good one, data, and a job that fine-tunes."""

    store: ModelStore
    good: str
    job: RefreshRecipe
    data: Path
    work: Path

    def runs(self) -> list[Path]:
        return sorted(self.work.iterdir())

    def with_job(self, **changes: object) -> RefreshRecipe:
        return self.job.model_copy(update=changes)


@pytest.fixture
def place(good: Path, data: Path, tmp_path: Path) -> Place:
    own = shutil.copytree(data, tmp_path / "data")
    store = ModelStore(tmp_path / "store")
    sha256 = store.add(good)
    store.promote(sha256)
    section = RefreshSection(
        start=good.parent,
        data=own,
        store=tmp_path / "store",
        work=tmp_path / "work",
        train=Path("unused.toml"),
        bootstrap=20,
    )
    tuning = TrainingRecipe(epochs=1, lr=1e-3)
    job = RefreshRecipe(refresh=section, training=tuning, gates=OPEN)
    return Place(store, sha256, job, own, tmp_path / "work")


def test_a_model_that_passes_is_promoted_once_and_can_be_rolled_back(place: Place) -> None:
    outcome = refresh(place.job, RECIPE, quiet())
    assert outcome is not None
    assert outcome.status == "promoted"
    new = outcome.model
    assert place.store.state() == StoreState(current=new, previous=place.good)
    (run,) = place.runs()
    made = run / "train" / "card.json"
    assert json.loads(made.read_text())["training"]["recipe"]["training"]["epochs"] == 1
    changed = made.stat().st_mtime_ns

    console = quiet()
    assert refresh(place.job, RECIPE, console) is None
    assert f"nothing new: model {str(new)[:12]} is promoted" in console.file.getvalue()  # type: ignore[attr-defined]
    assert made.stat().st_mtime_ns == changed

    assert place.store.rollback() == place.good
    assert refresh(place.job, RECIPE, quiet()) is None, "it must not undo an operator's rollback"
    assert place.store.state().current == place.good

    # Killed after the promotion, before it took note: made again, and it is what is deployed.
    place.store.promote(str(new))
    (run / "outcome.json").unlink()
    again = refresh(place.job, RECIPE, quiet())
    assert again is not None
    assert (again.status, again.model) == ("unchanged", new)
    assert place.store.state() == StoreState(current=new, previous=place.good)


def test_new_data_is_a_new_run_and_the_old_one_is_deleted(place: Place) -> None:
    old = place.work / "0123456789abcdef"
    old.mkdir(parents=True)
    (place.work / "notes").mkdir()
    (old / "outcome.json").write_text("of other data")
    (place.data / "more.txt").write_text("new")
    assert refresh(place.job, RECIPE, quiet()) is not None
    assert not old.exists()
    assert len(place.runs()) == 2, "the run, and what is none"


def test_a_worse_model_is_refused_and_nothing_is_promoted(place: Place, bad: Path) -> None:
    """Started from the untrained network, which one epoch at a tiny rate does not mend."""
    section = place.job.refresh.model_copy(update={"start": bad.parent})
    job = place.with_job(refresh=section, training=TrainingRecipe(epochs=1, lr=1e-9))
    with pytest.raises(GateError, match=r"is refused, .* stays: .*SN\w+ \(objects\): recall falls"):
        refresh(job, WORSE, quiet())
    assert place.store.state() == StoreState(current=place.good)
    assert place.store.models() == [place.good]
    (run,) = place.runs()
    told = json.loads((run / "outcome.json").read_text())
    assert told["status"] == "refused"
    assert told["failures"]
    console = quiet()
    assert refresh(job, WORSE, console) is None
    assert "nothing new: model" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_second_run_at_the_same_time_is_turned_away(place: Place) -> None:
    with place.store.lock(), pytest.raises(BusyError, match="is in use by process"):
        refresh(place.job, RECIPE, quiet())
    assert not place.work.exists()


def test_what_cannot_be_refreshed(place: Place, tmp_path: Path) -> None:
    def moved(**paths: Path) -> RefreshRecipe:
        return place.with_job(refresh=place.job.refresh.model_copy(update=paths))

    with pytest.raises(ConfigurationError, match="no current model to hold a new one against"):
        refresh(moved(store=tmp_path / "empty"), RECIPE, quiet())
    with pytest.raises(ConfigurationError, match=r"cannot read .*checkpoint.pt: No such file"):
        refresh(moved(start=tmp_path), RECIPE, quiet())
    other = RECIPE.model_copy(update={"network": WORSE.network})
    with pytest.raises(ConfigurationError, match="is not that of the recipe"):
        refresh(place.job, other, quiet())
    assert place.store.state() == StoreState(current=place.good)


def test_a_recipe_is_changed_only_where_the_job_says_so() -> None:
    from compress.refresh import _fine_tuned

    told = _fine_tuned(RECIPE, TrainingRecipe(epochs=1))
    assert told.training == RECIPE.training.model_copy(update={"epochs": 1})
    assert isinstance(told, Recipe)
