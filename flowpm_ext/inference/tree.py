"""One step of the no-U-turn sampler: a trajectory that doubles until it turns round.

The tree of doublings is walked leaf by leaf. Of every balanced subtree that is still open, the
first leaf is remembered, so that log2 of the leaves is all the memory it takes; chains grow their
trees side by side, each at its own depth.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core.seeds import fold, standard_normal, standard_uniform
from flowpm_ext.inference.trajectory import MAX_ENERGY, ChainState, LogProb, evaluated, kinetic


class Point(NamedTuple):
    """An end of trajectories."""

    x: tf.Tensor  # [num_chains, size]
    p: tf.Tensor  # [num_chains, size], momentum
    gradient: tf.Tensor  # [num_chains, size]


class Tree(NamedTuple):
    """Trajectories as they grow. The first axis is of chains everywhere."""

    is_growing: tf.Tensor  # [num_chains]
    depth: tf.Tensor  # doublings that are over
    leaf: tf.Tensor  # of the present doubling
    sign: tf.Tensor  # of time in it
    edge: Point  # where it is
    left: Point  # ends of all doublings that are over
    right: Point
    drawn: ChainState  # a state out of these
    log_weight: tf.Tensor  # of these, in units of that of the start
    candidate: ChainState  # a state out of the present doubling
    log_candidate: tf.Tensor  # weight of the present doubling
    marks: tuple[tf.Tensor, tf.Tensor]  # first leaves (x, p) of open subtrees, [.., depth, size]
    acceptance: tf.Tensor  # sum over leaves
    num_leaves: tf.Tensor
    is_divergent: tf.Tensor


class TreeStep(NamedTuple):
    """Chains after a step, and how it went."""

    chain: ChainState
    acceptance: tf.Tensor  # [num_chains], mean over the tree
    num_leaps: tf.Tensor  # of the longest tree
    num_leaves: tf.Tensor  # [num_chains]
    is_divergent: tf.Tensor  # [num_chains]


def tree_step(
    log_prob: LogProb,
    max_depth: int,
    now: ChainState,
    step_size: tf.Tensor,
    seed: tf.Tensor,
    args: tuple,
) -> TreeStep:
    """A draw of every chain from trajectories through where it is.

    States are drawn by their weight, later doublings preferred (multinomial sampling).

    Args:
        log_prob: Function of x [num_chains, size], and of `args`, that gives [num_chains].
        max_depth: Doublings at the most.
        now: Where chains are.
        step_size: Of the integrator, a scalar or [num_chains, 1].
        seed: A stateless seed of shape [2].
        args: More arguments of the function.

    Returns:
        `TreeStep`.
    """
    num_chains, dtype = now.x.shape[0], now.x.dtype
    signs, merges = (
        standard_uniform([num_chains, max_depth + 1], fold(seed, number), dtype)
        for number in (1, 2)
    )
    signs = tf.where(signs < 0.5, -tf.ones_like(signs), tf.ones_like(signs))
    log_merges, leaf_seed = tf.math.log(merges), fold(seed, 3)
    first = _seedling(now, standard_normal(now.x.shape, fold(seed, 0), dtype), signs, max_depth)
    energy = now.log_prob - kinetic(first.edge.p)

    def grow(i: tf.Tensor, tree: Tree) -> tuple[tf.Tensor, Tree]:
        uniform = standard_uniform([num_chains], leaf_seed + tf.stack([0, i]), dtype)
        grown, is_whole = _with_leaf(log_prob, tree, energy, step_size, tf.math.log(uniform), args)
        grown = _doubled(grown, is_whole, signs, log_merges, max_depth)
        return i + 1, choose(tree.is_growing, grown, tree)

    num_leaps, tree = tf.while_loop(
        lambda _, tree: tf.reduce_any(tree.is_growing), grow, (tf.constant(0), first)
    )
    acceptance = tree.acceptance / tf.cast(tree.num_leaves, dtype)
    return TreeStep(tree.drawn, acceptance, num_leaps, tree.num_leaves, tree.is_divergent)


def choose(mask: tf.Tensor, new: tuple, old: tuple) -> tuple:
    """Structures of tensors [num_chains, ...], new where the mask [num_chains] says so.

    Args:
        mask: Shape [num_chains].
        new: A structure.
        old: Another of the same shapes.

    Returns:
        The structure.
    """

    def one(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(mask, [-1] + [1] * (a.shape.rank - 1)), a, b)

    return tf.nest.map_structure(one, new, old)


def _seedling(now: ChainState, p: tf.Tensor, signs: tf.Tensor, max_depth: int) -> Tree:
    """The tree of one leaf, where the chain is."""
    num_chains, size = now.x.shape
    zero, none = tf.zeros([num_chains], now.x.dtype), tf.zeros([num_chains], tf.int32)
    # An empty score has no axis of chains.
    now = now._replace(score=tf.zeros([num_chains, 0], now.x.dtype))
    here = Point(now.x, p, now.gradient)
    marks = tf.zeros([num_chains, max_depth, size], now.x.dtype)
    return Tree(
        none == 0, none, none, signs[:, 0], here, here, here, now, zero, now, zero - np.inf,
        (marks, marks), zero, none, none > 0,
    )  # fmt: skip


def _with_leaf(
    log_prob: LogProb, tree: Tree, energy: tf.Tensor, step_size: tf.Tensor, log_uniform: tf.Tensor,
    args: tuple,
) -> tuple[Tree, tf.Tensor]:  # fmt: skip
    """Trees with one more leaf, and whether that makes their doubling whole."""
    size = tree.sign[:, None] * step_size
    p = tree.edge.p + 0.5 * size * tree.edge.gradient
    at = evaluated(log_prob, None, tree.edge.x + size * p, args)
    at = at._replace(score=tree.candidate.score)
    p += 0.5 * size * at.gradient
    gain = _gain(at, p, energy)
    is_followed = gain > -MAX_ENERGY  # not where it is no number
    gain = tf.where(is_followed, gain, tf.cast(-np.inf, gain.dtype))
    log_candidate = tf.reduce_logsumexp(tf.stack([tree.log_candidate, gain]), axis=0)
    candidate = choose(log_uniform <= gain - log_candidate, at, tree.candidate)
    marks, has_turned = _turning(tree, at.x, p)
    leaf = tree.leaf + 1
    is_growing = is_followed & ~has_turned
    grown = tree._replace(
        is_growing=is_growing, leaf=leaf, edge=Point(at.x, p, at.gradient), candidate=candidate,
        log_candidate=log_candidate, marks=marks,
        acceptance=tree.acceptance + tf.exp(tf.minimum(gain, 0)), num_leaves=tree.num_leaves + 1,
        is_divergent=~is_followed,
    )  # fmt: skip
    return grown, is_growing & (leaf == tf.bitwise.left_shift(1, tree.depth))


def _gain(at: ChainState, p: tf.Tensor, energy: tf.Tensor) -> tf.Tensor:
    """Logarithm of the weight of a leaf in units of that of the start, [num_chains]."""
    return at.log_prob - kinetic(p) - energy


def _turning(
    tree: Tree, x: tf.Tensor, p: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
    """First leaves of open subtrees, and whether one that ends at this leaf turns round.

    An even leaf is the first of subtrees, of which the largest is as deep as it has zeros at the
    end in base two; the leaf that many ones lead to ends as many subtrees.
    """
    max_depth = tree.marks[0].shape[1]
    number = np.arange(2**max_depth)
    bits = (number[:, None] >> np.arange(max_depth)) & 1
    place = tf.gather(tf.constant(bits[:, 1:].sum(axis=1), tf.int32), tree.leaf)[:, None]
    num_ended = tf.gather(
        tf.constant(np.cumprod(bits, axis=1).sum(axis=1), tf.int32), tree.leaf
    )[:, None]  # fmt: skip
    places = tf.range(max_depth)
    is_first = ((places == place) & (num_ended == 0))[..., None]
    marks = tuple(
        tf.where(is_first, new[:, None], old) for new, old in zip((x, p), tree.marks, strict=True)
    )
    is_turned = has_turned(tree.sign[:, None, None], *marks, x[:, None], p[:, None])
    is_ended = (places <= place) & (places > place - num_ended)
    return marks, tf.reduce_any(is_turned & is_ended, axis=1)


def has_turned(
    sign: tf.Tensor | float, x: tf.Tensor, p: tf.Tensor, x_end: tf.Tensor, p_end: tf.Tensor
) -> tf.Tensor:
    """Whether going on at one of two ends would bring them nearer to each other.

    Args:
        sign: Of time from the first to the second.
        x: The first, shape [..., size].
        p: Momentum there.
        x_end: The second, shape [..., size].
        p_end: Momentum there.

    Returns:
        Shape [...].
    """
    way = sign * (x_end - x)
    ends = [tf.reduce_sum(way * momentum, axis=-1) <= 0 for momentum in (p, p_end)]
    return ends[0] | ends[1]


def _doubled(
    tree: Tree, is_whole: tf.Tensor, signs: tf.Tensor, log_merges: tf.Tensor, max_depth: int
) -> Tree:
    """Trees with their doubling over, where it is whole, and the next one begun."""
    is_drawn = tf.gather(log_merges, tree.depth, batch_dims=1) < (
        tree.log_candidate - tree.log_weight
    )
    drawn = choose(is_whole & is_drawn, tree.candidate, tree.drawn)
    log_weight = tf.reduce_logsumexp(tf.stack([tree.log_weight, tree.log_candidate]), axis=0)
    left = choose(is_whole & (tree.sign < 0), tree.edge, tree.left)
    right = choose(is_whole & (tree.sign > 0), tree.edge, tree.right)
    turned = has_turned(1.0, left.x, left.p, right.x, right.p)
    depth = tree.depth + tf.cast(is_whole, tf.int32)
    is_over = is_whole & (turned | (depth == max_depth))
    sign = tf.gather(signs, depth, batch_dims=1)
    edge = choose(is_whole, choose(sign > 0, right, left), tree.edge)
    return tree._replace(
        is_growing=tree.is_growing & ~is_over, depth=depth, sign=sign, edge=edge, left=left,
        right=right, drawn=drawn, log_weight=tf.where(is_whole, log_weight, tree.log_weight),
        leaf=tf.where(is_whole, tf.zeros_like(tree.leaf), tree.leaf),
        log_candidate=tf.where(
            is_whole, tf.cast(-np.inf, log_weight.dtype), tree.log_candidate
        ),
    )  # fmt: skip
