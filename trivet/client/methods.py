"""Turns the functions in `calls` into methods of both clients, without repeating their signatures."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from trivet.client.calls import AnswerT, Call

P = ParamSpec("P")


class Sender(Protocol):
    """A blocking client."""

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send one call and return its answer."""


class AsyncSender(Protocol):
    """An asynchronous client."""

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send one call and return its answer."""


def method(build: Callable[P, Call[AnswerT]]) -> Callable[Concatenate[Sender, P], AnswerT]:
    """Make a method that builds a call and sends it."""

    def call_and_wait(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return self.send(build(*args, **kwargs))

    return _described(call_and_wait, build)


def async_method(
    build: Callable[P, Call[AnswerT]],
) -> Callable[Concatenate[AsyncSender, P], Coroutine[Any, Any, AnswerT]]:
    """Make a coroutine method that builds a call and sends it."""

    async def call(self: AsyncSender, /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return await self.send(build(*args, **kwargs))

    return _described(call, build)


FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _described(made: FunctionT, build: Callable[..., Any]) -> FunctionT:
    """Copy name, docstring and signature for `help()`, and add `self` to the signature (`functools.wraps` would
    not)."""
    functools.update_wrapper(made, build)
    parameters = inspect.signature(build).parameters.values()
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    answer = inspect.signature(build).return_annotation.__args__[0]
    vars(made)["__signature__"] = inspect.Signature([own, *parameters], return_annotation=answer)
    return made
