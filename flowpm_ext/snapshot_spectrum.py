"""The power spectrum of a snapshot beside theory, as numbers and as a table."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowpm_ext.configuration import SimulationConfig
from flowpm_ext.core import checks
from flowpm_ext.core.memory import require_memory
from flowpm_ext.cosmology import background, power
from flowpm_ext.fields.spectrum import power_law_table
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.snapshot import load_snapshot
from flowpm_ext.stats import power_spectrum
from flowpm_ext.version import __version__

# Peak memory for each cell of the mesh and each particle, as measured (bytes), and at rest.
CELL_BYTES, PARTICLE_BYTES, BASE_BYTES = 90, 160, 700e6


class SnapshotSpectrum(NamedTuple):
    """Power of a snapshot and of theory."""

    k: np.ndarray
    """Mean |k| of the modes in each bin (h/Mpc), shape [nk]."""
    power: np.ndarray
    """Power measured ((Mpc/h)**3), shape [nk]."""
    num_modes: np.ndarray
    """Modes in each bin, k and -k both counted, shape [nk]."""
    a: float
    """Scale factor."""
    mesh: int
    """Cells along each side of the mesh that the particles were painted on."""
    config: SimulationConfig
    """What the snapshot was made from."""
    table: np.ndarray | None
    """Linear spectrum where it was a table: k and P at a = 1, [2, nk]."""

    def linear(self, k: ArrayLike) -> np.ndarray:
        """Linear theory at the scale factor of the snapshot.

        Args:
            k: Wavenumbers (h/Mpc), shape [n].

        Returns:
            P ((Mpc/h)**3), shape [n].

        References:
            Eisenstein & Hu 1998, arXiv:astro-ph/9709112.
        """
        if self.table is None:
            return power.linear_matter_power(self.config.cosmo, k, self.a).numpy()
        growth = float(background.growth_factor(self.config.cosmo, self.a))
        return growth**2 * power_law_table(*self.table, "k", "P")(np.asarray(k)).numpy()

    def halofit(self, k: ArrayLike) -> np.ndarray | None:
        """Nonlinear theory; None where the linear spectrum was a table.

        Args:
            k: Wavenumbers (h/Mpc), shape [n].

        Returns:
            P ((Mpc/h)**3), shape [n], or None.

        References:
            Takahashi et al. 2012, arXiv:1208.2701.
        """
        if self.table is not None:
            return None
        return power.nonlinear_matter_power(self.config.cosmo, k, self.a).numpy()


def snapshot_spectrum(path: str | os.PathLike, mesh: int | None = None) -> SnapshotSpectrum:
    """Power spectrum of the particles of a snapshot.

    They are painted as clouds in cells, and the modes divided by the transform of the cloud. No
    shot noise is subtracted: particles that start on a lattice have none until they cross.

    Args:
        path: File that `simulate` made.
        mesh: Cells along each side of the mesh to paint on; by default that of the simulation.

    Returns:
        The spectrum in bins as wide as the fundamental frequency, up to the Nyquist frequency.

    Raises:
        ValueError: If the file cannot be used, or `mesh` is below 4 or too large for memory.

    References:
        Feldman, Kaiser & Peacock 1994, arXiv:astro-ph/9304022; Jing 2005,
        arXiv:astro-ph/0409240.
    """
    is_good = mesh is None or (isinstance(mesh, int | np.integer) and mesh >= 4)
    checks.require(is_good, "mesh", "be an integer of at least 4", mesh)
    state, config, table = load_snapshot(path)
    mesh = mesh or config.mesh
    needed = int(BASE_BYTES + CELL_BYTES * mesh**3 + PARTICLE_BYTES * config.mesh**3)
    require_memory(needed, f"A mesh of {mesh}^3 cells", "Take a smaller --mesh.")
    cells = LocalMesh(mesh)
    # Half a cell away from the corners, where young particles still stand and where clouds in cells
    # have a kink; the spectrum of a periodic box does not change with its origin.
    position = state.position * (mesh / config.mesh) + 0.5
    # Mean 1 however many particles there are in a cell.
    density = cells.paint(position) * (mesh / config.mesh) ** 3
    found = power_spectrum(density - 1.0, config.box_size, window="cic", mesh=cells)
    k, measured, num_modes = (np.asarray(x) for x in found)
    return SnapshotSpectrum(k, measured[0], num_modes, float(state.a), mesh, config, table)


def write_table(path: str | os.PathLike, spectrum: SnapshotSpectrum) -> None:
    """Text file with the columns k, P, modes, linear, halofit, which `np.loadtxt` reads.

    Args:
        path: File to write.
        spectrum: What to write; where there is no halofit, it is nan.

    Raises:
        OSError: If the file cannot be written.
    """
    halofit = spectrum.halofit(spectrum.k)
    columns = (
        spectrum.k, spectrum.power, spectrum.num_modes, spectrum.linear(spectrum.k),
        np.full_like(spectrum.k, np.nan) if halofit is None else halofit,
    )  # fmt: skip
    config = spectrum.config
    lines = [
        f"Matter power spectrum of a simulation at a = {spectrum.a:.6g}, flowpm-ext {__version__}",
        f"box {config.box_size:g} Mpc/h, {config.mesh}^3 particles on {spectrum.mesh}^3 cells; "
        "clouds in cells, compensated; no shot noise subtracted",
        "linear and halofit: theory at this a"
        + ("" if halofit is not None else "; linear from a table, hence no halofit"),
        "num_modes counts k and -k: a Gaussian field scatters by power sqrt(2 / num_modes)",
        "k [h/Mpc]  power [(Mpc/h)^3]  num_modes  linear [(Mpc/h)^3]  halofit [(Mpc/h)^3]",
    ]
    formats = ("%.8e", "%.8e", "%d", "%.8e", "%.8e")
    np.savetxt(pathlib.Path(path), np.column_stack(columns), formats, header="\n".join(lines))
