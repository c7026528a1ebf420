"""Optimisers whose steps become shorter."""

import keras


def decaying_adam(
    learning_rate: float, num_steps: int, last: float = 0.01
) -> keras.optimizers.Optimizer:
    """Adam, with steps that fall along half a cosine.

    Args:
        learning_rate: The first.
        num_steps: Updates.
        last: Part of it that is left after them.

    Returns:
        The optimiser.

    References:
        Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2017, arXiv:1608.03983.
    """
    decay = keras.optimizers.schedules.CosineDecay(learning_rate, num_steps, alpha=last)
    return keras.optimizers.Adam(decay)
