"""What the command line does to train an estimator and to sample a posterior."""

import argparse
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.io import claimed_folder
from flowpm_ext.nn import EpochBar
from lfi import dataset, plot
from lfi.chains import Chains, with_suffix
from lfi.dataset import Simulations
from lfi.diagnostics import misspecification, warn_if_misspecified
from lfi.estimator import Estimator
from lfi.nle import NLE
from lfi.prior import BoxPrior
from lfi.saving import FILE, KINDS, load_estimator, save_estimator

UNFINISHED = "unfinished"  # folder of members, until all are trained
CHAINS = (".h5", ".txt", ".paramnames", ".ranges", ".png")


def train(options: argparse.Namespace) -> None:
    """Train an estimator on summaries, and save it.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    folder = pathlib.Path(options.output)
    require_new([folder / FILE], options.overwrite)
    data = dataset.read_simulations(options.summaries)
    rule, fix = "be [num, num_data]", "Compress maps first: `python -m lfi compress`."
    checks.require(data.x.ndim == 2, "x", rule, f"shape {data.x.shape}", fix)
    chosen = {"density": options.density} if options.density else {}
    estimator = KINDS[options.method](
        _box(data, options), num_members=options.members, seed=options.seed, **chosen
    )
    with claimed_folder(folder):
        estimator.append_simulations(data.theta, data.x)
        estimator.fit(
            options.epochs, options.batch_size, callbacks=[EpochBar()], verbose=0,
            checkpoint=folder / UNFINISHED,
        )  # fmt: skip
        save_estimator(estimator, folder)
        shutil.rmtree(folder / UNFINISHED)
        histories = estimator.ensemble.histories
        plot.loss_figure(histories).savefig(folder / "loss.png", dpi=110)
    for number, (history, weight) in enumerate(
        zip(histories, estimator.ensemble.weights, strict=True)
    ):
        print(f"member {number}: held-out loss {min(history['val_loss']):.4f}, weight {weight:.2f}")
    print(f"estimator and its loss: {folder}")


def sample(options: argparse.Namespace) -> None:
    """Draw from the posterior of an observation, after a look at whether it is a strange one.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    checks.positive_integers(num=options.num)
    files = [with_suffix(options.output, suffix) for suffix in CHAINS]
    require_new(files, options.overwrite)
    estimator = load_estimator(options.folder)
    found = dataset.read_observation(options.observation)
    x_obs, shape = _one(estimator, found.x), estimator.theta.shape[1:]
    fits = found.truth is None or found.truth.shape == shape
    checks.require(fits, "truth", f"have shape {shape}", found.truth)
    _say_whether_strange(estimator, x_obs)
    posterior = estimator.posterior(x_obs, check=False)  # it was told above
    is_nle = isinstance(estimator, NLE)
    shown = {"progress": True} if is_nle else {}
    chains = posterior.chains(options.num, options.seed, **shown).with_derived()
    files[0].parent.mkdir(parents=True, exist_ok=True)
    chains.write_hdf5(files[0])
    chains.write_getdist(options.output)
    truth = found.truth
    if truth is not None:
        truth = Chains(truth[None], chains.names[: len(truth)]).with_derived().samples[0]
    labels = [f"${label}$" for label in chains.labels]
    plot.corner_figure(chains.samples, labels, truth).savefig(files[-1], dpi=110)
    print(chains.table())
    if is_nle:
        print(f"R-hat at most {posterior.r_hat.max():.3f}; at least {posterior.ess.min():.0f} of "
              f"{options.num} draws independent")  # fmt: skip
    print(f"draws and figure: {', '.join(str(file) for file in files if file.exists())}")


def require_new(paths: Sequence[pathlib.Path], overwrite: bool) -> None:
    """Refuse to write over files.

    Args:
        paths: Files that will be written.
        overwrite: Whether they may be there.

    Raises:
        ValueError: If one is there and may not be.
    """
    there = [str(path) for path in paths if path.exists()]
    fix = "Give --overwrite to replace it, or another --output."
    received = ", ".join(there)
    checks.require(overwrite or not there, "output", "be new", received, fix)


def _box(data: Simulations, options: argparse.Namespace) -> BoxPrior:
    """The prior of the options, or that of the file."""
    sides = []
    for name in ("low", "high"):
        side = getattr(options, name) or getattr(data, name)
        fix = "It is no array of the file, and the range of simulations is not that of their prior."
        checks.require(side is not None, f"--{name}", "be given", None, fix)
        num = len(data.names)
        checks.require(len(side) == num, f"--{name}", f"be {num} numbers", side)
        sides.append(side)
    return BoxPrior(*sides, data.names)


def _one(estimator: Estimator, x: np.ndarray) -> np.ndarray:
    """An observation, known to fit the estimator."""
    shape = estimator.x.shape[1:]
    x_obs = x[0] if x.shape == (1, *shape) else x
    checks.require(x_obs.shape == shape, "observation", f"have shape {shape}", x.shape)
    return estimator.checked_observation(x_obs)


def _say_whether_strange(estimator: Estimator, x_obs: np.ndarray) -> None:
    try:
        result = misspecification(estimator.x, x_obs)
    except ValueError as error:  # too few simulations, or no vectors
        print(f"whether the observation is like the simulations is not known: {error}")
        return
    print(f"beside the simulations: {result.message}")
    warn_if_misspecified(result)
