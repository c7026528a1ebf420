"""Command line: `python -m lfi compress`, `train`, `sample`, `diagnose`, `tomography`, `lenses`."""

import argparse
import importlib
import pathlib
import signal
import sys
from collections.abc import Sequence

from flowpm_ext.command_line import (
    OneLineParser,
    quiet_start,
    raise_terminated,
    run_command,
)

DATA = "HDF5 file with `theta` [num, num_parameters] and `x` [num, ...]; `names`, `low` and `high`"
# Where the commands are; TensorFlow is not needed to say which options there are.
MODULES = {
    "compress": "compress_command",
    "train": "commands",
    "sample": "commands",
    "diagnose": "diagnose_command",
    "tomography": "tomography.command",
    "lenses": "lens_finder.command",
    "pretrain": "pretrained",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process if None.

    Returns:
        The exit code: 0; 2 after one line on standard error for bad input; 130 after one where
        it was interrupted, and 143 where it was ended by SIGTERM.
    """
    options = build_parser().parse_args(arguments)
    return run_command(
        f"lfi {options.command}", lambda: _run(options), lambda: _what_is_left(options)
    )


def build_parser() -> argparse.ArgumentParser:
    """The words that the command line understands.

    Returns:
        The parser.
    """
    parser = OneLineParser(
        prog="python -m lfi", description="Posteriors of parameters, learned from simulations."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, add_options in (
        ("compress", "summaries of maps by a network", _add_compress),
        ("train", "learn posteriors or likelihoods", _add_train),
        ("sample", "draw from the posterior of an observation", _add_sample),
        ("diagnose", "find out whether posteriors deserve belief", _add_diagnose),
        ("tomography", "divide galaxies into tomographic bins", _add_tomography),
        ("lenses", "simulate strong lenses and train a network that finds them", _add_lenses),
        ("pretrain", "train the networks that come with the package", _add_pretrain),
    ):
        command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        add_options(command)
        add = command.add_argument
        add("--seed", type=int, default=0, metavar="N", help="of all that is random; default: 0")
        add("--overwrite", action="store_true", help="replace what is there")
    return parser


def _add_compress(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("data", metavar="DATA", help=f"{DATA} are kept; or a folder of maps that `python -m "
        "flowpm_ext lightcone` made; or an observation, with --compressor")  # fmt: skip
    add("--output", metavar="FILE", required=True, help="HDF5 file for the summaries of what was "
        "not trained on; the compressor and its loss curve go beside it")  # fmt: skip
    add("--network", choices=("cnn", "resnet", "dense"), default="cnn",
        help="dense for vectors; default: cnn")  # fmt: skip
    add("--loss", choices=("vmim", "gnll", "mse", "mae"), default="vmim", help="default: vmim")
    add("--noise", type=float, metavar="STD", help="of white noise in each pixel, drawn anew for "
        "each batch and added to the summaries' maps; default: none")  # fmt: skip
    add("--split", type=float, metavar="X", help="part to train on; default: 0.5. With "
        "--compressor the part to leave out, by default none: the same split and seed give what "
        "it was not trained on")  # fmt: skip
    add("--compressor", metavar="FILE", help="take this trained one")
    _add_training(command, epochs=100, batch_size=64)
    add("--patience", type=int, default=20, metavar="N",
        help="epochs without improvement before training ends; default: 20")  # fmt: skip
    add("--learning-rate", type=float, default=1e-3, metavar="X", help="default: 1e-3")


def _add_train(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("summaries", metavar="SUMMARIES", help=f"{DATA} are used")
    add("--output", metavar="FOLDER", required=True, help="folder for the estimator")
    add("--method", choices=("npe", "nle"), default="npe",
        help="posterior, or likelihood and chains; default: npe")  # fmt: skip
    add("--density", metavar="NAME", help="autoregressive, spline, maf, coupling or mdn; default: "
        "that of lfi.NPE or lfi.NLE")  # fmt: skip
    add("--members", type=int, default=3, metavar="N", help="densities; default: 3")
    for side, text in (("low", "lower"), ("high", "upper")):
        add(f"--{side}", type=float, nargs="+", metavar="X",
            help=f"{text} bounds of the prior; default: `{side}` of the file")  # fmt: skip
    _add_training(command, epochs=300, batch_size=100)


def _add_training(command: argparse.ArgumentParser, epochs: int, batch_size: int) -> None:
    add = command.add_argument
    add("--epochs", type=int, default=epochs, metavar="N", help=f"at the most; default: {epochs}")
    text = f"simulations in each update; default: {batch_size}"
    add("--batch-size", type=int, default=batch_size, metavar="N", help=text)


def _add_sample(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("folder", metavar="FOLDER", help="what train wrote")
    add("--observation", metavar="FILE", required=True, help="HDF5 file with `x`, and perhaps "
        "`truth`; or .npy or .txt")  # fmt: skip
    add("--num", type=int, default=10_000, metavar="N", help="draws; default: 10000")
    add("--output", metavar="ROOT", required=True, help="start of the names of files: .h5, .png, "
        "and .txt, .paramnames and .ranges for getdist")  # fmt: skip


def _add_diagnose(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("folder", metavar="FOLDER", help="what train wrote")
    add("--data", metavar="FILE", required=True, help="simulations that were not trained on, with "
        "parameters drawn from the prior")  # fmt: skip
    add("--num", type=int, default=200, metavar="N", help="observations; default: 200")
    add("--draws", type=int, default=500, metavar="N", help="of each posterior; default: 500")
    add("--output", metavar="FOLDER", help="default: `diagnosis` in FOLDER")


def _add_tomography(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("data", metavar="DATA", help="HDF5 file with `redshift_true`, and `X_mag` and `X_mag_err` "
        "for each band X, as in the tomography challenge; half is trained on")  # fmt: skip
    add("--bins", type=int, default=9, metavar="N", help="default: 9")
    add("--metric", choices=("snr", "fom", "detf"), default="detf",
        help="to maximise: signal to noise of 3x2pt, figure of merit of Omega_c and sigma8, or of "
        "w0 and wa; default: detf")  # fmt: skip
    add("--bands", default="griz", metavar="LETTERS", help="default: griz")
    add("--reject", action="store_true", help="galaxies may be left out")
    add("--epochs", type=int, default=150, metavar="N", help="updates; default: 150")
    add("--baselines", action="store_true", help="random forests with fixed edges as well")
    add("--spectra", metavar="FILE", help="keep what metrics need here, and read it the next time")
    add("--output", metavar="ROOT", required=True, help="start of the names of files: .keras for "
        "the classifier, .h5 for the bin of each galaxy")  # fmt: skip


def _add_lenses(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--stamps", type=int, default=20_000, metavar="N", help="to train on; half as many others "
        "are for the calibration and the scores; default: 20000")  # fmt: skip
    add("--bands", default="griz", metavar="LETTERS", help="of ugrizy; default: griz")
    add("--side", type=int, default=32, metavar="N", help="pixels of 0.25 arcsec; default: 32")
    add("--size", choices=("small", "deeplens"), default="small",
        help="of the network; the published one wants a GPU; default: small")  # fmt: skip
    add("--epochs", type=int, default=20, metavar="N", help="default: 20")
    add("--output", metavar="ROOT", required=True, help="start of the names of files: .keras for "
        "the network, .json for scores, .png for a figure")  # fmt: skip


def _add_pretrain(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--name", choices=("lensing",), default="lensing", help="of the survey; default: lensing")
    add("--output", metavar="FOLDER", required=True, help="folder for the networks")
    add("--steps", type=int, default=20_000, metavar="N",
        help="updates of the compressor, of 32 new maps each; default: 20000")  # fmt: skip
    add("--simulations", type=int, default=20_000, metavar="N",
        help="other maps, for the ensemble; default: 20000")  # fmt: skip


def _run(options: argparse.Namespace) -> None:
    with quiet_start():
        module = importlib.import_module(f"lfi.{MODULES[options.command]}")
    getattr(module, options.command)(options)


def _what_is_left(options: argparse.Namespace) -> str:
    """What an interrupted run has kept, in a few words."""
    if options.command == "compress" and not options.compressor:
        output = pathlib.Path(options.output).with_suffix("")
        path = output.with_name(f"{output.name}_compressor.keras")
        if path.exists():
            split = 0.5 if options.split is None else options.split
            return f"--compressor {path} --split {split:g} goes on with the trained compressor."
    if options.command == "train" and any(pathlib.Path(options.output).glob("*/member_*.json")):
        return "the same command goes on from the densities that are trained."
    return "nothing was kept."


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, raise_terminated)
    sys.exit(main())
