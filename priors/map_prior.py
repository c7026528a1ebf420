"""A prior of convergence maps, learned from simulated ones: networks and what they know."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.cosmology import Cosmology
from flowpm_ext.cosmology.redshift import RedshiftDistribution
from priors.calibration import CalibratedDenoiser, Calibration, calibrated
from priors.catalogue import Source
from priors.denoiser import Denoiser
from priors.map_spectrum import power_of_modes, spectrum, without_window
from priors.score import HybridScore
from priors.sky_grid import SkyGrid
from priors.theory_power import theory_power
from priors.training_maps import TrainingMaps

NETWORK, ABOUT, PLAN = "denoiser.keras", "prior.json", "plan.json"
WEIGHTS = pathlib.Path(__file__).parent / "weights"
NAMES = ("cosmos",)
NOISE = (0.1, 10.0)  # least and most, in root mean squares of the maps
FIX = "Make it with `python -m priors train`."
STEPS_PER_EPOCH = 100


class MapPrior(NamedTuple):
    """A denoiser of convergence maps, and what it was trained on."""

    denoiser: Denoiser
    pixel_size_arcmin: float
    ell: np.ndarray  # [num_bins], of the spectrum of the training maps
    cl: np.ndarray  # [num_bins], without their window
    calibration: Calibration  # of the denoiser
    about: dict[str, Any]  # how the maps were made

    @property
    def estimator(self) -> CalibratedDenoiser:
        """The denoiser with what it misses of each scale put right."""
        return CalibratedDenoiser(self.denoiser, self.calibration)

    @property
    def multiple(self) -> int:
        """What the sides of a map must divide by."""
        return 2 ** (len(self.denoiser.filters) - 1)

    def trained_power(self, shape: tuple[int, int]) -> np.ndarray:
        """Variance of each mode of the training maps, in FFT layout.

        Args:
            shape: Pixels, (ny, nx).

        Returns:
            Shape [ny, nx]; 0 for the mean.
        """
        return power_of_modes(self.ell, self.cl, shape, self.pixel_size_arcmin)

    def score(
        self,
        grid: SkyGrid,
        nz: Source | Sequence | RedshiftDistribution | None = None,
        cosmo: Cosmology | None = None,
    ) -> HybridScore:
        """The score of maps with the pixels of a grid.

        Args:
            grid: The pixels.
            nz: Redshift distribution, for the spectrum of theory; None for the spectrum of the
                training maps.
            cosmo: Cosmology of the theory; Planck18 if None.

        Returns:
            The score, whose Gaussian part has the spectrum of theory, and whose network gives
            what the training maps have beyond theirs.

        Raises:
            ValueError: If pixels have another side than those of the training maps, or the sides
                of the grid do not divide by `multiple`.
        """
        size, mine = grid.pixel_size_arcmin, self.pixel_size_arcmin
        rule = f"be that of the maps the prior has learned, {mine:.4g} arcmin"
        checks.require(abs(size / mine - 1) < 0.01, "pixel_size_arcmin", rule, size)
        fits = all(side % self.multiple == 0 for side in grid.shape)
        checks.require(fits, "grid", f"have sides that divide by {self.multiple}", grid.shape)
        trained = self.trained_power(grid.shape)
        power = trained
        if nz is not None:
            power = theory_power(nz, grid, cosmo)
        return HybridScore(
            power.astype(np.float32), self.estimator, trained.astype(np.float32),
            scale=self.denoiser.scale,
        )  # fmt: skip

    def save(self, folder: str | os.PathLike) -> None:
        """Write `denoiser.keras` and `prior.json`.

        Args:
            folder: Where to; made if there is none.

        Raises:
            OSError: If a file cannot be written.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.denoiser.save(folder / NETWORK, include_optimizer=False)
        known = {
            "pixel_size_arcmin": self.pixel_size_arcmin, "ell": self.ell.tolist(),
            "cl": self.cl.tolist(), "about": self.about,
            "calibration": {name: part.tolist() for name, part in
                            self.calibration._asdict().items()},
        }  # fmt: skip
        (folder / ABOUT).write_text(json.dumps(known, indent=1) + "\n")


