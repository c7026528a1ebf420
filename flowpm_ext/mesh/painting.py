"""Particles to mesh and back: painting, reading, and the adjoint of each, written by hand.

A window spreads a particle over the nearest cells of each axis: two of them for clouds in cells
(CIC), three for triangular clouds (TSC). Lattice points lie on cell corners: position x is on
cell floor(x) with its remainder. Everything is periodic, batched, and in two or three dimensions.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import zeros

WINDOWS = ("cic", "tsc")

# Part of the flat index and share, [batch, num_particles], and slope of the share, [..., 1].
Cell = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def paint(
    mesh: tf.Tensor, position: tf.Tensor, weight: tf.Tensor | None = None, window: str = "cic"
) -> tf.Tensor:
    """A mesh with particles added to it.

    Mass is conserved: the sum over the mesh grows by the sum of the weights. Differentiable, in
    reverse mode, with respect to the mesh, the positions and the weights, at the price of one
    reading; nothing but the arguments is kept for it.

    Args:
        mesh: What is there already, shape [batch, *sides], or [batch, *sides, channels].
        position: Positions in cells, any real numbers (they wrap around), shape
            [batch, num_particles, num_axes].
        weight: Mass of each particle in mean cells, shape [batch, num_particles], with channels
            if the mesh has; 1 by default.
        window: "cic" or "tsc".

    Returns:
        The mesh, in its shape.

    Raises:
        ValueError: If shapes do not fit, the sides are not known when the graph is built, or
            `window` is unknown.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    sides = _sides(mesh, position, window)
    shape = position.shape[:-1].concatenate(mesh.shape[1 + len(sides) :])
    checks.require(
        weight is None or weight.shape.is_compatible_with(shape),
        "weight", f"have shape {shape}", weight,
    )  # fmt: skip
    _require_type(position, weight=weight)

    @tf.custom_gradient
    def add(mesh: tf.Tensor, position: tf.Tensor, *weight: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            slopes = _slopes(upstream, position, *weight or [None], sides, window)
            values = [_values(upstream, position, sides, window)] if weight else []
            return upstream, slopes, *values

        return mesh + _spread(position, *weight or [None], sides, window), gradient

    return add(mesh, position) if weight is None else add(mesh, position, weight)


def readout(mesh: tf.Tensor, position: tf.Tensor, window: str = "cic") -> tf.Tensor:
    """Values of a mesh at the positions of particles.

    The adjoint of `paint` for the same positions. Differentiable, in reverse mode, with respect
    to the mesh and the positions.

    Args:
        mesh: Mesh of any unit, shape [batch, *sides], or [batch, *sides, channels].
        position: Positions in cells (they wrap around), shape
            [batch, num_particles, num_axes].
        window: "cic" or "tsc".

    Returns:
        Values in the unit of the mesh, shape [batch, num_particles], with channels if it has.

    Raises:
        ValueError: If shapes do not fit, the sides are not known when the graph is built, or
            `window` is unknown.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    sides = _sides(mesh, position, window)

    @tf.custom_gradient
    def take(mesh: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            on_mesh = _spread(position, upstream, sides, window)
            return on_mesh, _slopes(mesh, position, upstream, sides, window)

        return _values(mesh, position, sides, window), gradient

    return take(mesh, position)


def slopes(
    mesh: tf.Tensor, position: tf.Tensor, weight: tf.Tensor, window: str = "cic"
) -> tf.Tensor:
    """Gradient by the positions of what `readout` finds, summed over channels with weights.

    That is what `readout` gives as its gradient, without the painting that comes with it.
    Differentiable, in reverse mode, with respect to all arguments, as the operations it is made
    of are.

    Args:
        mesh: Mesh of any unit, shape [batch, *sides, channels].
        position: Positions in cells (they wrap around), shape
            [batch, num_particles, num_axes].
        weight: Factor of each channel, shape [batch, num_particles, channels].
        window: "cic" or "tsc".

    Returns:
        Gradient (unit of the mesh times that of the weight / cell) of the sum over channels of
        weight times value, shape [batch, num_particles, num_axes].

    Raises:
        ValueError: If shapes do not fit, the sides are not known when the graph is built, or
            `window` is unknown.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    sides = _sides(mesh, position, window)
    shape = position.shape[:-1].concatenate(mesh.shape[1 + len(sides) :])
    checks.require(
        shape.rank == 3 and weight.shape.is_compatible_with(shape),
        "weight", f"have shape {shape} with channels", weight,
    )  # fmt: skip
    _require_type(position, weight=weight)
    return _slopes(mesh, position, weight, sides, window)


def _spread(
    position: tf.Tensor, weight: tf.Tensor | None, sides: tuple[int, ...], window: str
) -> tf.Tensor:
    """Mesh [batch, *sides, ...] of particles with weights [batch, num_particles, ...] or 1."""
    channels = [] if weight is None else weight.shape[2:].as_list()
    axes = _all_axes(position, sides, window)
    # One update of neighbouring cells costs little more than that of one cell, so each particle
    # writes the cells of its last axes at once, and they are folded back at the end: of two axes,
    # of one where there are channels, and none where these alone make an update of four numbers.
    num_folded = 2 if not channels else 1 if channels[0] < 4 else 0
    outer, inner = axes[: len(axes) - num_folded], axes[len(axes) - num_folded :]
    batch, cells, reach = tf.shape(position)[0], math.prod(sides), len(axes[0])
    offset = cells * tf.range(batch)[:, None]  # one flat mesh for the whole batch
    home = offset + sum(axis[0][0] for axis in inner)
    shares = [_share(corner) for corner in itertools.product(*inner)]
    masses = tf.stack([tf.convert_to_tensor(x, position.dtype) for x in shares], axis=-1)
    if channels:
        masses = masses[..., None] * weight[..., None, :]
    elif weight is not None:
        masses *= weight[..., None]
    width = math.prod([reach**num_folded, *channels])
    masses = tf.reshape(masses, [batch, -1, width])
    total = zeros([batch * cells, width], position.dtype)
    for corner in itertools.product(*outer):
        flat = tf.reshape(home + sum(part[0] for part in corner), [-1, 1])
        share = tf.convert_to_tensor(_share(corner), position.dtype)[..., None]
        total = tf.tensor_scatter_nd_add(total, flat, tf.reshape(share * masses, [-1, width]))
    total = tf.reshape(total, [batch, *sides, *[reach] * num_folded, *channels])
    for axis in range(len(sides) - num_folded, len(sides)):
        parts = tf.unstack(total, axis=1 + len(sides))
        total = sum(tf.roll(part, step, 1 + axis) for step, part in enumerate(parts))
    return total


def _values(mesh: tf.Tensor, position: tf.Tensor, sides: tuple[int, ...], window: str) -> tf.Tensor:
    """Values [batch, num_particles, ...] of a mesh [batch, *sides, ...]."""
    flat = _flat(mesh, sides)

    def along(axes: list[list[Cell]], index: tf.Tensor | int) -> tf.Tensor:
        """Value where these axes are interpolated; the last ones first, so that few are left."""
        if not axes:
            return tf.gather(flat, index, axis=1, batch_dims=1)
        parts = [along(axes[1:], index + cell[0]) for cell in axes[0]]
        shares = [cell[1] for cell in axes[0]]
        shares = [share[..., None] for share in shares] if parts[0].shape.rank == 3 else shares
        return sum(share * part for share, part in zip(shares, parts, strict=True))

    return along(_all_axes(position, sides, window), 0)


def _slopes(
    mesh: tf.Tensor,
    position: tf.Tensor,
    weight: tf.Tensor | None,
    sides: tuple[int, ...],
    window: str,
) -> tf.Tensor:
    """Gradient [batch, num_particles, num_axes] in position of the sum of weight times value."""
    flat, total = _flat(mesh, sides), 0.0
    own = tf.eye(len(sides), dtype=tf.bool)
    # Index and factors [batch, num_particles, num_axes]: slopes along the own axis, else shares.
    factors = [
        [(index, tf.where(own[axis], slope, share[..., None])) for index, share, slope in cells]
        for axis, cells in enumerate(_all_axes(position, sides, window))
    ]
    # Corner by corner: sums along one axis after the other make XLA gather again for each.
    for corner in itertools.product(*factors):
        value = tf.gather(flat, sum(cell[0] for cell in corner), axis=1, batch_dims=1)
        value = value if weight is None else value * weight
        value = tf.reduce_sum(value, axis=-1) if value.shape.rank == 3 else value
        total += value[..., None] * math.prod(cell[1] for cell in corner)
    return total


def _flat(mesh: tf.Tensor, sides: tuple[int, ...]) -> tf.Tensor:
    """Mesh with its cells along one axis, [batch, cells, ...]."""
    return tf.reshape(mesh, [tf.shape(mesh)[0], math.prod(sides), *mesh.shape[1 + len(sides) :]])


def _share(corner: Sequence[Cell]) -> tf.Tensor | int:
    """What the cell at a corner gets; 1 where there is no axis."""
    return math.prod(cell[1] for cell in corner)


def _all_axes(position: tf.Tensor, sides: tuple[int, ...], window: str) -> list[list[Cell]]:
    """The cells that a window reaches along each axis."""
    strides = [math.prod(sides[axis + 1 :]) for axis in range(len(sides))]
    return [
        _along_axis(position[..., axis], side, stride, window)
        for axis, (side, stride) in enumerate(zip(sides, strides, strict=True))
    ]


def _along_axis(x: tf.Tensor, side: int, stride: int, window: str) -> list[Cell]:
    """The cells along one axis."""
    if window == "cic":
        first = tf.floor(x)
        t = x - first
        shares = [(1 - t, -tf.ones([1], x.dtype)), (t, tf.ones([1], x.dtype))]
    else:
        first = tf.floor(x + 0.5) - 1
        t = x - first - 1  # from the nearest lattice point, -1/2 <= t < 1/2
        shares = [
            (0.5 * (0.5 - t) ** 2, (t - 0.5)[..., None]),
            (0.75 - t**2, (-2 * t)[..., None]),
            (0.5 * (0.5 + t) ** 2, (t + 0.5)[..., None]),
        ]
    # Wrapped before it becomes an integer: the remainder of integers is slow. Half a cell keeps
    # the rounding of the quotient away from whole numbers.
    cell = tf.cast(first - side * tf.floor((first + 0.5) * (1 / side)), tf.int32)
    cells = []
    for share, slope in shares:
        cells.append((stride * cell, share, slope))
        cell = tf.where(cell == side - 1, 0, cell + 1)
    return cells


def _sides(mesh: tf.Tensor, position: tf.Tensor, window: str) -> tuple[int, ...]:
    """Sides of the mesh, after the checks of both public functions."""
    checks.one_of(window, "window", WINDOWS)
    checks.rank(position, "position", 3)
    num_axes = position.shape[-1]
    checks.require(
        num_axes in (2, 3), "position", "have 2 or 3 coordinates", f"shape {position.shape}"
    )
    checks.rank(mesh, "mesh", (1 + num_axes, 2 + num_axes))
    sides = mesh.shape[1 : 1 + num_axes].as_list()
    checks.require(
        None not in sides, "mesh", "have sides of known size", f"shape {mesh.shape}",
        "Set the shape with `tf.ensure_shape`.",
    )  # fmt: skip
    batch = mesh.shape[0]
    checks.require(
        position.shape[:1].is_compatible_with(mesh.shape[:1]),
        "position", f"have the batch of the mesh, {batch}", position,
    )  # fmt: skip
    numbers = math.prod(sides) * (batch or 1)
    checks.require(
        numbers < 2**31, "mesh", "have fewer than 2**31 cells in all", f"shape {mesh.shape}",
        "Take a smaller batch.",
    )  # fmt: skip
    _require_type(position, mesh=mesh)
    return tuple(sides)


def _require_type(position: tf.Tensor, **others: tf.Tensor | None) -> None:
    """Refuse numbers of another type than the positions."""
    is_real = position.dtype in (tf.float32, tf.float64)
    name = position.dtype.name
    checks.require(is_real, "position", "be float32 or float64", name, error=TypeError)
    for key, value in others.items():
        checks.require(
            value is None or value.dtype == position.dtype,
            key, f"be {name}, as the position", value.dtype.name if value is not None else None,
            error=TypeError,
        )  # fmt: skip
