"""The command `lightcone`: a set of convergence maps from words."""

import argparse
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from flowpm_ext.command_line import quiet_start

if TYPE_CHECKING:  # TensorFlow is not needed to say which options there are
    from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
    from flowpm_ext.pm import Sharpening

ABOUT = (
    "Simulate convergence maps of many cosmologies. The same command goes on with a run that was "
    "stopped, and a larger --num-maps adds to it. Started several times, on any machines that "
    "share the folder, it shares the maps out; each run ends when all maps are there."
)
NZ = (
    "redshifts of a bin, again for each: smail:A,B,Z0 or gaussian:Z0,SIGMA or delta:Z0, or a file "
    "of lower edges of z and galaxies there"
)
OF_MAPS = {
    "method", "field_size_deg", "num_pixels", "mesh_shape", "box_size", "integrator",
    "force_mesh_factor", "num_boxes", "num_slabs", "supersampling", "max_repeats",
}  # fmt: skip
PARAMETERS = {"smail": 3, "gaussian": 2, "delta": 1}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Teach a parser the words of the command.

    Args:
        parser: The parser.
    """
    add = parser.add_argument
    add("--out", metavar="FOLDER", required=True, help="folder for the maps")
    add("--num-maps", type=int, required=True, metavar="N", help="maps to have in the end")
    add("--nz", action="append", required=True, metavar="NZ", help=NZ)
    text = "range of a parameter, such as sigma8=0.6:1, again for each; default: one cosmology"
    add("--prior", action="append", default=[], metavar="NAME=LOW:HIGH", help=text)
    add("--cosmology", choices=("planck15", "planck18"), default="planck18",
        help="parameters without a range; default: planck18")  # fmt: skip
    add("--sampling", choices=("sobol", "random"), default="sobol", help="default: sobol")
    add("--method", choices=("born", "multiplane", "lognormal", "gaussian"), default="born",
        help="default: born")  # fmt: skip
    add("--field-size-deg", type=float, default=5.0, metavar="X", help="side; default: 5")
    add("--num-pixels", type=int, default=128, metavar="N", help="along a side; default: 128")
    simulated = parser.add_argument_group("simulated maps (born, multiplane)")
    add = simulated.add_argument
    add("--mesh", type=int, dest="mesh_shape", default=argparse.SUPPRESS, metavar="N",
        help="particles along a side; default: 64")  # fmt: skip
    add("--box-size", type=float, default=argparse.SUPPRESS, metavar="X",
        help="side in Mpc/h; default: as wide as the field")  # fmt: skip
    add("--steps", type=int, default=argparse.SUPPRESS, metavar="N",
        help="from a = 0.1 to 1; default: 10")  # fmt: skip
    add("--integrator", choices=("fastpm", "leapfrog", "bullfrog"), default=argparse.SUPPRESS,
        help="default: fastpm")  # fmt: skip
    for word, text in (
        ("force-mesh-factor", "cells of the force mesh along a cell of the mesh; default: 1"),
        ("num-boxes", "independent boxes along each line of sight; default: 1"),
        ("num-slabs", "planes in a box; default: 1"),
        ("supersampling", "rays along the side of a pixel; default: 1"),
    ):
        add(f"--{word}", type=int, default=argparse.SUPPRESS, metavar="N", help=text)
    add("--sharpening", default=argparse.SUPPRESS, metavar="ALPHA,K_LONG,K_SHORT,EXPONENT",
        help="step down the potential before a plane is seen; wavenumbers in h/Mpc")  # fmt: skip
    add("--max-repeats", type=float, default=argparse.SUPPRESS, metavar="X",
        help="boxes that the field may be wide; default: 1")  # fmt: skip
    work = parser.add_argument_group("work")
    add = work.add_argument
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--batch-size", type=int, default=1, metavar="N", help="maps at once; default: 1")
    add("--maps-per-shard", type=int, default=32, metavar="N", help="default: 32")
    add("--num-workers", type=int, default=1, metavar="N",
        help="processes on this machine; default: 1")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Simulate maps and say what there is.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        TypeError: If an input is of the wrong kind.
        OSError: If a file cannot be written.
    """
    prior = dict(parse_range(text) for text in options.prior)
    with quiet_start():
        from flowpm_ext.cosmology import Planck15, Planck18
        from flowpm_ext.lensing.datasets import write_maps
    cosmo = {"planck15": Planck15, "planck18": Planck18}[options.cosmology]()
    chosen = {name: value for name, value in vars(options).items() if name in OF_MAPS}
    if "steps" in options:
        if options.steps < 1:
            raise ValueError(f"`steps` must be positive. Received: {options.steps}.")
        chosen["stages"] = np.linspace(0.1, 1.0, options.steps + 1)
    if "sharpening" in options:
        chosen["sharpening"] = parse_sharpening(options.sharpening)
    failures = write_maps(
        options.out, [parse_nz(text) for text in options.nz], options.num_maps, prior,
        cosmo=cosmo, sampling=options.sampling, seed=options.seed, batch_size=options.batch_size,
        maps_per_shard=options.maps_per_shard, num_workers=options.num_workers, verbose=1, **chosen,
    )  # fmt: skip
    made = options.num_maps - len(failures)
    print(f"{pathlib.Path(options.out).resolve()}: {made} maps of {options.num_maps}")
    for failure in failures[:5]:
        print(f"map {failure.index} could not be made: {failure.reason}")


