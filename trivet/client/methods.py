"""Makes methods out of the functions in `calls`, so that both clients have each of them without a second signature."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from trivet.client.calls import AnswerT, Call

P = ParamSpec("P")


class Sender(Protocol):
    """A blocking client."""

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send one call."""


class AsyncSender(Protocol):
    """One that does not block."""

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send one call."""


def method(build: Callable[P, Call[AnswerT]]) -> Callable[Concatenate[Sender, P], AnswerT]:
    """A method that builds the call and sends it."""

    def call_and_wait(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return self.send(build(*args, **kwargs))

    return _described(call_and_wait, build)


def async_method(
    build: Callable[P, Call[AnswerT]],
) -> Callable[Concatenate[AsyncSender, P], Coroutine[Any, Any, AnswerT]]:
    """The same as a coroutine."""

    async def call(self: AsyncSender, /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return await self.send(build(*args, **kwargs))

    return _described(call, build)


FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _described(made: FunctionT, build: Callable[..., Any]) -> FunctionT:
    """Name, docstring and signature for `help()`; the signature with `self`, which `functools.wraps` would lose."""
    functools.update_wrapper(made, build)
    parameters = inspect.signature(build).parameters.values()
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    answer = inspect.signature(build).return_annotation.__args__[0]
    vars(made)["__signature__"] = inspect.Signature([own, *parameters], return_annotation=answer)
    return made
