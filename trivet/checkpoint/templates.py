"""Templates of rerankers that read a query and a document inside a prompt. Needs no model.

A checkpoint's own `chat_template.jinja` is one, where sentence-transformers' files say that pairs are messages. Older
rerankers keep theirs in a model card or a library; those are listed here by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.checkpoint.files import read_object
from trivet.errors import ModelError

QUERY, DOCUMENT = "{query}", "{document}"

TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The prompt around one pair, in parts that are tokenised one by one and laid end to end.

    A part is text in which `{query}` and `{document}` stand for the two texts. Each of them stands in exactly one part,
    and the query comes first.
    """

    parts: tuple[str, ...]
    begins_with_special_tokens: bool = False
    """Whether the tokens that the tokenizer puts in front of a text come first."""

    def texts(self, query: str, document: str) -> tuple[str, ...]:
        """Return the parts with both texts in their places."""
        return tuple(_filled(part, {QUERY: query, DOCUMENT: document}) for part in self.parts)

    def around(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the text before the query, between the two and after the document, each in its parts."""
        before: list[str] = []
        between: list[str] = []
        after: list[str] = []
        found = before
        for part in self.parts:
            for mark, following in ((QUERY, between), (DOCUMENT, after)):
                if mark in part:
                    text, part = part.split(mark)
                    found.append(text)
                    found = following
            found.append(part)
        return tuple(filter(None, before)), tuple(filter(None, between)), tuple(filter(None, after))


@dataclass(frozen=True, slots=True)
class KnownReranker:
    """A causal reranker whose template, and the words it answers with, are in no file."""

    template: PairTemplate
    yes: str
    """The word whose logit is the score."""
    no: str | None
    """The word whose logit is subtracted."""


KNOWN: Mapping[str, KnownReranker] = {
    # The usage in the card of Qwen/Qwen3-Reranker-0.6B.
    "qwen3-reranker": KnownReranker(
        PairTemplate(
            (
                "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
                'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
                "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
                f"<Query>: {QUERY}\n<Document>: {DOCUMENT}",
                "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            )
        ),
        "yes",
        "no",
    ),
    # mixedbread-ai/mxbai-rerank, mxbai_rerank_v2.py.
    "mxbai-rerank-v2": KnownReranker(
        PairTemplate(
            (
                "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
                "<|im_start|>user\n",
                f"query: {QUERY}",
                "\n",
                f"document: {DOCUMENT}",
                "\n",
                "You are a search relevance expert who evaluates how well documents match search queries. For each "
                "query-document pair, carefully analyze the semantic relationship between them, then provide your "
                "binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:",
                "<|im_end|>\n<|im_start|>assistant\n",
            )
        ),
        "1",
        "0",
    ),
    # The usage in the card of BAAI/bge-reranker-v2-gemma.
    "bge-reranker-v2-gemma": KnownReranker(
        PairTemplate(
            (
                f"A: {QUERY}",
                "\n",
                f"B: {DOCUMENT}",
                "\n",
                "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
                "providing a prediction of either 'Yes' or 'No'.",
            ),
            begins_with_special_tokens=True,
        ),
        "Yes",
        None,
    ),
}
"""By the name that the configuration gives; see `known_name`."""

_NAMES = {
    "qwen3-reranker-": "qwen3-reranker",
    "mxbai-rerank-base-v2": "mxbai-rerank-v2",
    "mxbai-rerank-large-v2": "mxbai-rerank-v2",
    "bge-reranker-v2-gemma": "bge-reranker-v2-gemma",
}
"""Beginnings of the last part of hub ids, in lower case."""


_LONG_PROBE = "word " * 10_000
"""A text for which a template may do something else than for a short one."""


def known_name(model_name: str) -> str | None:
    """Return the key in `KNOWN` for a hub id or a folder's name; None if it is no known reranker."""
    own = model_name.rpartition("/")[2].lower()
    return next((key for beginning, key in _NAMES.items() if own.startswith(beginning)), None)


def read_chat_template(model_dir: Path) -> PairTemplate:
    """Return what a checkpoint's chat template makes of a pair, as messages with the roles `query` and `document`.

    Raises:
        ModelError: there is no template, it cannot be rendered, or it does more with the texts than insert each once.
    """
    source = _template_source(model_dir)
    first, second = "\ue000query\ue000", "\ue001document\ue001"
    rendered = _render(model_dir, source, first, second)
    if rendered.count(first) != 1 or rendered.count(second) != 1 or rendered.index(first) > rendered.index(second):
        raise ModelError(f"{model_dir / TEMPLATE_FILE} does not insert the query once and then the document once")
    if QUERY in rendered or DOCUMENT in rendered:
        raise ModelError(f"{model_dir / TEMPLATE_FILE} contains the text {QUERY} or {DOCUMENT}")
    template = PairTemplate((rendered.replace(first, QUERY).replace(second, DOCUMENT),))
    for query, document in ((" a ", "\nb\n"), ("", "x"), ("<q>", '"d" & {document}'), (_LONG_PROBE, _LONG_PROBE)):
        if _render(model_dir, source, query, document) != template.texts(query, document)[0]:
            raise ModelError(f"{model_dir / TEMPLATE_FILE} changes the texts that it inserts, which is not supported")
    return template


def _template_source(model_dir: Path) -> str:
    file = model_dir / TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    stated = read_object(model_dir / "tokenizer_config.json").get("chat_template")
    if not isinstance(stated, str):
        raise ModelError(f"{file} is missing, which the message modality of its files needs")
    return stated


def _render(model_dir: Path, source: str, query: str, document: str) -> str:
    # Only rerankers with a template need jinja. The sandbox is the one in which transformers renders templates.
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    messages = [{"role": "query", "content": query}, {"role": "document", "content": document}]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    special = {
        name: _text_of(value)
        for name, value in read_object(model_dir / "tokenizer_config.json").items()
        if name.endswith("_token") and value is not None
    }
    try:
        return environment.from_string(source).render(messages=messages, add_generation_prompt=False, **special)
    except TemplateError as error:
        raise ModelError(f"{model_dir / TEMPLATE_FILE} cannot be rendered for a pair: {error}") from error


def _text_of(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _filled(part: str, texts: Mapping[str, str]) -> str:
    """Replace each mark once, without looking for marks in what has been inserted."""
    for mark, text in texts.items():
        if mark in part:
            before, after = part.split(mark)
            return _filled(before, texts) + text + _filled(after, texts)
    return part
