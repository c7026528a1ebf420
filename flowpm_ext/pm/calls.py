"""Public calls that begin with a cosmology, and say how they are made when made wrongly."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flowpm_ext.cosmology.parameters import Cosmology


def takes_cosmology(call: str) -> Callable[[Callable], Callable]:
    """Decorator: arguments that do not fit, or no cosmology first, are answered with the call.

    Args:
        call: The call as it should be written.

    Returns:
        A decorator. The function then raises TypeError, in one line that shows the call.
    """

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                message = f"`{function.__name__}` must be called as {call}. Received: {error}."
                raise TypeError(message) from None
            first = next(iter(bound.arguments.values()))
            if not isinstance(first, Cosmology):
                raise TypeError(
                    f"`cosmo` must be a Cosmology. Received: {type(first).__name__}. "
                    f"The call is {call}."
                )
            return function(*args, **kwargs)

        return checked

    return decorate