def load_prior(folder: str | os.PathLike) -> MapPrior:
    """A prior that `MapPrior.save` wrote.

    Args:
        folder: Where it is.

    Returns:
        The prior.

    Raises:
        ValueError: If the folder holds no whole prior.
    """
    folder = pathlib.Path(folder)
    for name in (NETWORK, ABOUT):
        there = (folder / name).is_file()
        checks.require(there, str(folder), f"hold a prior: {name}", "there is no such file", FIX)
    try:
        known = json.loads((folder / ABOUT).read_text())
        denoiser = keras.models.load_model(folder / NETWORK, compile=False)
        return MapPrior(
            denoiser, float(known["pixel_size_arcmin"]), np.array(known["ell"]),
            np.array(known["cl"]),
            Calibration(**{name: np.array(part) for name, part in known["calibration"].items()}),
            known["about"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OSError) as error:
        checks.require(False, str(folder), "hold a whole prior", str(error)[:200], FIX)
        raise


def load_pretrained(name: str = "cosmos") -> MapPrior:
    """A prior that comes with the package.

    Args:
        name: "cosmos": maps of pixels of an arcminute, of the redshifts of HST/COSMOS, through
            particle-mesh simulations.

    Returns:
        The prior.

    Raises:
        ValueError: If the name is unknown.
    """
    checks.one_of(name, "name", NAMES)
    return load_prior(WEIGHTS / name)


def train_prior(
    maps: TrainingMaps,
    *,
    filters: Sequence[int] = (16, 32, 64),
    num_steps: int = 2000,
    batch_size: int = 16,
    learning_rate: float = 3e-3,
    validation: np.ndarray | None = None,
    checkpoint: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int = 0,
    verbose: int | str = 0,
    progress: bool = False,
) -> MapPrior:
    """Train a denoiser of maps by denoising score matching.

    Args:
        maps: Maps without noise.
        filters: As for `Denoiser`; the sides of the maps must divide by 2**(len(filters) - 1).
        num_steps: Updates of the weights; the rate falls to zero along half a cosine.
        batch_size: Maps in each.
        learning_rate: The first one.
        validation: Maps that are not trained on, [num, ny, nx], for the loss at each epoch.
        checkpoint: Folder where an interrupted training is kept and goes on from; it is removed
            when all is done.
        callbacks: More of Keras.
        seed: Of weights, order, noise and turns.
        verbose: As for `fit`.
        progress: Whether to show a progress bar of the calibration that follows.

    Returns:
        The prior.

    Raises:
        ValueError: If a number is not positive, maps do not suit the network or are too small for
            a spectrum, or the checkpoint is of another training.

    References:
        Vincent 2011, Neural Computation 23, 1661; Remy et al. 2022, arXiv:2201.05561.
    """
    checks.positive_integers(num_steps=num_steps, batch_size=batch_size)
    checks.positive(learning_rate, "learning_rate")
    rule, fix = "hold several maps of one size", "A map or two are no sample."
    checks.require(
        maps.kappa.ndim == 3 and len(maps.kappa) > 2, "maps", rule, maps.kappa.shape, fix
    )
    # Before the long work, since maps may be too small for it.
    size, sides = maps.pixel_size_arcmin, maps.kappa.shape[1:]
    ell, cl = spectrum(maps.kappa, size)
    if checkpoint is not None:
        _claim(pathlib.Path(checkpoint), {
            "maps": hashlib.sha256(maps.kappa.tobytes()).hexdigest(), "filters": list(filters),
            "num_steps": num_steps, "batch_size": batch_size, "learning_rate": learning_rate,
            "seed": seed,
        })  # fmt: skip
    keras.utils.set_random_seed(seed % 2**32)
    scale = float(maps.kappa.std())
    least, most = (scale * level for level in NOISE)
    denoiser = Denoiser(
        filters, sigma_min=least, sigma_max=most, augment=True, ema_momentum=0.998, seed=seed
    )
    denoiser.adapt(maps.kappa)
    in_epoch = min(STEPS_PER_EPOCH, num_steps)
    num_epochs = -(-num_steps // in_epoch)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, num_epochs * in_epoch)
    denoiser.compile(keras.optimizers.Adam(rate))
    data = tf.data.Dataset.from_tensor_slices(maps.kappa).shuffle(len(maps.kappa), seed=seed)
    kept = [] if checkpoint is None else [keras.callbacks.BackupAndRestore(str(checkpoint))]
    history = denoiser.fit(
        data.repeat().batch(batch_size, drop_remainder=True), epochs=num_epochs,
        steps_per_epoch=in_epoch, callbacks=[*kept, *callbacks], verbose=verbose,
        validation_data=validation, validation_batch_size=batch_size,
    ).history  # fmt: skip
    about = dict(maps.about) | {
        "num_maps": len(maps.kappa), "num_steps": num_epochs * in_epoch,
        "batch_size": batch_size, "learning_rate": learning_rate, "training_seed": seed,
        "loss": {name: [round(float(v), 5) for v in values] for name, values in history.items()},
    }  # fmt: skip
    calibration = calibrated(denoiser, maps.kappa, seed=fold(seed, 1), progress=progress)
    return MapPrior(denoiser, size, ell, without_window(ell, cl, sides, size), calibration, about)


def _claim(folder: pathlib.Path, plan: Mapping[str, Any]) -> None:
    """Refuse a folder that keeps an epoch of another training, else write this one's plan there."""
    path = folder / PLAN
    if any(folder.glob("*.weights.h5")):
        before = json.loads(path.read_text()) if path.is_file() else {}
        other = [name for name in plan if before.get(name) != plan[name]]
        fix = "Remove the folder, or name another one as `checkpoint`."
        received = f"{folder}, where {', '.join(other)} differ"
        checks.require(not other, "checkpoint", "be of the same training", received, fix)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plan) + "\n")
