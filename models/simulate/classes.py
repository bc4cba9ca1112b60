"""All classes that can be simulated."""

from __future__ import annotations

from pathlib import Path

from models.simulate.source import Population

__all__ = ["populations"]


def populations(inputs: Path, ztf_stars: Path | None = None) -> dict[str, Population]:
    """Return the populations by class name, made from a folder of inputs.

    ``inputs`` holds ``sed/*.npz``, ``bandpasses.npz``, ``rrlyrae_ugriz_templates.npz``,
    ``cadence/*`` and ``ztf_noise.json``; the modules that read them describe them.
    ``ztf_stars``: an optional file of further templates of periodic stars
    (`models.simulate.variables.ztf_stars`). Raise `DataError` for a missing or wrong file.
    """
    # Here, so that those who observe populations of their own need no templates' readers.
    from models.simulate.transients import transient_populations
    from models.simulate.variables import variable_populations

    made = [*transient_populations(inputs), *variable_populations(inputs, ztf_stars)]
    return {population.name: population for population in made}
