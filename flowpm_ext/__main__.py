"""Command line: `python -m flowpm_ext simulate`, `spectrum` and `lightcone`."""

import argparse
import dataclasses
import pathlib
import signal
import sys
from collections.abc import Sequence

from flowpm_ext import launcher, lightcone_command
from flowpm_ext.command_line import (
    OneLineParser,
    quiet_start,
    raise_terminated,
    run_command,
)
from flowpm_ext.configuration import SimulationConfig, read_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process if None.

    Returns:
        The exit code: 0; 2 after one line on standard error for bad input; 130 after one where
        it was interrupted, and 143 where it was ended by SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(arguments)
    if launcher.is_wanted(options):
        return launcher.run_again("flowpm_ext", arguments, options.num_processes)
    return run_command(
        f"flowpm_ext {options.command}",
        lambda: COMMANDS[options.command](options),
        lambda: _what_is_left(options),
    )


def build_parser() -> argparse.ArgumentParser:
    """The words that the command line understands.

    Returns:
        The parser.
    """
    parser = OneLineParser(prog="python -m flowpm_ext", description="Simulations of structure.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "Run a particle-mesh simulation. The same command goes on with a run that was stopped."
    simulate = commands.add_parser("simulate", help="run a simulation", description=about)
    add = simulate.add_argument
    add("--out", metavar="FOLDER", required=True, help="folder for the snapshots")
    add(
        "--config",
        metavar="FILE",
        help="JSON or TOML file of these options by name; those given here win",
    )
    add("--overwrite", action="store_true", help="remove the run in the folder and start anew")
    launcher.add_options(simulate)
    for field in dataclasses.fields(SimulationConfig):
        _add_option(simulate, field)
    about = "Power spectra of snapshots, beside linear theory and halofit."
    spectrum = commands.add_parser("spectrum", help="measure power spectra", description=about)
    add = spectrum.add_argument
    add("snapshots", nargs="+", metavar="SNAPSHOT", help="files that simulate made")
    add("--out", metavar="FOLDER", help="folder for tables and figures; default: beside the files")
    add("--mesh", type=int, metavar="N", help="cells along each side; default: as simulated")
    add("--no-plot", action="store_true", help="write tables alone")
    about = lightcone_command.ABOUT
    lightcone_command.add_options(
        commands.add_parser("lightcone", help="simulate lensing maps", description=about)
    )
    return parser


def _add_option(parser: argparse.ArgumentParser, field: dataclasses.Field) -> None:
    """An option for a field of the configuration, absent unless it is given."""
    default, words = field.default, {"dest": field.name, "default": argparse.SUPPRESS}
    word, text = f"--{field.name.replace('_', '-')}", field.metadata["help"]
    if isinstance(default, bool):
        parser.add_argument(word, action=argparse.BooleanOptionalAction, help=text, **words)
        return
    shown = "that of --cosmology" if default is None else default
    if field.name == "snapshots":
        shown = ",".join(f"{a:g}" for a in default)
    kind = {"snapshots": _numbers}.get(field.name, float if default is None else type(default))
    choices = field.metadata["choices"]
    metavar = None if choices else {int: "N", float: "X", str: "TABLE"}.get(kind, "A,...")
    text = f"{text}; default: {shown}"
    parser.add_argument(word, type=kind, choices=choices, metavar=metavar, help=text, **words)


def run_simulate(options: argparse.Namespace) -> None:
    """Run a simulation and say where its files are.

    Args:
        options: What `build_parser` understood.

    Raises:
        ValueError: If an input cannot be used.
        TypeError: If a value in the file of options is of the wrong kind.
        OSError: If a file cannot be written, or other processes do not start.
    """
    values = read_config(options.config) if options.config else {}
    names = {field.name for field in dataclasses.fields(SimulationConfig)}
    values |= {name: value for name, value in vars(options).items() if name in names}
    with quiet_start():
        from flowpm_ext.mesh import join_cluster
        from flowpm_ext.simulation import simulate
    config = SimulationConfig.from_dict(values)
    processes = join_cluster()
    paths = simulate(
        config, options.out, overwrite=options.overwrite, verbose=1, processes=processes,
        halo=options.halo,
    )  # fmt: skip
    if processes.rank == 0:
        listed = ", ".join(path.name for path in paths)
        print(f"{pathlib.Path(options.out).resolve()}: {listed}")


def run_spectrum(options: argparse.Namespace) -> None:
    """Measure power spectra and say where their files are.

    Args:
        options: What `build_parser` understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    paths = [pathlib.Path(path) for path in options.snapshots]
    folders = {path: pathlib.Path(options.out or path.parent) for path in paths}
    targets = {folders[path] / path.stem for path in paths}
    if len(targets) < len(options.snapshots):
        names = [path.name for path in paths]
        raise ValueError(f"`SNAPSHOT` must have names of their own for --out. Received: {names}.")
    with quiet_start():
        from flowpm_ext.snapshot import read_header
    for path in paths:  # all of them, before the long work
        read_header(path)
    for path in paths:
        _measure(path, folders[path], options.mesh, not options.no_plot)


def _measure(path: pathlib.Path, folder: pathlib.Path, mesh: int | None, has_plot: bool) -> None:
    """Table and figure of a snapshot."""
    from flowpm_ext.io import staged_folder
    from flowpm_ext.snapshot_spectrum import snapshot_spectrum, write_table
    from flowpm_ext.version import __version__

    with staged_folder(folder) as stage:
        spectrum = snapshot_spectrum(path, mesh)
        write_table(stage / f"{path.stem}_spectrum.txt", spectrum)
        if has_plot:
            from flowpm_ext.plot import spectrum_figure

            about = {"Software": f"flowpm-ext {__version__}"}
            target = stage / f"{path.stem}_spectrum.png"
            spectrum_figure(spectrum).savefig(target, dpi=150, metadata=about)
        names = ", ".join(sorted(made.name for made in stage.iterdir()))
    print(f"{folder.resolve()}: {names}")


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        message = f"must read like 0.5,1. Received: {text!r}."
        raise argparse.ArgumentTypeError(message) from None


def _what_is_left(options: argparse.Namespace) -> str:
    """How to go on after an interruption."""
    if options.command == "lightcone":
        return "whole files of maps are kept, and the same command goes on from there."
    if options.command != "simulate":
        return "what is whole has been written, and nothing else."
    from flowpm_ext.checkpoint import forces_done

    try:
        done = forces_done(options.out)
    except ValueError:
        done = None
    if done is None:
        return "before the first force; the same command starts again."
    return f"{done} forces are kept, and the same command goes on from there."


COMMANDS = {
    "simulate": run_simulate, "spectrum": run_spectrum, "lightcone": lightcone_command.run
}  # fmt: skip

if __name__ == "__main__":
    # Ends as Ctrl-C does, after the state is written.
    signal.signal(signal.SIGTERM, raise_terminated)
    sys.exit(main())
