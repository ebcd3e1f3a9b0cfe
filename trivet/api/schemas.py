"""Request bodies of the native routes, with all validation that needs no configuration."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from trivet.api.cost import PLACE, Cost, classify_cost, filled_characters, relate_cost
from trivet.api.dialect import TAG_PREFIX
from trivet.api.fields import Flag, MaybeEmptyText, TextKind
from trivet.config import Output
from trivet.errors import InvalidInput
from trivet.messages import LongInput, PairText
from trivet.quantize import DEFAULT_TYPE, EmbeddingType
from trivet.relations.division import Document

Text = Annotated[str, Field(min_length=1)]

FilePath = Annotated[str, Field(min_length=1, max_length=4096)]

TextList = Annotated[list[Text], Field(min_length=1, fail_fast=True)]
"""At least one text. Validation stops at the first wrong item, or a list of a million would become a million errors."""

TOKEN_IDS_MESSAGE = (
    "token ids are not accepted: they belong to another model's vocabulary. Send text "
    "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)"
)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _as_texts(value: Any) -> Any:
    items = _as_list(value)
    if items and all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        raise PydanticCustomError("token_ids", TOKEN_IDS_MESSAGE)
    if any(isinstance(item, list) for item in items):
        nested = [inner for item in items if isinstance(item, list) for inner in item]
        if any(isinstance(inner, int) and not isinstance(inner, bool) for inner in nested):
            raise PydanticCustomError("token_ids", TOKEN_IDS_MESSAGE)
        raise PydanticCustomError("nested_texts", 'lists are nested; send one flat list of texts: ["a", "b"]')
    return items


Texts = Annotated[
    TextList,
    BeforeValidator(_as_texts, json_schema_input_type=Text | Annotated[list[Text], Field(min_length=1)]),
]
"""One text or several."""

MaybeEmptyTexts = Annotated[
    list[MaybeEmptyText],
    Field(min_length=1, fail_fast=True),
    BeforeValidator(
        _as_texts,
        json_schema_input_type=MaybeEmptyText | Annotated[list[MaybeEmptyText], Field(min_length=1)],
    ),
]
"""The same for dialects whose servers read an empty text like any other."""


def as_whole(value: Any) -> Any:
    """Return 3 for 3.0: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[PositiveInt, BeforeValidator(as_whole)]
"""At least 1. JSON has one kind of number: 3.0 is 3."""

CountOrZero = Annotated[NonNegativeInt, BeforeValidator(as_whole)]
"""The same, where 0 means all."""

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


EncodingFormat = Literal["float", "base64"] | None
"""litellm sends null for "float"."""


class EmbeddingsBody(BaseModel):
    """`POST /v1/embeddings`: the OpenAI shape. OpenAI's other fields, such as `user`, are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: Texts
    model: str | None = None
    encoding_format: EncodingFormat = "float"
    dimensions: Count | None = None
    input_type: TextKind = None
    long_input: LongInput | None = None
    instruction: Text | None = None
    """What the search is for: it replaces the task in the prompt for queries of models that were trained with one."""
    output: Output = "dense"
    """One vector of each text, weights by token id, or a vector of each token: what the model gives."""
    output_dtype: EmbeddingType = DEFAULT_TYPE
    """A smaller form of dense vectors. With `encoding_format: base64` its bytes are sent."""

    @field_validator("output_dtype")
    @classmethod
    def _forms_are_of_vectors(cls, value: EmbeddingType, info: ValidationInfo) -> EmbeddingType:
        if value != DEFAULT_TYPE and info.data.get("output", "dense") != "dense":
            raise PydanticCustomError(
                "output_dtype", "output_dtype is for dense vectors; with this output leave it out"
            )
        return value

    @model_validator(mode="after")
    def _base64_is_for_vectors(self) -> Self:
        if self.encoding_format == "base64" and self.output != "dense":
            raise PydanticCustomError(
                "encoding_format", "encoding_format base64 is for dense vectors; with this output leave it out"
            )
        return self


class PairBody(BaseModel):
    """A text to classify, alone or paired with a second one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Text
    text_pair: Text | None = None

    def to_message(self) -> PairText:
        """Convert it to a message."""
        return PairText(self.text, self.text_pair)


def _as_pairs(value: Any) -> Any:
    return [{"text": item} if isinstance(item, str) else item for item in _as_list(value)]


Pairs = Annotated[
    list[PairBody],
    Field(min_length=1, fail_fast=True),
    BeforeValidator(
        _as_pairs, json_schema_input_type=Text | PairBody | Annotated[list[Text | PairBody], Field(min_length=1)]
    ),
]

LabelName = Annotated[str, Field(min_length=1)]


