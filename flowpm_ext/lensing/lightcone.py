"""A light cone through simulated boxes: lens planes, seen while the simulation runs."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import folded
from flowpm_ext.core.types import TensorLike, is_fixed, known
from flowpm_ext.cosmology import distances
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.lensing.planes import LensPlanes, Slab, orientations
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.pm import steps
from flowpm_ext.pm.forces import Correction, Gravity
from flowpm_ext.pm.integrate import along_time
from flowpm_ext.pm.lpt import lpt_init
from flowpm_ext.pm.nbody import require_memory_for, run
from flowpm_ext.pm.potential_descent import BandPassedGravity, Sharpening
from flowpm_ext.pm.views import Sight


def light_cone(
    cosmo: Cosmology,
    field: tf.Tensor,
    box_size: float,
    num_planes: int,
    *,
    num_boxes: int = 1,
    num_slabs: int = 1,
    plane_resolution: int = 4,
    stages: TensorLike | None = None,
    integrator: str = "fastpm",
    gradient: str = "adjoint",
    force_mesh_factor: int = 1,
    gradient_kernel: str = "finite_difference",
    window: str = "cic",
    correction: Correction | None = None,
    sharpening: Sharpening | None = None,
    order: int = 2,
    seed: int | tf.Tensor = 0,
    mesh: AbstractMesh | None = None,
) -> LensPlanes:
    """Lens planes at growing distance, each from the simulation at its own time.

    The boxes are simulated once, from the first stage on, and the plane at distance chi is taken
    when the scale factor passes that of chi, between two forces where it must. It is turned,
    mirrored and shifted at random. Nothing is kept of the particles. Differentiable, in reverse
    mode, with respect to the field, the cosmology, the weights of the correction and the
    sharpening; particles that enter or leave a slab count as steps, whose gradient is zero.

    Args:
        cosmo: Cosmology, or a batch as long as that of the light cones.
        field: Overdensity extrapolated linearly to a = 1, shape [batch * num_boxes, n, n, n].
        box_size: Side of a box (Mpc/h).
        num_planes: Number of planes, of thickness box_size / num_slabs.
        num_boxes: Boxes that follow each other along the line of sight before the first comes
            again.
        num_slabs: Planes in one box.
        plane_resolution: Pixels of a plane along a cell of the field.
        stages: Scale factors of the steps, increasing; 10 steps from 0.1 to 1 by default.
        integrator: As for `nbody`.
        gradient: As for `nbody`.
        force_mesh_factor: As for `nbody`.
        gradient_kernel: As for `nbody`.
        window: As for `nbody`, and for planes.
        correction: As for `nbody`.
        sharpening: How particles are moved down the potential before a plane is seen, to make
            up for the smoothness of a mesh; see `fit_sharpening`.
        order: Order of the initial conditions, 1 or 2.
        seed: Seed of turns and shifts, an integer or a stateless seed of shape [2].
        mesh: Mesh of the field; by default one that this device holds. Whole planes are then on
            every device.

    Returns:
        The planes, in the dtype of the field.

    Raises:
        ValueError: If the field is not cubic or not divisible into light cones, the planes reach
            beyond the first stage, or an option does not fit.
        TypeError: If `cosmo` is not a Cosmology, or `sharpening` no Sharpening.

    References:
        Schneider, Ehlers & Falco 1992, Gravitational Lenses, chapter 9; Feng et al. 2016,
        arXiv:1603.00476.
    """
    require_cosmology(cosmo)
    field = tf.convert_to_tensor(field)
    checks.rank(field, "field", 4)
    sides = checks.static_grid(field, "field", ndim=3) if mesh is None else mesh.shape
    checks.require(len(set(sides)) == 1, "field", "be a cube", sides)
    on = sides if mesh is None else mesh
    checks.positive_integers(
        num_planes=num_planes, num_boxes=num_boxes, num_slabs=num_slabs,
        plane_resolution=plane_resolution,
    )  # fmt: skip
    checks.positive(box_size, "box_size")
    batch_size, rest = divmod(field.shape[0], num_boxes)
    checks.require(rest == 0, "field", f"hold {num_boxes} boxes for each light cone", field)
    stages = np.linspace(0.1, 1.0, 11) if stages is None else stages
    stages = steps.checked_stages(stages)
    descent = None
    if sharpening is not None:
        is_one = isinstance(sharpening, Sharpening)
        checks.require(is_one, "sharpening", "be a Sharpening", sharpening, error=TypeError)
        descent = BandPassedGravity.on(on, force_mesh_factor, gradient_kernel, window)
    look = Slab(
        batch_size, num_boxes, sides[0], plane_resolution * sides[0], num_slabs, window, descent,
        mesh,
    )  # fmt: skip
    thickness = box_size / num_slabs
    chi = thickness * (np.arange(num_planes) + 0.5)
    a = _scale_factors(cosmo, chi)[..., ::-1]
    _require_reach(a, stages)
    boxes = _boxes(cosmo, num_boxes, rank=1)
    force = Gravity.on(on, force_mesh_factor, gradient_kernel, window)
    state = lpt_init(boxes, field, stages[0], order, mesh=mesh)
    require_memory_for(state.position, force, gradient, stages)
    # The farthest plane is seen first.
    arguments = tuple(x[::-1] for x in orientations(num_planes, look, seed, field.dtype))
    if sharpening is not None:
        alpha = along_time(sharpening.strength(tf.convert_to_tensor(a)), field)
        band = sharpening.band(box_size / sides[0], field.dtype)
        arguments += (alpha, tf.tile(band[None], [num_planes, 1]))
    sight = Sight(look, _boxes(a, num_boxes, rank=2), arguments)
    _, planes = run(boxes, state, stages, force, integrator, gradient, correction, sight)
    chi = chi.astype(cosmo.dtype.as_numpy_dtype)
    return LensPlanes(planes[::-1], chi, thickness, box_size)


def _scale_factors(cosmo: Cosmology, chi: np.ndarray) -> tf.Tensor | np.ndarray:
    """Those of distances; an array for numbers that are no tensors, which none differentiates."""
    a = folded(distances.a_of_chi)(cosmo, chi)
    return np.asarray(a) if is_fixed(cosmo) else a


def _boxes(
    values: Cosmology | tf.Tensor | np.ndarray, num_boxes: int, rank: int
) -> Cosmology | tf.Tensor | np.ndarray:
    """A batch for light cones, of tensors of a rank, as one for boxes; what is no batch stays."""

    def repeated(x: TensorLike) -> TensorLike:
        return tf.repeat(x, num_boxes, axis=0) if len(np.shape(x)) == rank else x

    return tf.nest.map_structure(repeated, values)


def _require_reach(a: tf.Tensor | np.ndarray, stages: steps.Stages) -> None:
    """Refuse planes from before the simulation."""
    first, earliest = known(stages), known(a)
    if first is None or earliest is None:
        return
    checks.require(
        bool(np.min(earliest) >= first[0]), "num_planes", "end after the first stage", first[0],
        f"The last plane is at a = {np.min(earliest):.3f}: take fewer planes or an earlier stage.",
    )  # fmt: skip
