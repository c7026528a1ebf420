"""Densities that were trained side by side, and speak as one."""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator, integer_seed
from flowpm_ext.core.types import TensorLike
from flowpm_ext.nn import WeightAverage, seeded_layers, shuffled_batches
from lfi.density import ConditionalDensity
from lfi.member_files import MemberFiles
from lfi.scored import ScoreTraining

Callbacks = Sequence[keras.callbacks.Callback] | Callable[[int], Sequence[keras.callbacks.Callback]]
# Sharp densities want little, those that few simulations tell of want much; the weights of the
# members say which it is.
WEIGHT_DECAYS = (0.03, 0.3, 1.0)
AVERAGING = 0.99  # of weights over updates: by their noise members lose the most
# Before training ends: where an epoch has few, averages of weights stand still for many epochs.
LEAST_UPDATES = 500
LEAST_WEIGHT = 1e-3  # of a member that is kept
CHUNK = 1000  # pairs whose log density is asked for at a time


class Ensemble:
    """A weighted mixture of conditional densities of the same thing.

    Members are trained on one split of the data, and weighted so that the part that was held out
    is most probable under their mixture.

    Args:
        members: The densities.

    Raises:
        ValueError: If there are none.
    """

    def __init__(self, members: Sequence[ConditionalDensity]) -> None:
        checks.require(len(members) > 0, "members", "hold a density", members)
        self.members = list(members)
        self.weights = np.full(len(members), 1 / len(members))
        self.histories: list[dict[str, list[float]]] = []

    def fit(
        self,
        context: TensorLike,
        y: TensorLike,
        epochs: int = 300,
        batch_size: int = 100,
        validation_split: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float | Sequence[float] = WEIGHT_DECAYS,
        patience: int = 20,
        callbacks: Callbacks | None = None,
        seed: int = 0,
        verbose: int = 1,
        score: tuple[str, TensorLike] | None = None,
        score_weight: float = 1.0,
        checkpoint: str | os.PathLike | None = None,
    ) -> "Ensemble":
        """Train all members until what was held out gets no more probable.

        The learning rate falls when that stands still. Weights are averaged over up to a
        hundred updates, and of these averages the best are kept.

        Args:
            context: Shape [num, ...].
            y: Shape [num, num_dims].
            epochs: At the most.
            batch_size: Pairs in each update.
            validation_split: Part that is held out, the same for all members.
            learning_rate: The first one.
            weight_decay: Part of each weight that an update takes away, times the learning rate;
                several go round among the members.
            patience: Epochs without improvement before training ends; more where they have fewer
                than 500 updates.
            callbacks: More of Keras, for all members; or a function that gives those of the
                member of a number.
            seed: Of the split and the order of pairs.
            verbose: 1 for progress bars, 2 for a line per epoch, 0 for silence.
            score: Slopes of the log density to train by, [num, num_parameters], after the name of
                what they are slopes in, "context" or "y"; see `lfi.scored.ScoreTraining`.
            score_weight: Of the error of the slopes.
            checkpoint: Folder where trained members are kept. A later call with the same data and
                options goes on from there; with others it starts anew.

        Returns:
            The ensemble. Members whose training failed get no weight, with a warning.

        Raises:
            ValueError: If lengths differ, a value is not finite, too little is left to train, or
                no member gives finite densities of what was held out.
        """
        context, y = (np.asarray(part, np.float32) for part in (context, y))
        checks.require(len(context) == len(y), "y", f"be as many as contexts, {len(context)}", y)
        checks.positive_integers(epochs=epochs, batch_size=batch_size, patience=patience)
        checks.in_range(validation_split, "validation_split", 0.01, 0.9)
        checks.finite(context, "context")
        checks.finite(y, "y")
        decays = np.atleast_1d(weight_decay)
        checks.non_negative(decays, "weight_decay")
        slopes = None if score is None else _checked_slopes(score[1], len(y))
        num_held = max(1, round(validation_split * len(y)))
        enough = len(y) - num_held > y.shape[1]
        checks.require(enough, "y", f"be more than {y.shape[1]} to train on", len(y) - num_held)
        order = np.random.default_rng(seed).permutation(len(y))
        held, kept = order[:num_held], order[num_held:]
        batch_size = min(batch_size, len(kept))
        patience = max(patience, math.ceil(LEAST_UPDATES * batch_size / len(kept)))
        options = (epochs, batch_size, validation_split, learning_rate, decays.tolist(), patience,
                   seed, score and score[0], score_weight)  # fmt: skip
        folder = None
        if checkpoint is not None:
            folder = MemberFiles(checkpoint, [context, y, slopes], options, self.members)
        self.histories = []
        for number, member in enumerate(self.members):
            history = folder.restored(number, member) if folder else None
            if history is None:
                member.adapt(context[kept], y[kept])
                trained, inputs = member, context
                if score is not None:
                    trained = ScoreTraining(member, score[0], slopes[kept], score_weight)
                    inputs = {"context": context, "score": slopes}
                decay = float(decays[number % len(decays)])
                trained.compile(keras.optimizers.AdamW(learning_rate, decay, clipnorm=5.0))
                more = callbacks(number) if callable(callbacks) else callbacks
                batches, per_epoch = shuffled_batches(
                    _rows((inputs, y), kept), batch_size, fold(seed, number)
                )
                with seeded_layers(integer_seed(seed, number)):
                    history = trained.fit(
                        batches, steps_per_epoch=per_epoch, shuffle=False, epochs=epochs,
                        validation_data=_rows((inputs, y), held),
                        validation_batch_size=batch_size, verbose=verbose,
                        callbacks=[*_callbacks(patience), *(more or ())],
                    ).history  # fmt: skip
                if folder:
                    folder.keep(number, member, history)
            self.histories.append(history)
        held_out = tf.stack([_log_prob(one, context[held], y[held]) for one in self.members])
        self.weights = _weights(held_out.numpy())
        return self

    def log_prob(self, y: TensorLike, context: TensorLike) -> tf.Tensor:
        """Log density of the mixture.

        Args:
            y: Shape [batch, num_dims].
            context: Shape [batch, ...].

        Returns:
            Shape [batch].

        References:
            Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474.
        """
        return self._mixed(y, context, lambda one, y, context: one.log_prob(y, context))

    def log_prob_of_each(self, y: TensorLike, context: TensorLike) -> tf.Tensor:
        """Log density of the mixture for several values to each context.

        Args:
            y: Shape [num * batch, num_dims], one value for each context, then the next for each.
            context: Shape [batch, ...].

        Returns:
            Shape [num * batch].

        References:
            Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474.
        """
        return self._mixed(y, context, lambda one, y, context: one.log_prob_of_each(y, context))

    def _mixed(self, y: TensorLike, context: TensorLike, log_prob: Callable) -> tf.Tensor:
        each = [
            log_prob(member, y, context) + np.log(weight).astype(np.float32)
            for member, weight in zip(self.members, self.weights, strict=True)
            if weight
        ]
        return tf.reduce_logsumexp(tf.stack(each), axis=0)

    def sample(self, num: int, context: TensorLike, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Draws of the mixture for each context.

        Args:
            num: Draws for each.
            context: Shape [batch, ...].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, batch, num_dims], in random order.

        Raises:
            ValueError: If `num` is not a positive integer.

        References:
            Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474.
        """
        checks.positive_integers(num=num)
        rng = generator(fold(seed, 0))
        counts = rng.multinomial(num, self.weights)
        parts = [
            member.sample(int(count), context, fold(seed, number + 1))
            for number, (member, count) in enumerate(zip(self.members, counts, strict=True))
            if count
        ]
        return tf.gather(tf.concat(parts, axis=0), rng.permutation(num))


def stacking_weights(log_prob: TensorLike, num_rounds: int = 200) -> np.ndarray:
    """Weights under which a mixture makes data most probable.

    They are found by expectation maximisation. Members that add less than one part in a thousand
    are left out, and so cost nothing.

    Args:
        log_prob: Log densities of data under each member, [num_members, num].
        num_rounds: Of the maximisation.

    Returns:
        Weights that sum to one, [num_members].

    References:
        Yao et al. 2018, arXiv:1704.02030.
    """
    log_prob = np.asarray(log_prob, np.float64)
    part = np.exp(log_prob - log_prob.max(axis=0))
    weights = np.full(len(part), 1 / len(part))
    for _ in range(num_rounds):
        share = weights[:, None] * part
        weights = np.mean(share / share.sum(axis=0), axis=1)
    weights[weights < LEAST_WEIGHT] = 0
    return weights / weights.sum()


def _checked_slopes(slopes: TensorLike, num: int) -> np.ndarray:
    slopes = np.asarray(slopes, np.float32)
    fits = slopes.ndim == 2 and len(slopes) == num
    checks.require(fits, "scores", f"have {num} rows", slopes.shape)
    checks.finite(slopes, "scores")
    return slopes


def _weights(held_out: np.ndarray) -> np.ndarray:
    """Stacking weights of the members whose densities [num_members, num] are all finite."""
    is_fine = np.isfinite(held_out).all(axis=1)
    failed = np.flatnonzero(~is_fine).tolist()
    rule = "give finite densities of what was held out"
    fix = "Training failed: look at the data, or lower `learning_rate`."
    checks.require(bool(is_fine.any()), "members", rule, "none that does", fix)
    if failed:
        text = f"Members {failed} give no finite densities of what was held out, and are left out."
        warnings.warn(text, UserWarning, stacklevel=4)
    weights = np.zeros(len(held_out))
    weights[is_fine] = stacking_weights(held_out[is_fine])
    return weights


def _callbacks(patience: int) -> list[keras.callbacks.Callback]:
    return [
        # First: those that follow look at, and keep, averages of weights.
        WeightAverage(AVERAGING),
        keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(patience=max(1, patience // 3), factor=0.3),
        keras.callbacks.TerminateOnNaN(),
    ]


def _rows(parts: Any, rows: np.ndarray) -> Any:
    """Rows of an array, or of each array of a dictionary."""
    return tf.nest.map_structure(lambda part: part[rows], parts)


def _log_prob(member: ConditionalDensity, context: np.ndarray, y: np.ndarray) -> tf.Tensor:
    """Log density of many pairs, some at a time."""
    parts = [slice(first, first + CHUNK) for first in range(0, len(y), CHUNK)]
    return tf.concat([member.log_prob(y[part], context[part]) for part in parts], axis=0)