def _as_label_map(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if not all(isinstance(label, str) for label in value):
        raise PydanticCustomError("label_type", "labels must be strings, or an object of label and hypothesis")
    if len(set(value)) != len(value):
        raise PydanticCustomError("duplicate_labels", "labels must differ from one another")
    return dict.fromkeys(value)


Labels = Annotated[
    dict[LabelName, Text | None],
    Field(min_length=1),
    BeforeValidator(
        _as_label_map,
        json_schema_input_type=Annotated[list[LabelName], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
        | Annotated[dict[LabelName, Text], Field(min_length=1)],
    ),
]
"""Names, or names with a hypothesis each."""


class ClassifyBody(BaseModel):
    """`POST /v1/classify`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: Pairs
    labels: Labels
    hypothesis_template: Annotated[str, Field(pattern=r"\{\}")] = "This example is {}."
    multi_label: Flag = False
    model: str | None = None
    long_input: LongInput | None = None

    def hypotheses(self) -> dict[str, str]:
        """Label → hypothesis; labels without one get the filled-in template."""
        return {
            label: hypothesis if hypothesis is not None else self.hypothesis_template.replace(PLACE, label)
            for label, hypothesis in self.labels.items()
        }

    def cost(self) -> Cost:
        """Compute what the request expands to."""
        texts = [text for item in self.input for text in (item.text, item.text_pair) if text is not None]
        return classify_cost(
            texts, len(self.input), self.labels, filled_characters(self.hypothesis_template, self.labels)
        )


class RelationPair(BaseModel):
    """Two texts to relate."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Text
    target: Text


class _RelationsBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    relations: Annotated[dict[LabelName, Text], Field(min_length=2)] | None = None
    threshold: Score | None = None
    """Least confidence of an edge. Default: the configured one for the configured relations, 0 for the caller's, and 0
    for `pairs`, which are all answered."""
    long_input: LongInput | None = None
    evidence: Literal["passages", "exhaustive"] | None = None
    """`passages`: long texts are related by their best pairs of passages. `exhaustive`: every window of a text meets
    every window of the other. Default: `passages`, and `exhaustive` where `long_input` is not `window`."""
    passage_pairs: Annotated[Count, Field(le=16, json_schema_extra={"maximum": 16})] = 3
    """Most pairs of passages that are classified per pair of texts."""


class CandidatesBody(_RelationsBody):
    """`POST /v1/relations`: one source and candidates, of which the most relevant are classified."""

    source: Text
    candidates: TextList
    source_path: FilePath | None = None
    """The source's path: its format follows from it, and imports are resolved to paths."""
    candidate_paths: Annotated[list[FilePath | None], Field(min_length=1, fail_fast=True)] | None = None
    """The candidates' paths, one each."""
    top_k: Count = 16
    min_relevance: Score | None = None
    """Least relevance of a candidate. Default: as configured."""
    include_unrelated: Flag = False
    """Whether candidates without a relation become edges, too; else they are counted in `omitted`."""

    def documents(self) -> tuple[Document, list[Document]]:
        """Return the source and the candidates with their paths; InvalidInput for another number of paths."""
        paths = self.candidate_paths or [None] * len(self.candidates)
        if len(paths) != len(self.candidates):
            raise InvalidInput(
                f"candidate_paths has {len(paths)} entries for {len(self.candidates)} candidates; send one each, null "
                "where there is none",
                field="candidate_paths",
            )
        candidates = [Document(text, path) for text, path in zip(self.candidates, paths, strict=True)]
        return Document(self.source, self.source_path), candidates

    def cost(self, relations: Mapping[str, str]) -> Cost:
        """Compute what the request expands to with these relations."""
        return relate_cost(self.source, self.candidates, min(self.top_k, len(self.candidates)), relations)


class PairsBody(_RelationsBody):
    """`POST /v1/relations`: given pairs, all of which are classified."""

    pairs: Annotated[list[RelationPair], Field(min_length=1, fail_fast=True)]
    include_unrelated: Literal[True] = True
    """Every pair is answered."""

    def cost(self, relations: Mapping[str, str]) -> Cost:
        """Compute what the request expands to with these relations."""
        texts = [text for pair in self.pairs for text in (pair.source, pair.target)]
        return classify_cost(texts, len(self.pairs), relations, sum(map(len, relations.values())))


def _relations_form(body: Any) -> str:
    return f"{TAG_PREFIX}pairs" if isinstance(body, dict) and "pairs" in body else f"{TAG_PREFIX}candidates"


RelationsBody = Annotated[
    Annotated[CandidatesBody, Tag(f"{TAG_PREFIX}candidates")] | Annotated[PairsBody, Tag(f"{TAG_PREFIX}pairs")],
    Discriminator(_relations_form),
]
