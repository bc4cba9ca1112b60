"""Spark inside this machine, quiet and small: for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from models.errors import ConfigurationError

__all__ = ["local_spark"]

# Spark takes a configuration without an appender for none at all.
_NO_LOG: Final = """\
appender.nowhere.type = Null
appender.nowhere.name = nowhere
rootLogger.level = off
rootLogger.appenderRef.nowhere.ref = nowhere
"""
_SETTINGS: Final = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def local_spark(
    cores: int, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """Run Spark on so many cores with this interpreter; its files go below ``folder``.

    `ConfigurationError` where there is no Java.
    """
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise ConfigurationError("Spark needs Java 17 or newer: install it or set JAVA_HOME")
    quiet = folder / "log4j2.properties"
    quiet.write_text(_NO_LOG)
    own = {
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={quiet}",
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    builder = SparkSession.builder.master(f"local[{cores}]")
    for key, value in {**_SETTINGS, **own, **(settings or {})}.items():
        builder = builder.config(key, value)
    with _environment("PYSPARK_PYTHON", sys.executable):
        session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    # Spark reads it while it starts, and has no setting for it then.
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
