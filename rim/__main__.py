"""Command line: `python -m rim train` and `python -m rim reconstruct`."""

import argparse
import json
import pathlib
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowpm_ext.command_line import (
    OneLineParser,
    Terminated,
    one_line,
    quiet_start,
    raise_terminated,
)

if TYPE_CHECKING:  # TensorFlow is not needed to say which options there are
    from rim.initial_conditions import InitialConditions

# As many cells as a cube of 32, and waves of 400 Mpc/h in presets: without those a machine takes
# what it has never seen for structure.
MESH = (64, 32, 16)
PROBLEM = (
    "matter, tracers or tracers_without_unity (see rim.preset), or a JSON file of "
    "InitialConditions.get_config; default: %(default)s"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process if None.

    Returns:
        The exit code: 0; 2 after one line on standard error for bad input; 130 after one where
        it was interrupted, and 143 where it was ended by SIGTERM.
    """
    options = build_parser().parse_args(arguments)
    name = f"rim {options.command}"
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *where: _say(name, f"warning: {message}")
            COMMANDS[options.command](options)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        _say(name, f"error: {error or 'there is not enough memory.'}")
        return 2
    except KeyboardInterrupt as end:
        _say(name, "interrupted; the same command goes on from the last checkpoint.")
        return 143 if isinstance(end, Terminated) else 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The words that the command line understands.

    Returns:
        The parser.
    """
    parser = OneLineParser(
        prog="python -m rim", description="Initial conditions from what is observed today."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "Train a machine on mocks. The same command goes on with a run that was stopped."
    add = commands.add_parser("train", help="train a machine", description=about).add_argument
    add("--out", metavar="FOLDER", required=True, help="folder for weights and checkpoints")
    add("--problem", default="matter", metavar="NAME", help=PROBLEM)
    add("--network", choices=("rim", "unet"), default="rim",
        help="unet for the direct U-Net to compare with; default: rim")  # fmt: skip
    add("--start-from", metavar="FILE", help="weights to start from, rather than none")
    for name, default, text in (
        ("epochs", 20, "a checkpoint follows each"),
        ("updates", 100, "updates of the weights in an epoch"),
        ("batch-size", 2, "realisations of each update"),
        ("steps", 10, "steps of the machine"),
        ("kernel-size", 3, "width of the kernels"),
        ("seed", 0, "of weights and mocks"),
    ):
        add(f"--{name}", type=int, default=default, metavar="N", help=f"{text}; default: {default}")
    add("--mesh", type=_integers, default=MESH, metavar="N,...", help="cells along the axes, or "
        "one number for a cube; default: 64,32,16, whose long side has long waves")  # fmt: skip
    add("--filters", type=_integers, default=(8, 16), metavar="N,...",
        help="channels of each branch; default: 8,16")  # fmt: skip
    add("--learning-rate", type=float, default=2e-3, metavar="X", help="the highest; default: 2e-3")
    about = "Reconstruct initial conditions. The same command goes on with a run that was stopped."
    command = commands.add_parser("reconstruct", help="reconstruct a field", description=about)
    add = command.add_argument
    add("data", nargs="?", metavar="DATA", help="HDF5 file with `overdensity`, `counts` or the "
        "`position` of tracers, and the attribute `box_size` (Mpc/h)")  # fmt: skip
    add("--simulate", action="store_true", help="reconstruct a mock made on the spot instead")
    add("--mesh", type=_integers, default=(64,), metavar="N", help="of --simulate; default: 64")
    add("--out", metavar="FOLDER", required=True, help="folder for the product and figures")
    add("--problem", default="matter", metavar="NAME", help=PROBLEM)
    add("--method", choices=("rim", "map", "hmc"), default="rim", help="default: rim")
    add("--weights", metavar="FILE", help="of a trained machine; default: those of the package")
    add("--num-samples", type=int, default=200, metavar="N", help="draws of hmc; default: 200")
    add("--seed", type=int, default=0, metavar="N", help="of mocks and draws; default: 0")
    return parser


def run_train(options: argparse.Namespace) -> None:
    """Train a machine and say where its weights are.

    Args:
        options: What `build_parser` understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    with quiet_start():
        import keras

        import rim
        from rim.plot import history_figure
        from rim.reconstruction import load_machine
    problem = read_problem(options.problem, options.mesh)
    folder = pathlib.Path(options.out)
    keras.utils.set_random_seed(options.seed)
    if options.network == "unet":
        machine = rim.DirectUNet(problem)
    elif options.start_from:
        machine = load_machine(options.start_from, problem)
    else:
        machine = rim.CosmicRIM(problem, options.steps, options.filters, options.kernel_size)
    print(f"{machine.count_params():,} weights; {folder.resolve()}")
    machine = rim.train(
        machine, folder, options.epochs, options.updates, options.batch_size,
        options.learning_rate, options.seed,
    )  # fmt: skip
    trained = type(machine).from_config(machine.get_config())
    trained.set_weights(machine.get_weights())
    trained.save(folder / "weights.keras")
    history_figure(folder / "history.csv").savefig(folder / "history.png", dpi=110)
    print(f"weights: {(folder / 'weights.keras').resolve()}")


def run_reconstruct(options: argparse.Namespace) -> None:
    """Reconstruct a field, write the product and figures, and print the numbers.

    Args:
        options: What `build_parser` understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    if bool(options.data) == options.simulate:
        raise ValueError("`DATA` must be given, or `--simulate` without one.")
    with quiet_start():
        import rim
        from flowpm_ext.io import claimed_folder
        from rim import product
        from rim.observation import Observation, read_observation
    problem = read_problem(options.problem, options.mesh)
    if options.simulate:
        truth, y = problem.simulate(options.seed)
        data = Observation(problem, y.numpy(), truth.numpy())
    else:
        data = read_observation(options.data, problem)
    with claimed_folder(options.out) as folder:
        found = rim.reconstruct(
            data.problem, data.y, options.method, options.weights, truth=data.truth,
            num_samples=options.num_samples, seed=options.seed, checkpoint=folder,
        )  # fmt: skip
        report = product.write(found, folder)
    print(product.summary(report))
    print(f"Product, figures and report: {pathlib.Path(options.out).resolve()}")


def read_problem(name: str, mesh: Sequence[int]) -> "InitialConditions":
    """A problem by its name or from a file.

    Args:
        name: That of a preset, or of a JSON file.
        mesh: Cells along the axes, or of a cube.

    Returns:
        The problem.

    Raises:
        ValueError: If there is neither such a preset nor such a file.
    """
    from rim.initial_conditions import InitialConditions
    from rim.presets import PRESETS, preset

    mesh = mesh[0] if len(mesh) == 1 else mesh
    if name in PRESETS:
        return preset(name, mesh)
    path = pathlib.Path(name)
    if not path.is_file():
        raise ValueError(f"`problem` must be one of {', '.join(PRESETS)}, or a file. Received: "
                         f"{name!r}.")  # fmt: skip
    try:
        problem = InitialConditions.from_config(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"`problem` must be what get_config gives. Received: {error}.") from None
    return problem if problem.mask is not None else problem.with_mesh(mesh)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _say(name: str, message: object) -> None:
    print(f"{name}: {one_line(message)}", file=sys.stderr)


COMMANDS = {"train": run_train, "reconstruct": run_reconstruct}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, raise_terminated)
    sys.exit(main())
