"""What `python -m priors train` does: maps, simulated or given, become a prior."""

import argparse
import pathlib
import shutil

from flowpm_ext.command_line import quiet_start
from flowpm_ext.io import claimed_folder

MAPS, UNFINISHED, LOSS, CARD = "maps", "unfinished", "loss.png", "prior.png"


def add_train(commands: argparse._SubParsersAction) -> None:
    """The words that the command understands.

    Args:
        commands: Where to add it.
    """
    about = "Learn a prior of convergence maps from simulated ones."
    add = commands.add_parser("train", help=about, description=about).add_argument
    add("maps", nargs="?", metavar="MAPS", help="folder of `python -m flowpm_ext lightcone`, a "
        "file of an earlier `train --simulate`, or FITS images")  # fmt: skip
    add("--validation", metavar="MAPS", help="maps that are not trained on, of the same kind")
    add("--simulate", action="store_true", help="simulate the maps first, of galaxies like --nz")
    add("--nz", metavar="FILE", help="redshift distribution: lower edge of a bin, galaxies in it")
    add("--out", metavar="DIR", required=True, help="folder for the prior")
    add("--pixel-size-arcmin", type=float, metavar="SIZE", help="of the maps, where their file "
        "does not tell; of --simulate: default 1")  # fmt: skip
    add("--num-pixels", type=int, default=128, metavar="N", help="of --simulate; default: 128")
    add("--num-simulations", type=int, default=20, metavar="N", help="default: 20")
    add("--num-held-out", type=int, default=6, metavar="N", help="simulations; default: 6")
    add("--num-maps", type=int, default=1600, metavar="N", help="of --simulate; default: 1600")
    add("--filters", type=_filters, default=(16, 32, 64), metavar="N,N,...",
        help="channels at each scale of the network; default: 16,32,64")  # fmt: skip
    add("--steps", type=int, default=2000, metavar="N", help="updates; default: 2000")
    add("--batch-size", type=int, default=16, metavar="N", help="default: 16")
    add("--learning-rate", type=float, default=3e-3, metavar="RATE", help="default: 0.003")
    add("--seed", type=int, default=0, help="seed of every random draw; default: 0")


def run_train(options: argparse.Namespace) -> None:
    """Make the maps where that is asked for, train, and write the prior.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used or the folder cannot be written.
        OSError: If a file cannot be written.
    """
    _check_source(options)
    with claimed_folder(options.out) as out:
        with quiet_start():
            from flowpm_ext.nn import EpochBar
            from priors import training_maps
            from priors.map_prior import train_prior
            from priors.prior_figure import prior_figure
        if options.simulate:
            training_maps.simulate_training_maps(
                out / MAPS, options.nz, num_pixels=options.num_pixels,
                pixel_size_arcmin=options.pixel_size_arcmin or 1.0,
                num_simulations=options.num_simulations, num_held_out=options.num_held_out,
                num_maps=options.num_maps, seed=options.seed,
            )  # fmt: skip
            options.maps = out / MAPS / training_maps.TRAINING
            options.validation = out / MAPS / training_maps.HELD_OUT
        maps = training_maps.read_maps(options.maps, options.pixel_size_arcmin)
        held_out = None
        if options.validation:
            held_out = training_maps.read_maps(options.validation, maps.pixel_size_arcmin).kappa
        prior = train_prior(
            maps, filters=options.filters, num_steps=options.steps, batch_size=options.batch_size,
            learning_rate=options.learning_rate, validation=held_out,
            checkpoint=out / UNFINISHED, callbacks=[EpochBar()], seed=options.seed,
            progress=True,
        )  # fmt: skip
        prior.save(out)
        prior_figure(prior, held_out if held_out is not None else maps.kappa).savefig(
            out / CARD, dpi=120
        )
        shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    losses = prior.about["loss"]
    print("; ".join(f"{name} {values[-1]:.4f}" for name, values in losses.items()))
    print(f"The prior: {pathlib.Path(options.out).resolve()}")


def _check_source(options: argparse.Namespace) -> None:
    """Refuse to have no maps, or two kinds of them."""
    if bool(options.maps) == options.simulate:
        raise ValueError("`MAPS` must be given, or `--simulate` without them.")
    if options.simulate and not options.nz:
        raise ValueError("`--nz` must be given with `--simulate`.")
    if options.simulate and options.validation:
        raise ValueError("`--validation` must be left out with `--simulate`: it holds maps out.")


def _filters(text: str) -> tuple[int, ...]:
    """Channels from "16,32,64"."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must read like 16,32,64. Received: {text!r}.") from None
