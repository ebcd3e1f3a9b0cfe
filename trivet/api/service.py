"""What routes of every dialect share between body and answer: model names, counts, deadlines, and the calls themselves.

`embed` and `predict` are the calls behind every route that embeds or classifies; `trivet.api.ranking` has the one
behind every rerank route.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from trivet.api.answers import route_headers
from trivet.api.cost import Cost
from trivet.api.options import CallOptions
from trivet.api.settings import ApiSettings
from trivet.config import Task
from trivet.dispatch.concurrency import bounded_as_completed
from trivet.dispatch.protocol import Dispatcher, Routed, ServiceInfo
from trivet.errors import DeadlineExceeded, InvalidInput
from trivet.messages import (
    EmbedRequest,
    EmbedResult,
    LongInput,
    ModelCard,
    PairText,
    PredictRequest,
    PredictResult,
    Request,
    ResultT,
)
from trivet.prompts import named_prompt, prompt_for_type

UNSPECIFIED = frozenset({"", "default/not-specified"})
"""Names that mean "yours"; the second is what infinity's client sends by default."""


def find_card(cards: Iterable[ModelCard], task: Task, asked: str | None, aliases: Mapping[str, str]) -> ModelCard:
    """Return the card of the task's model, provided that `asked` names it or nothing.

    Raises:
        InvalidInput: code `model_not_found`; the message names what is served.
    """
    cards = list(cards)
    card = next(card for card in cards if card.task == task)
    if asked is None or asked in UNSPECIFIED or _is_named(card, asked, aliases):
        return card
    raise _not_found(asked, cards, f" as {task}", task)


def find_by_name(cards: Iterable[ModelCard], asked: str, aliases: Mapping[str, str]) -> ModelCard:
    """Return the card that `asked` names, whatever its task; InvalidInput (`model_not_found`) if there is none."""
    cards = list(cards)
    for card in cards:
        if _is_named(card, asked, aliases):
            return card
    raise _not_found(asked, cards, "", "embedder")


def _is_named(card: ModelCard, asked: str, aliases: Mapping[str, str]) -> bool:
    asked = asked.casefold()
    meant = next((name for alias, name in aliases.items() if alias.casefold() == asked), asked).casefold()
    served = card.name.casefold()
    return meant in (served, served.rpartition("/")[2], card.task)


def _not_found(asked: str, cards: Iterable[ModelCard], role: str, task: Task) -> InvalidInput:
    asked = asked[:_LONGEST_NAME]
    served = ", ".join(f"{card.task} {card.name!r}" for card in cards)
    return InvalidInput(
        f"the model {asked!r} is not served here{role}; served are {served}. Send one of these names or tasks, leave "
        f"`model` out, or accept the name in serve_config.yaml: `api.model_aliases: {{{asked}: {task}}}`, or "
        "`api.common_model_names: true` for the usual ones",
        field="model",
        code="model_not_found",
    )


_LONGEST_NAME = 200
"""Of a name that a message repeats."""

T = TypeVar("T")


class Service:
    """The models and settings that routes use."""

    def __init__(self, dispatcher: Dispatcher, info: ServiceInfo, settings: ApiSettings) -> None:
        self.dispatcher = dispatcher
        self.info = info
        self.settings = settings

    async def card(self, task: Task, asked: str | None = None) -> ModelCard:
        """Return the model of this task; InvalidInput (`model_not_found`) if the caller asked for another one."""
        return find_card(await self.info.models(), task, asked, self.settings.model_aliases)

    def check_count(self, count: int, field: str) -> None:
        """Refuse more inputs than one request may have."""
        limit = self.settings.max_inputs
        if count > limit:
            raise InvalidInput(
                f"{field} has {count} entries; the limit is {limit}", field=field, code="too_many_inputs"
            )

    def check_cost(self, cost: Cost, field: str) -> None:
        """Refuse a request that expands to more than one may."""
        self.settings.expansion.check(cost, field)

    def timeout_s(self, options: CallOptions) -> float:
        """Return the deadline of a request, from its start."""
        return options.timeout_s or self.settings.request_timeout_s

    async def call(self, request: Request[ResultT], options: CallOptions) -> Routed[ResultT]:
        """Call the dispatcher under the request's deadline."""
        return await self.in_time(self.dispatcher.call(request), self.timeout_s(options))

    async def in_time(self, work: Awaitable[T], timeout_s: float) -> T:
        """Await work; DeadlineExceeded after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None

    async def all(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run calls, a bounded number at a time; results in the calls' order. The first error cancels the others."""
        results = {index: result async for index, result in bounded_as_completed(calls, self.settings.parallel_calls)}
        return [results[index] for index in range(len(calls))]


def check_dimensions(service: Service, card: ModelCard, request: EmbedRequest) -> None:
    """Refuse vectors of a size for which the model was not trained, where the settings say so."""
    if service.settings.untrained_dimensions == "refuse" and _is_untrained(card, request.dimensions):
        known = ", ".join(map(str, card.trained_dimensions)) or "none below its full size"
        raise InvalidInput(
            f"{card.name} is not known to be trained for {request.dimensions} dimensions: its files and the "
            f"configuration (embedder.dimensions) name {known}. Leave `dimensions` out for all {card.dimensions}",
            field="dimensions",
            code="untrained_dimensions",
        )


def embed_notes(card: ModelCard, request: EmbedRequest) -> dict[str, str]:
    """Headers about what a caller may have expected otherwise.

    `x-trivet-prompt`, where the caller states a kind of text or a prompt: the name of the prompt that was prepended,
    `none`, or `instruction` where the caller gave one. `x-trivet-dimensions`: `untrained` where vectors were cut to a
    size for which the model is not known to be trained.
    """
    notes = {}
    if request.instruction is not None:
        notes["x-trivet-prompt"] = "instruction"
    elif request.prompt_name or request.input_type:
        used = (
            named_prompt(card.prompts, request.prompt_name)
            if request.prompt_name
            else prompt_for_type(card.prompts, card.default_prompt_name, request.input_type)
        )
        notes["x-trivet-prompt"] = "none" if used is None else used.encode("ascii", "replace").decode()
    if _is_untrained(card, request.dimensions):
        notes["x-trivet-dimensions"] = "untrained"
    return notes


async def embed(
    service: Service, request: EmbedRequest, options: CallOptions, *, model: str | None = None
) -> tuple[ModelCard, Routed[EmbedResult], Mapping[str, str]]:
    """Embed a request's texts.

    Returns:
        The model's card, the result, and the headers of the answer.
    """
    service.check_count(len(request.texts), request.inputs_field)
    card = await service.card("embedder", model)
    check_dimensions(service, card, request)
    routed = await service.call(request, options)
    return card, routed, route_headers([routed]) | embed_notes(card, request)


def _is_untrained(card: ModelCard, dimensions: int | None) -> bool:
    full = card.dimensions
    return bool(dimensions and full and dimensions < full and dimensions not in card.trained_dimensions)


async def predict(
    service: Service,
    inputs: Sequence[PairText],
    options: CallOptions,
    *,
    field: str,
    model: str | None = None,
    long_input: LongInput | None = None,
) -> tuple[ModelCard, Routed[PredictResult]]:
    """Judge texts or pairs by the classes of the classifier; `field` is the caller's name of the inputs."""
    service.check_count(len(inputs), field)
    card = await service.card("classifier", model)
    request = PredictRequest(
        tuple(inputs),
        long_input=long_input or options.long_input,
        priority=options.priority,
        no_store=options.no_store,
        inputs_field=field,
    )
    return card, await service.call(request, options)
