import random

import numpy as np
import pytest
import torch

from research.classifier.data import (
    ENTAILED,
    NOT_ENTAILED,
    draw,
    nli_examples,
    one_liner,
    relation_example,
    shorten,
    topic_example,
)
from research.classifier.loss import classifier_loss
from research.classifier.topics import label_sentences
from research.classifier.wordings import RELATION_PARAPHRASES
from research.relations.hypotheses import RELATION_HYPOTHESES, UNSEEN_WORDINGS
from research.relations.pairs import LABELS, Pair
from research.relations.prose_pairs import NliRow
from research.training.batches import Group, PairSequence, collate


def group(*targets):
    return Group(tuple(PairSequence(np.array([101, 7, 102, 8, 102], dtype=np.int32), 3, t) for t in targets), "test")


def test_loss_is_two_cross_entropies():
    batch = collate([group(0.0, 1.0), group(1.0)])
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.0], [-1.0, 0.0]])
    pointwise = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1]))
    within = -torch.log_softmax(torch.tensor([2.0, 0.5]), dim=0)[0]
    assert classifier_loss(logits, batch).item() == pytest.approx((pointwise + within).item(), rel=1e-5)


def test_a_batch_of_single_hypotheses_has_no_second_term():
    batch = collate([group(0.0), group(1.0)])
    logits = torch.tensor([[2.0, -1.0], [0.5, 1.0]])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
    assert classifier_loss(logits, batch).item() == pytest.approx(expected.item())


def test_a_relation_example_has_one_true_hypothesis_of_the_pairs_label():
    pair = Pair("dependency", "uses-constant", "def f():\n    return LIMIT", "LIMIT = 3", "here", "MIT")
    example = relation_example(pair, random.Random(0), negatives=3)
    assert example.premise == "First: def f():\n    return LIMIT\nSecond: LIMIT = 3"
    assert [target for _, target in example.hypotheses] == [ENTAILED, NOT_ENTAILED, NOT_ENTAILED, NOT_ENTAILED]
    true = example.hypotheses[0][0]
    assert true == RELATION_HYPOTHESES["dependency"] or true in RELATION_PARAPHRASES["dependency"]


def test_shortening_keeps_the_used_name_in_view():
    body = "\n".join(f"    value_{i} = compute({i})" for i in range(60))
    first = f"def f():\n{body}\n    return helper(value_0)"
    pair = Pair("dependency", "uses-function", first, "def helper(x):\n    return x", "here", "MIT")
    for seed in range(10):
        shortened, _ = shorten(pair, random.Random(seed))
        assert len(shortened) < 500
        assert "helper" in shortened


def test_wordings_kept_for_measuring_are_not_trained_on():
    for label in LABELS:
        assert UNSEEN_WORDINGS[label] not in {RELATION_HYPOTHESES[label], *RELATION_PARAPHRASES[label]}


def test_an_inference_row_takes_both_forms():
    row = NliRow("p", "A man runs.", "A person moves.", "entailment")
    plain, paired = nli_examples(row, random.Random(0), "snli")
    assert plain.hypotheses == (("A person moves.", ENTAILED),)
    assert paired.premise == "First: A man runs.\nSecond: A person moves."
    assert [target for _, target in paired.hypotheses] == [ENTAILED, NOT_ENTAILED, NOT_ENTAILED]


def test_a_sentence_gets_a_topic_only_where_one_topic_has_two_words():
    clear = "The coach praised the goalkeeper and the whole football team after the match."
    unclear = "The weather was fine and nobody had anything to say about the house."
    (labelled,) = label_sentences([clear, unclear])
    assert "sports" in labelled.names
    example = topic_example(labelled, random.Random(0))
    assert [target for _, target in example.hypotheses] == [ENTAILED, NOT_ENTAILED, NOT_ENTAILED]
    assert not set(labelled.names) & set(labelled.others)


def test_a_one_liner_keeps_the_statement_that_uses_the_name():
    code = "def area(r):\n    # of a circle\n    square = r * r\n    return RATIO * square"
    assert one_liner(code, "RATIO", random.Random(0)) == "def area(r): return RATIO * square"
    assert one_liner(code, "", random.Random(0)).startswith("def area(r): ")
    assert one_liner("class A:\n    pass", "", random.Random(0)) == "class A: pass"


def test_unrelated_pairs_are_drawn_half_from_code_and_others_as_they_come():
    code = [Pair("unrelated", "hard-function", f"a{i}", f"b{i}", "s", "MIT") for i in range(50)]
    prose = [Pair("unrelated", "snli", f"c{i}", f"d{i}", "s", "MIT") for i in range(200)]
    drawn = draw(code + prose, 40, 0.5, random.Random(0))
    assert sum(p.kind == "snli" for p in drawn) == 20
    assert len(drawn) == 40
    assert len(draw(prose, 40, 0.5, random.Random(0))) == 40
