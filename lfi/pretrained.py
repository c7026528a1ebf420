"""A compressor and an ensemble that come trained, and the command that trains them."""

import argparse
import os
import pathlib
from typing import NamedTuple

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike
from flowpm_ext.io import claimed_folder
from flowpm_ext.nn import EpochBar
from lfi.commands import require_new
from lfi.compressors import Compressor
from lfi.lognormal_field import LognormalField
from lfi.npe import NPE, Posterior
from lfi.saving import FILE, load_estimator, load_keras, save_estimator
from lfi.survey import LensingTask
from lfi.survey_compressor import survey_compressor, train_on_stream

WEIGHTS = pathlib.Path(__file__).parent / "weights"
TASKS = {"lensing": LensingTask}
COMPRESSOR, ESTIMATOR = "compressor.keras", "estimator"
FIX = "Make it with `python -m lfi pretrain`."


class Pretrained(NamedTuple):
    """A survey, and the networks that infer its cosmology."""

    task: LensingTask
    compressor: Compressor
    estimator: NPE

    def posterior(self, maps: TensorLike, check: bool = True) -> Posterior:
        """The posterior of one noisy map, or of several.

        Args:
            maps: Convergence with the noise of the survey, shape
                [num_pixels, num_pixels, num_bins] or [num, ...].
            check: Whether to warn where summaries are not like those of simulations.

        Returns:
            `lfi.Posterior`, with names.

        Raises:
            ValueError: If maps have another shape or are not finite.
        """
        maps = np.asarray(maps, np.float32)
        one = (self.task.num_pixels, self.task.num_pixels, len(self.task.nz))
        fits = maps.size > 0 and one in (maps.shape, maps.shape[1:])
        checks.require(fits, "maps", f"have shape {one} or {('num', *one)}", maps.shape)
        checks.finite(maps, "maps")
        is_one = maps.shape == one
        summaries = self.compressor.predict(maps[None] if is_one else maps, verbose=0)
        return self.estimator.posterior(summaries[0] if is_one else summaries, check)


def load_pretrained(name: str = "lensing", folder: str | os.PathLike | None = None) -> Pretrained:
    """Networks that come with the package.

    Args:
        name: "lensing": `LensingTask` as it is by default, lognormal maps of 5 degrees whose
            Omega_c and sigma8 are sought.
        folder: What `python -m lfi pretrain` wrote, instead of what comes with the package.

    Returns:
        `Pretrained`.

    Raises:
        ValueError: If the name is unknown, or the folder does not hold the networks.
    """
    checks.one_of(name, "name", tuple(TASKS))
    place = WEIGHTS / name if folder is None else pathlib.Path(folder)
    compressor = load_keras(place / COMPRESSOR, "compressor", Compressor, FIX)
    return Pretrained(TASKS[name](), compressor, load_estimator(place / ESTIMATOR))


def pretrain(options: argparse.Namespace) -> None:
    """Train a compressor on maps without end, and an ensemble on summaries of others.

    Args:
        options: `name`, `output`, `steps`, `simulations`, `seed` and `overwrite`.

    Raises:
        ValueError: If a number is not a positive integer, or the output is there already.
        OSError: If a file cannot be written.
    """
    checks.positive_integers(steps=options.steps, simulations=options.simulations)
    place, seed = pathlib.Path(options.output), options.seed
    require_new([place / ESTIMATOR / FILE], options.overwrite)
    with claimed_folder(place):
        task = TASKS[options.name]()
        field = LognormalField(task, progress=True)
        compressor = survey_compressor(task, seed=seed)
        train_on_stream(
            compressor, field, options.steps, seed=seed, callbacks=[EpochBar()], verbose=0
        )
        compressor.save(place / COMPRESSOR, include_optimizer=False)
        theta = task.prior.sample(options.simulations, fold(seed, 0)).numpy()
        maps = task.maps(theta, fold(seed, 1), progress=True)
        summaries = compressor.compress(maps, seed=seed)
        estimator = NPE(task.prior, seed=seed).append_simulations(theta, summaries)
        estimator.fit(batch_size=200, callbacks=[EpochBar()], verbose=0)
        save_estimator(estimator, place / ESTIMATOR)
    print(f"networks: {place}")
