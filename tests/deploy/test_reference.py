"""The reference of the settings is that of the settings."""

from __future__ import annotations

from deploy.reference import reference
from deploy.settings import Settings
from tests.deploy.monitoring import DEPLOY


def test_the_reference_is_current() -> None:
    kept = (DEPLOY / "CONFIGURATION.md").read_text()
    assert kept == reference(), "run: python -m deploy.reference > deploy/CONFIGURATION.md"


def test_every_setting_has_a_row_with_its_default_and_bounds() -> None:
    text = reference()
    keys = [key for section in vars(Settings()).values() for key in type(section).model_fields]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == keys
    assert "| `drain_s` | number, at least 0, at most 3,600 | `20` |" in text
    assert "| `path` | path | unset |" in text
