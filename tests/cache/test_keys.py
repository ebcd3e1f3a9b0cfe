"""Keys: different wherever a result may differ, equal wherever it may not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dispatcher import CLASSIFIER, EMBEDDER
from trivet.cache.adapters import (
    ClassifyAdapter,
    EmbedAdapter,
    Fields,
    PredictAdapter,
    RerankAdapter,
    input_keys,
    model_fields,
)
from trivet.messages import ClassifyRequest, EmbedRequest, ModelCard, PairText, PredictRequest, RerankRequest

MODEL = model_fields(EMBEDDER, "overlap 64")


def embed_key(request: EmbedRequest, model: Fields = MODEL) -> bytes:
    adapter = EmbedAdapter()
    [key] = input_keys((*model, *adapter.shared(request)), adapter.inputs(request))
    return key


def classify_key(request: ClassifyRequest) -> bytes:
    adapter = ClassifyAdapter()
    [key] = input_keys(adapter.shared(request), adapter.inputs(request))
    return key


PLAIN = EmbedRequest(("text",))


@pytest.mark.parametrize(
    "other",
    [
        EmbedRequest(("Text",)),
        EmbedRequest(("text",), input_type="query"),
        EmbedRequest(("text",), input_type="document"),
        EmbedRequest(("text",), prompt_name="clustering"),
        EmbedRequest(("text",), dimensions=8),
        EmbedRequest(("text",), normalize=False),
        EmbedRequest(("text",), normalize=True),
        EmbedRequest(("text",), long_input="truncate"),
        EmbedRequest(("text",), long_input="error"),
    ],
)
def test_what_changes_a_vector_changes_its_key(other: EmbedRequest) -> None:
    assert embed_key(other) != embed_key(PLAIN)


@pytest.mark.parametrize(
    "other",
    [replace(PLAIN, priority="bulk"), replace(PLAIN, inputs_field="texts"), replace(PLAIN, no_store=True)],
)
def test_what_does_not_change_a_vector_does_not_change_its_key(other: EmbedRequest) -> None:
    assert embed_key(other) == embed_key(PLAIN)


@pytest.mark.parametrize(
    "card",
    [replace(EMBEDDER, revision="r9"), replace(EMBEDDER, max_tokens=128), replace(EMBEDDER, name="other")],
)
def test_another_model_has_other_keys(card: ModelCard) -> None:
    assert embed_key(PLAIN, model_fields(card, "overlap 64")) != embed_key(PLAIN)


def test_other_settings_have_other_keys() -> None:
    assert embed_key(PLAIN, model_fields(EMBEDDER, "overlap 32")) != embed_key(PLAIN)


def test_lanes_share_keys() -> None:
    # The card is that of the lane that answered last.
    assert embed_key(PLAIN, model_fields(replace(EMBEDDER, precision="fp16"), "overlap 64")) == embed_key(PLAIN)


ASKED = ClassifyRequest((PairText("a", "b"),), {"x": "It is x.", "y": "It is y."}, no_relation_label="y")


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, inputs=(PairText("a"),)),
        replace(ASKED, inputs=(PairText("a", ""),)),
        replace(ASKED, inputs=(PairText("b", "a"),)),
        replace(ASKED, hypotheses={"x": "It is x.", "y": "It is not y."}),
        replace(ASKED, hypotheses={"y": "It is y.", "x": "It is x."}, no_relation_label="x"),
        replace(ASKED, hypotheses={"x": "It is x."}),
        replace(ASKED, no_relation_label=None),
        replace(ASKED, no_relation_label="x"),
        replace(ASKED, multi_label=True),
    ],
)
def test_what_changes_scores_changes_their_key(other: ClassifyRequest) -> None:
    assert classify_key(other) != classify_key(ASKED)


def test_labels_are_only_names() -> None:
    renamed = replace(ASKED, hypotheses={"p": "It is x.", "q": "It is y."}, no_relation_label="q")
    assert classify_key(renamed) == classify_key(ASKED)


def test_kinds_of_requests_do_not_meet() -> None:
    text = (PairText("t"),)
    shared = [
        EmbedAdapter().shared(EmbedRequest(("t",))),
        RerankAdapter().shared(RerankRequest("q", ("t",))),
        ClassifyAdapter().shared(ClassifyRequest(text, {"x": "x"})),
        PredictAdapter().shared(PredictRequest(text)),
    ]
    model = model_fields(CLASSIFIER, "")
    assert len({input_keys((*model, *fields), [("t",)])[0] for fields in shared}) == len(shared)


# Surrogates too: JSON can carry lone ones.
field = st.none() | st.text(st.characters(), max_size=6)
fields = st.lists(field, max_size=4).map(tuple)


@given(fields, fields, fields, fields)
def test_no_two_lists_of_fields_are_the_same_bytes(a: Fields, b: Fields, c: Fields, d: Fields) -> None:
    same = input_keys(a, [b]) == input_keys(c, [d])
    assert same == ((a, b) == (c, d))
