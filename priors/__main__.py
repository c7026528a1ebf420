"""Command line: `python -m priors map CATALOGUE ...` makes a mass map of a shear catalogue, and
`python -m priors train MAPS` learns the prior of one."""

import argparse
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

from flowpm_ext.command_line import OneLineParser, quiet_start, run_command
from flowpm_ext.io import staged_folder
from priors.train_command import add_train, run_train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process if None.

    Returns:
        The exit code: 0; 2 after one line on standard error for bad input; 130 after one
        where it was interrupted.
    """
    options = build_parser().parse_args(arguments)
    if options.command == "train":
        kept = "finished simulations and epochs are kept, the same command goes on from there."
        return run_command("priors train", lambda: run_train(options), lambda: kept)
    return run_command("priors map", lambda: run_map(options), lambda: "nothing was written.")


def build_parser() -> argparse.ArgumentParser:
    """The words that the command line understands.

    Returns:
        The parser.
    """
    parser = OneLineParser(
        prog="python -m priors", description="Inverse problems with priors from data."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_train(commands)
    about = "Map the mass in front of a shear catalogue."
    add = commands.add_parser("map", help=about, description=about).add_argument
    add("catalogue", nargs="?", metavar="CATALOGUE", help="FITS, HDF5 or ECSV table of galaxies")
    add("--simulate", action="store_true", help="map a survey simulated on the spot instead")
    add("--method", choices=("born", "lognormal"), default="born", help="of --simulate: through a "
        "particle-mesh simulation, or lognormal, which is quick; default: born")  # fmt: skip
    add("--nz", metavar="FILE", help="redshift distribution: lower edge of a bin, galaxies in it")
    add("--clusters", metavar="FILE", help="positions to stack on: id, ra, dec, z")
    add("--out", metavar="DIR", required=True, help="folder for the maps, figure and report")
    add("--pixel-size-arcmin", type=float, metavar="SIZE", help="default: 0.29, or that of the "
        "maps that the prior has learned from")  # fmt: skip
    add("--prior", choices=("wiener", "learned", "sparse", "ks"), default="wiener",
        help="default: wiener")  # fmt: skip
    add("--weights", metavar="DIR", help="of --prior learned: what `train` wrote; default: those "
        "that come with the package")  # fmt: skip
    add("--num-samples", type=int, default=0, metavar="N", help="posterior draws to keep")
    add("--num-nulls", type=int, default=0, metavar="N", help="of --prior learned or sparse: "
        "surveys turned at random, to compare with")  # fmt: skip
    add("--reduced-shear", action="store_true", help="of --prior learned: galaxies show the shear "
        "over one minus the convergence")  # fmt: skip
    add("--max-iterations", type=int, default=500, metavar="N", help="of the solver; default: 500")
    add("--seed", type=int, default=0, help="seed of every random draw; default: 0")
    add("--cosmology", choices=("planck15", "planck18"), default="planck18")
    add(
        "--columns",
        type=_columns,
        default={},
        metavar="ra=RA,...",
        help="names of the columns ra, dec, e1, e2, weight",
    )
    add("--flip-e2", action="store_true", help="for e2 measured with East to the right")
    add(
        "--padding-arcmin",
        type=float,
        default=10.0,
        metavar="SIZE",
        help="empty frame; default: 10",
    )
    add(
        "--smoothing-arcmin",
        type=float,
        default=1.0,
        metavar="SIZE",
        help="of the prior ks; default: 1",
    )
    return parser


def run_map(options: argparse.Namespace) -> None:
    """Make the map, write its files and print its numbers.

    Args:
        options: What `build_parser` understood.

    Raises:
        ValueError: If an input cannot be used or the folder cannot be written.
        OSError: If a file cannot be written.
    """
    _check_source(options)
    with staged_folder(options.out) as stage:
        with quiet_start():
            from priors import report
        products = _simulated(options, stage) if options.simulate else _mapped(options)
        numbers = report.write_products(stage, config=_configuration(options), **products)
    print(report.summary(numbers))
    print(f"Maps, figure and report: {pathlib.Path(options.out).resolve()}")


def _mapped(options: argparse.Namespace, grid: Any = None) -> dict[str, Any]:
    """The map of the catalogue, and the clusters on it."""
    from priors.catalogue import read_clusters, read_shear_catalogue
    from priors.map_prior import load_prior
    from priors.mass_mapping import chosen_grid, mass_map
    from priors.stacking import on_grid

    catalogue = read_shear_catalogue(options.catalogue, options.columns, options.flip_e2)
    weights = load_prior(options.weights) if options.weights else None
    if grid is None:
        grid = chosen_grid(
            catalogue, options.prior, options.pixel_size_arcmin, options.padding_arcmin, weights
        )
    # Before the long work, since they may all lie elsewhere.
    clusters = read_clusters(options.clusters) if options.clusters else None
    if clusters is not None:
        on_grid(grid, clusters)
    made = mass_map(
        catalogue, options.nz, prior=options.prior, num_samples=options.num_samples,
        seed=options.seed, cosmo=_cosmology(options), grid=grid,
        smoothing_arcmin=options.smoothing_arcmin, max_iterations=options.max_iterations,
        weights=weights, num_nulls=options.num_nulls,
        reduced_shear=options.reduced_shear, verbose=1,
    )  # fmt: skip
    return {"mass_map": made, "clusters": clusters}


def _check_source(options: argparse.Namespace) -> None:
    """Refuse to have no catalogue, or what describes one beside `--simulate`."""
    if not (options.catalogue or options.simulate):
        raise ValueError("`CATALOGUE` must be given, or `--simulate` without one.")
    names = ("catalogue", "clusters", "columns", "flip_e2")
    given = [name for name in names if getattr(options, name)]
    if options.simulate and given:
        words = ["CATALOGUE" if n == "catalogue" else f"--{n.replace('_', '-')}" for n in given]
        raise ValueError(f"`--simulate` must come without {', '.join(words)}: it makes its own.")


def _cosmology(options: argparse.Namespace) -> Any:
    """The cosmology of the theory, and of the simulation."""
    from flowpm_ext import cosmology

    return {"planck15": cosmology.Planck15, "planck18": cosmology.Planck18}[options.cosmology]()


def _simulated(options: argparse.Namespace, stage: pathlib.Path) -> dict[str, Any]:
    """The same for a simulated survey, from the files that it leaves, with its truth."""
    from priors.map_prior import load_pretrained, load_prior
    from priors.mass_mapping import PIXEL_SIZE_ARCMIN
    from priors.simulated_survey import simulate_survey

    size = options.pixel_size_arcmin or PIXEL_SIZE_ARCMIN
    if options.pixel_size_arcmin is None and options.prior == "learned":
        weights = load_prior(options.weights) if options.weights else load_pretrained()
        size = weights.pixel_size_arcmin
    survey = simulate_survey(size, options.seed, _cosmology(options), options.nz, options.method)
    for name in ("catalogue", "clusters", "nz"):
        kind = "fits" if name == "catalogue" else "ecsv"
        path = stage / f"simulated_{name}.{kind}"
        getattr(survey, name).write(path)
        setattr(options, name, str(path))
    return _mapped(options, survey.grid) | {"truth": survey.kappa}


def _configuration(options: argparse.Namespace) -> dict[str, Any]:
    """All options, as they go into the files; simulated ones lie beside the map."""
    config = {key: value for key, value in vars(options).items() if key not in ("command", "out")}
    if options.simulate:
        config |= {key: pathlib.Path(config[key]).name for key in ("catalogue", "clusters", "nz")}
    return config


def _columns(text: str) -> dict[str, str]:
    """Names of columns from "ra=RA,dec=DEC"."""
    pairs = [pair.split("=") for pair in text.split(",")]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise argparse.ArgumentTypeError(f"must read like ra=RA,dec=DEC. Received: {text!r}.")
    return dict(pairs)


if __name__ == "__main__":
    # Leave through the ordinary exit, which removes what is half written.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
