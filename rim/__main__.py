"""Command line: `python -m rim train` and `python -m rim reconstruct`."""

import argparse
import json
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowpm_ext.command_line import (
    OneLineParser,
    quiet_start,
    raise_terminated,
    run_command,
)

if TYPE_CHECKING:  # TensorFlow is not needed to say which options there are
    from rim.initial_conditions import InitialConditions

# As many cells as a cube of 32, and waves of 400 Mpc/h in presets: without those a machine takes
# what it has never seen for structure.
MESH = (64, 32, 16)
ARCHITECTURE = {"num_steps": "steps", "kernel_size": "kernel-size", "filters": "filters"}
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
    return run_command(
        f"rim {options.command}",
        lambda: COMMANDS[options.command](options),
        lambda: _what_is_left(options),
    )


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
        ("seed", 0, "of weights and mocks"),
    ):
        add(f"--{name}", type=int, default=default, metavar="N", help=f"{text}; default: {default}")
    add("--mesh", type=_integers, metavar="N,...", help="cells along the axes, or one number for a "
        "cube; default: 64,32,16, whose long side has long waves, or that of the file")  # fmt: skip
    for word, name, kind, text in (
        ("steps", "num_steps", int, "steps of the machine; default: 10"),
        ("kernel-size", "kernel_size", int, "width of the kernels; default: 3"),
        ("filters", "filters", _integers, "channels of each branch; default: 8,16"),
    ):
        add(f"--{word}", dest=name, type=kind, default=argparse.SUPPRESS, metavar="N", help=text)
    add("--learning-rate", type=float, default=2e-3, metavar="X", help="the highest; default: 2e-3")
    about = "Reconstruct initial conditions. The same command goes on with a run that was stopped."
    command = commands.add_parser("reconstruct", help="reconstruct a field", description=about)
    add = command.add_argument
    add("data", nargs="?", metavar="DATA", help="HDF5 file with `overdensity`, `counts` or the "
        "`position` of tracers, and the attribute `box_size` (Mpc/h)")  # fmt: skip
    add("--simulate", action="store_true", help="reconstruct a mock made on the spot instead")
    add("--mesh", type=_integers, metavar="N", help="of --simulate; default: 64, or that of a file")
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
        from flowpm_ext.io import claimed_folder
        from rim.plot import history_figure
        from rim.reconstruction import load_machine
    problem = read_problem(options.problem, options.mesh, MESH)
    architecture = {name: getattr(options, name) for name in ARCHITECTURE if hasattr(options, name)}
    keras.utils.set_random_seed(options.seed)
    if options.start_from:
        _refuse(architecture, "--start-from", "the file says what the machine is made of")
        machine = load_machine(options.start_from, problem)
    elif options.network == "unet":
        _refuse(architecture, "--network unet", "it is that of rim.DirectUNet")
        machine = rim.DirectUNet(problem)
    else:
        machine = rim.CosmicRIM(problem, **architecture)
    with claimed_folder(options.out) as folder:
        print(f"{machine.count_params():,} weights; {folder.resolve()}")
        rim.train(
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
        from rim.reconstruction import require_memory_for
    problem = read_problem(options.problem, options.mesh, (64,))
    if options.simulate:
        require_memory_for(problem, options.method, 1, options.num_samples, 2)
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


def read_problem(
    name: str, mesh: Sequence[int] | None, default: Sequence[int]
) -> "InitialConditions":
    """A problem by its name or from a file.

    Args:
        name: That of a preset, or of a JSON file.
        mesh: Cells along the axes, or of a cube; None for those of the file.
        default: Those of a preset where none are asked for.

    Returns:
        The problem.

    Raises:
        ValueError: If there is neither such a preset nor such a file.
    """
    from rim.initial_conditions import InitialConditions
    from rim.presets import PRESETS, preset

    sides = None if mesh is None and name not in PRESETS else tuple(mesh or default)
    if sides is not None and len(sides) == 1:
        sides = sides * 3
    if name in PRESETS:
        return preset(name, sides)
    path = pathlib.Path(name)
    if not path.is_file():
        known = ", ".join(PRESETS)
        raise ValueError(f"`problem` must be one of {known}, or a file. Received: {name!r}.")
    try:
        problem = InitialConditions.from_config(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"`problem` must be what get_config gives. Received: {error}.") from None
    return problem if sides in (None, problem.mesh.shape) else problem.with_mesh(sides)


def _refuse(architecture: dict[str, object], word: str, reason: str) -> None:
    """Refuse options that would be ignored."""
    if architecture:
        names = ", ".join(f"--{ARCHITECTURE[name]}" for name in architecture)
        raise ValueError(f"`{word}` must come without {names}: {reason}.")


def _what_is_left(options: argparse.Namespace) -> str:
    """What an interrupted run has kept, in a few words."""
    folder = pathlib.Path(options.out)
    has = (folder / "last.keras").exists() or any(folder.glob("unfinished-*"))
    return "the same command goes on from its last checkpoint." if has else "nothing was kept."


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        message = f"integers with commas between them are wanted, and not {text!r}"
        raise argparse.ArgumentTypeError(message) from None


COMMANDS = {"train": run_train, "reconstruct": run_reconstruct}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, raise_terminated)
    sys.exit(main())
