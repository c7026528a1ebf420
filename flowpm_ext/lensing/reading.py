"""Sets of simulated maps as they train networks: streamed from disk, shuffled, split."""

import inspect
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.lensing.maps import convergence_maps
from flowpm_ext.lensing.shards import FIX, FORMAT_VERSION, KIND, SHARDS, Failure, read_failures

SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
GOLDEN = (np.sqrt(5) - 1) / 2


class MapDataset:
    """A folder of maps that `write_maps` made.

    Only parameters are held in memory; maps are read when they are asked for. A map belongs
    to a split by its number alone, so that it stays there when the set grows.

    Args:
        folder: The folder.
        splits: Fraction of the maps in each split by its name; the sum is one.

    Raises:
        ValueError: If the folder holds no maps, or a file that is no whole shard; or the fractions
            are not positive with a sum of one.
    """

    def __init__(self, folder: str | os.PathLike, splits: Mapping[str, float] = SPLITS) -> None:
        self.folder, self.splits = pathlib.Path(folder), dict(splits)
        checks.positive(np.array(list(self.splits.values())), "splits")
        total = sum(self.splits.values())
        checks.require(abs(total - 1) < 1e-6, "splits", "have the sum one", total)
        self.paths = sorted(self.folder.glob(SHARDS))
        checks.require(
            len(self.paths) > 0, "folder", "hold maps", str(self.folder), "`write_maps` makes them."
        )
        shards = [_header(path) for path in self.paths]
        self.theta = np.concatenate([theta for theta, *_ in shards])
        """Parameters of all maps, [num_maps, num_parameters]."""
        self.index = np.concatenate([index for _, index, *_ in shards])
        """Numbers of all maps, [num_maps]."""
        self.names: tuple[str, ...] = shards[0][3]
        """Names of the parameters."""
        self.map_shape: tuple[int, ...] = next(shape for _, _, shape, _ in shards if shape[0])
        """(ny, nx, num_bins)."""
        self._shard = np.repeat(np.arange(len(shards)), [len(index) for _, index, *_ in shards])
        self._row = np.concatenate([np.arange(len(index)) for _, index, *_ in shards])

    @property
    def num_maps(self) -> int:
        """Number of maps."""
        return len(self.index)

    @property
    def pixel_size_arcmin(self) -> float:
        """Side of a pixel (arcmin)."""
        return 60 * _field_size(self.paths[0]) / self.map_shape[1]

    @property
    def failures(self) -> list[Failure]:
        """Maps that could not be made."""
        return [failure for path in self.paths for failure in read_failures(path)]

    def members(self, split: str | None = None) -> np.ndarray:
        """Places of the maps of a split among all maps, int [num]; of all for None."""
        if split is None:
            return np.arange(self.num_maps)
        checks.one_of(split, "split", tuple(self.splits))
        names = list(self.splits)
        bounds = np.cumsum([0.0, *self.splits.values()])
        low, high = bounds[names.index(split) : names.index(split) + 2]
        # Multiples of the golden ratio spread evenly, so that fractions hold in every stretch.
        place = (self.index * GOLDEN) % 1
        return np.flatnonzero((place >= low) & (place < high))

    def read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps and parameters.

        Args:
            places: Places among all maps, int [num].

        Returns:
            Maps [num, ny, nx, num_bins], float32, and parameters [num, num_parameters], float32.

        Raises:
            ValueError: If a file is no whole shard any more.
        """
        maps = np.empty([len(places), *self.map_shape], np.float32)
        for shard in np.unique(self._shard[places]):
            here = np.flatnonzero(self._shard[places] == shard)
            rows = self._row[places[here]]
            order = np.argsort(rows)
            with hdf5.opened(self.paths[shard], KIND, FORMAT_VERSION, FIX) as file:
                maps[here[order]] = file["convergence"][np.unique(rows)]
        return maps, self.theta[places].astype(np.float32)

    def dataset(
        self,
        split: str | None = None,
        batch_size: int = 32,
        shuffle_seed: int | None = None,
    ) -> tf.data.Dataset:
        """Batches of (maps, parameters) for `fit`, streamed.

        Args:
            split: Name of a split; None for all maps.
            batch_size: Maps in a batch.
            shuffle_seed: Seed of an order that is another one in every epoch; None for the order
                of the files. Shards are shuffled, and the maps of a few of them mixed.

        Returns:
            A dataset of maps [batch, ny, nx, num_bins] and parameters [batch, num_parameters],
            float32.

        Raises:
            ValueError: If the split is unknown or empty, or `batch_size` is not positive.
        """
        members = self._checked(split, batch_size)
        shards = [members[self._shard[members] == s] for s in np.unique(self._shard[members])]
        epochs = iter(range(2**31))

        def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            order = np.arange(len(shards))
            if shuffle_seed is not None:
                np.random.default_rng([shuffle_seed, next(epochs)]).shuffle(order)
            for number in order:
                yield self.read(shards[number])

        signature = (
            tf.TensorSpec([None, *self.map_shape], tf.float32),
            tf.TensorSpec([None, self.theta.shape[1]], tf.float32),
        )
        found = tf.data.Dataset.from_generator(generate, output_signature=signature).unbatch()
        found = found.apply(tf.data.experimental.assert_cardinality(len(members)))
        if shuffle_seed is not None:
            found = found.shuffle(4 * max(map(len, shards)), seed=shuffle_seed)
        return found.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def sequence(
        self,
        split: str | None = None,
        batch_size: int = 32,
        shuffle_seed: int | None = None,
        **options: Any,
    ) -> keras.utils.PyDataset:
        """The same batches as a `keras.utils.PyDataset`, for any backend of Keras.

        Args:
            split: Name of a split; None for all maps.
            batch_size: Maps in a batch.
            shuffle_seed: Seed of an order that is another one in every epoch; None for the order
                of the files.
            **options: Of `keras.utils.PyDataset`, such as workers.

        Returns:
            The batches.

        Raises:
            ValueError: If the split is unknown or empty, or `batch_size` is not positive.
        """
        members = self._checked(split, batch_size)
        return _Sequence(self, members, batch_size, shuffle_seed, **options)

    def _checked(self, split: str | None, batch_size: int) -> np.ndarray:
        checks.positive_integers(batch_size=batch_size)
        members = self.members(split)
        checks.require(len(members) > 0, "split", "hold maps", split)
        return members


class _Sequence(keras.utils.PyDataset):
    """Batches by their number."""

    def __init__(
        self,
        maps: MapDataset,
        members: np.ndarray,
        batch_size: int,
        shuffle_seed: int | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._maps, self._members, self._batch_size = maps, members, batch_size
        self._random = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._members) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        start = number * self._batch_size
        return self._maps.read(self._members[start : start + self._batch_size])

    def on_epoch_end(self) -> None:
        """Another order."""
        if self._random is not None:
            self._random.shuffle(self._members)


def _header(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], tuple[str, ...]]:
    """Parameters, numbers, shape of a map and names of the parameters of a shard."""
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        theta = file["theta"]
        names = tuple(json.loads(theta.attrs["names"]))
        return theta[:], file["index"][:], file["convergence"].shape[1:], names


def _field_size(path: pathlib.Path) -> float:
    """Side of the field of a shard (degrees), as it was asked for or by default."""
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        options = json.loads(file.attrs["identity"])["options"]
    default = inspect.signature(convergence_maps).parameters["field_size_deg"].default
    return float(options.get("field_size_deg", default))
