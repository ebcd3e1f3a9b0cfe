"""Types of fields that take what clients of several dialects send: kinds of texts, flags, documents."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from trivet.api.dialect import TAG_PREFIX
from trivet.messages import InputType

MaybeEmptyText = Annotated[str, Field(min_length=0)]
"""Any text. The constraint makes pydantic check it for lone surrogates."""


def _as_flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(_as_flag, json_schema_input_type=bool | Literal["true", "false"])]
"""A boolean, or its name, which clients in some languages send."""

_KINDS: dict[str, InputType | None] = {
    "query": "query",
    "search_query": "query",  # Cohere
    "retrieval.query": "query",  # Jina
    "document": "document",
    "passage": "document",  # NVIDIA
    "search_document": "document",
    "retrieval.passage": "document",
    # Neither a query nor a document: no prompt belongs to them.
    "classification": None,
    "clustering": None,
    "separation": None,
    "text-matching": None,
}


def _as_kind(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str) and value in _KINDS:
        return _KINDS[value]
    raise PydanticCustomError("input_type", f"must be one of {', '.join(_KINDS)}")


TextKind = Annotated[
    InputType | None,
    BeforeValidator(_as_kind),
    WithJsonSchema({"type": "string", "enum": [*_KINDS]}, mode="validation"),
]
"""What the texts to embed are for, in the words of several APIs. It selects the model's prompt."""


def _kind_of_value(value: Any) -> str:
    return f"{TAG_PREFIX}text" if isinstance(value, str) else f"{TAG_PREFIX}other"


def _writable(value: Any) -> Any:
    """Refuse what could not be returned with the document: lone surrogates, and nesting without end."""
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise PydanticCustomError("document_field", "cannot be written as JSON: {why}", {"why": str(error)}) from error
    return value


_FieldValue = Annotated[
    Annotated[MaybeEmptyText, Tag(f"{TAG_PREFIX}text")]
    | Annotated[Any, AfterValidator(_writable), Tag(f"{TAG_PREFIX}other")],
    Discriminator(_kind_of_value),
]


def _has_text(document: dict[str, Any]) -> dict[str, Any]:
    if not any(isinstance(value, str) and value for value in document.values()):
        raise PydanticCustomError("document_without_text", "the document has no text in any field")
    return document


DocumentObject = Annotated[
    dict[MaybeEmptyText, _FieldValue],
    AfterValidator(_has_text),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1}},
            "required": ["text"],
            "additionalProperties": True,
        },
        mode="validation",
    ),
]
"""A document with fields: at least one is a text that is not empty, and others may be anything."""


def _kind_of_document(document: Any) -> str:
    return f"{TAG_PREFIX}object" if isinstance(document, dict) else f"{TAG_PREFIX}text"


_Object = Annotated[DocumentObject, Tag(f"{TAG_PREFIX}object")]

Document = Annotated[
    Annotated[str, Field(min_length=1), Tag(f"{TAG_PREFIX}text")] | _Object, Discriminator(_kind_of_document)
]
"""A text that is not empty, or an object."""

MaybeEmptyDocument = Annotated[
    Annotated[MaybeEmptyText, Tag(f"{TAG_PREFIX}text")] | _Object, Discriminator(_kind_of_document)
]
"""The same for dialects whose servers score an empty text like any other."""

Documents = Annotated[list[Document], Field(min_length=1, fail_fast=True)]
"""At least one. Validation stops at the first wrong one, or a list of a million would become a million errors."""

MaybeEmptyDocuments = Annotated[list[MaybeEmptyDocument], Field(min_length=1, fail_fast=True)]


def read_documents(documents: Sequence[str | Mapping[str, Any]], rank_fields: Sequence[str] | None = None) -> list[str]:
    """Return the text of each document that the model reads.

    Of an object these are the `rank_fields`, else `text`, else all fields that hold text. A single field is read
    unchanged, several as `name: value` lines.
    """
    return [
        document if isinstance(document, str) else _read(document, rank_fields or ("text",)) for document in documents
    ]


def _read(document: Mapping[str, Any], wanted: Sequence[str]) -> str:
    filled = {name: value for name, value in document.items() if isinstance(value, str) and value}
    names = [name for name in dict.fromkeys(wanted) if name in filled] or list(filled)
    if len(names) == 1:
        return filled[names[0]]
    return "\n".join(f"{name}: {filled[name]}" for name in names)
