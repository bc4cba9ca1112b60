"""On what, and with what, something was measured."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Final

__all__ = ["machine"]

_LIBRARIES: Final = ("tinyt2", "numpy", "numba", "onnxruntime", "fastavro", "confluent-kafka")


def machine() -> str:
    """Return in one line on what, with what and when something was measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{_processor()}, {cpu_count()} CPUs; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, {libraries}; {datetime.now(UTC):%Y-%m-%d}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
