"""What simulations look like, and how strange other points are beside them."""

import numpy as np
from scipy.spatial import cKDTree

# Neighbours that say what a summary should be, and summaries up to which there are any.
NUM_LOCAL, MAX_LOCAL_DIMS = 20, 10


class Cloud:
    """Simulations, measured so that no unit and no failed simulation matters.

    Args:
        x: Summaries, shape [num, num_data].
        num_neighbours: Which neighbour to measure distances to.
    """

    def __init__(self, x: np.ndarray, num_neighbours: int) -> None:
        self.num_neighbours = num_neighbours
        self.centre = np.median(x, axis=0)
        low, high = np.quantile(x, [0.25, 0.75], axis=0)
        self.scale = np.where(high > low, (high - low) / 1.349, x.std(axis=0))
        self.scale[self.scale == 0] = 1.0  # a summary that varies in the other half only
        self.z = (x - self.centre) / self.scale
        # A few failed simulations must not say what the spread is.
        value, vector = np.linalg.eigh(np.atleast_2d(np.cov(np.clip(self.z, -10, 10).T)))
        # Summaries that repeat others have no spread of their own but that of rounding.
        self.whiten = vector / np.sqrt(np.maximum(value, 1e-8 * value.max()))
        self.tree = cKDTree(self.z @ self.whiten)
        # The nearest neighbour of a simulation is itself.
        self.reach = self.tree.query(self.tree.data, [num_neighbours + 1])[0][:, 0]

    def scores(self, x: np.ndarray, departures: np.ndarray) -> np.ndarray:
        """How strange points are, in five ways.

        Distance to the nearest simulations; the same over what is usual there; distance from
        the median; largest linear residual; largest local residual.

        Args:
            x: Shape [num, num_data].
            departures: Of the same points.

        Returns:
            Shape [num, 5].
        """
        z = (x - self.centre) / self.scale @ self.whiten
        distance, index = self.tree.query(z, np.arange(1, self.num_neighbours + 1))
        around = np.maximum(self.reach[index].mean(axis=1), np.finfo(float).tiny)
        far, largest = distance[:, -1], np.abs(departures[..., 1:]).max(axis=1)
        return np.stack([far, far / around, np.sum(z**2, axis=1), *largest.T], axis=1)

    def departures(self, x: np.ndarray) -> np.ndarray:
        """How far each summary is from what it should be, alone and by what the others say.

        Args:
            x: Shape [num, num_data].

        Returns:
            Distances from the median, residuals of linear regression on the others, and what is
            left of these after the mean of simulations with similar other summaries, each over
            its scatter, [num, num_data, 3].
        """
        z = (x - self.centre) / self.scale
        linear, of_cloud = self._linear(z), self._linear(self.z)
        local = linear
        if 1 < x.shape[1] <= MAX_LOCAL_DIMS:
            each = [self._local(z, linear, of_cloud, i) for i in range(x.shape[1])]
            local = np.stack(each, axis=-1)
        return np.stack([z, linear, local], axis=-1)

    def _linear(self, z: np.ndarray) -> np.ndarray:
        precision = self.whiten @ self.whiten.T
        return z @ precision / np.sqrt(np.diag(precision))

    def _local(self, z: np.ndarray, linear: np.ndarray, of_cloud: np.ndarray, i: int) -> np.ndarray:
        """Residuals of summary i beside those of simulations that are near in all others, [num]."""
        others = np.delete(np.arange(z.shape[1]), i)
        num = min(NUM_LOCAL, len(self.z) // 2)
        index = cKDTree(self.z[:, others]).query(z[:, others], num)[1]
        near = of_cloud[index, i]
        # Where all neighbours repeat one another there is no scatter to divide by.
        return (linear[:, i] - near.mean(axis=1)) / np.maximum(near.std(axis=1), 1e-6)
