from __future__ import annotations

import pytest

from deploy.times import parse_time, shown_time
from models.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "unix_ms"),
    [
        ("2026-11-23", 1_795_392_000_000),
        ("2026-11-23T04:30", 1_795_408_200_000),
        ("2026-11-23T04:30:00+02:00", 1_795_401_000_000),
        ("2026-11-23T04:30:00.250Z", 1_795_408_200_250),
        ("now", 1_000_000),
        ("90s", 910_000),
        ("2m", 880_000),
        ("3d", 1_000_000 - 259_200_000),
    ],
)
def test_times(text: str, unix_ms: int) -> None:
    assert parse_time(text, now=lambda: 1000.0) == unix_ms


@pytest.mark.parametrize("text", ["", "yesterday", "3w", "-3d", "2026-13-01"])
def test_no_time(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a time: write 2026-11-23"):
        parse_time(text)


def test_shown_in_utc() -> None:
    assert shown_time(1_795_408_200_250) == "2026-11-23 04:30:00"
    assert shown_time(-1) == "unknown"