def parse_range(text: str) -> tuple[str, tuple[float, float]]:
    """Name and limits of a parameter.

    Args:
        text: Such as "sigma8=0.6:1".

    Returns:
        The name, and the lowest and the highest value.

    Raises:
        ValueError: If the text does not read so.
    """
    name, _, limits = text.partition("=")
    try:
        low, high = (float(word) for word in limits.split(":"))
    except ValueError:
        raise ValueError(f"`prior` must read like sigma8=0.6:1. Received: {text!r}.") from None
    return name.strip(), (low, high)


def parse_sharpening(text: str) -> "Sharpening":
    """A sharpening from its numbers.

    Args:
        text: Such as "0.0039,0.51,2.9,-2.1".

    Returns:
        The sharpening.

    Raises:
        ValueError: If the text is not four numbers, or they cannot be used.
    """
    from flowpm_ext.pm import Sharpening

    try:
        alpha, k_long, k_short, exponent = (float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(
            f"`sharpening` must be four numbers like 0.0039,0.51,2.9,-2.1. Received: {text!r}."
        ) from None
    return Sharpening(alpha, k_long, k_short, exponent)


def parse_nz(text: str) -> "RedshiftDistribution":
    """A redshift distribution from a word.

    Args:
        text: A kind with its parameters, or the path of a file with two columns, lower edge of a
            bin in z and galaxies in it.

    Returns:
        The distribution.

    Raises:
        ValueError: If the text is neither, or the numbers cannot be used.
    """
    from flowpm_ext.cosmology import redshift

    kind, _, numbers = text.partition(":")
    if kind not in PARAMETERS:
        return redshift.histogram_nz(*_histogram(text))
    try:
        values = [float(word) for word in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) != PARAMETERS[kind]:
        raise ValueError(
            f"`nz` must give {PARAMETERS[kind]} numbers for {kind}. Received: {text!r}."
        )
    make = {
        "smail": redshift.smail_nz,
        "gaussian": redshift.gaussian_nz,
        "delta": redshift.delta_nz,
    }
    return make[kind](*values)


def _histogram(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Edges and counts of a file."""
    try:
        z, counts = np.loadtxt(path, usecols=(0, 1), ndmin=2).T
    except OSError:
        kinds = ", ".join(PARAMETERS)
        message = f"`nz` must be a file, or begin with one of {kinds}. Received: {path!r}."
        raise ValueError(message) from None
    except ValueError as error:
        raise ValueError(
            f"`nz` must hold two columns of numbers. Received: {path!r} ({error})."
        ) from None
    if len(z) < 2:
        raise ValueError(f"`nz` must list at least two redshifts. Received: {path!r}.")
    return np.append(z, 2 * z[-1] - z[-2]), counts
