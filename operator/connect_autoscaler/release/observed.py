"""Tell of each call of helm: what it was, how it ended, and how long it took."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm_errors import HelmError

Observer = Callable[[str, str, float], None]
"""Told of an operation, its result (`SUCCEEDED` or a reason), and its seconds."""
SUCCEEDED: Final = "Succeeded"

P = ParamSpec("P")
T = TypeVar("T")


class Observable(Protocol):
    """Whose methods tell."""

    observe: Observer


S = TypeVar("S", bound=Observable)


def observed(
    operation: str,
) -> Callable[[Callable[Concatenate[S, P], Awaitable[T]]], Callable[Concatenate[S, P], Awaitable[T]]]:
    """Make a method tell of its calls.

    Args:
        operation: What it is called there.
    """

    def decorate(method: Callable[Concatenate[S, P], Awaitable[T]]) -> Callable[Concatenate[S, P], Awaitable[T]]:
        @functools.wraps(method)
        async def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            began, result = time.monotonic(), SUCCEEDED
            try:
                return await method(self, *args, **kwargs)
            except HelmError as error:
                result = error.reason
                raise
            except asyncio.CancelledError:
                result = Reason.CANCELLED
                raise
            finally:
                self.observe(operation, result, time.monotonic() - began)

        return wrapper

    return decorate
