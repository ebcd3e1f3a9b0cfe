"""The embed call behind every embedding route, whatever the shape of its body and answer."""

from collections.abc import Mapping

from trivet.api.answers import route_headers
from trivet.api.options import CallOptions
from trivet.api.service import Service
from trivet.dispatch.protocol import Routed
from trivet.errors import InvalidInput
from trivet.messages import EmbedRequest, EmbedResult, ModelCard
from trivet.prompts import named_prompt, prompt_for_type


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
