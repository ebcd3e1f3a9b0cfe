"""Training by the clock: rate, losses, batches of both tasks, and what is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertConfig, BertForSequenceClassification

from research.classifier.loss import classifier_loss
from research.classifier.on_card import ClassifierTask
from research.reranker.on_card import CORPORA, WIDTH, Corpus, RerankerTask
from research.training import on_card
from research.training.batches import Batch
from research.training.flat_weights import FlatWeights
from research.training.packed import CLS_PIECE, SEP_PIECE, PoolBuilder, pad_rows, ragged

WORDS = 40


def _weights(num_labels: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=WORDS, hidden_size=48, num_hidden_layers=2, num_attention_heads=12, intermediate_size=64,
        max_position_embeddings=64, num_labels=num_labels,
    )  # fmt: skip
    return dict(BertForSequenceClassification(config).state_dict())


def _classifier_arrays(rng: np.random.Generator, groups: int = 60) -> dict[str, np.ndarray]:
    """Premises of words below 20, hypotheses of one word, which is entailed if the premise holds it."""
    builder = PoolBuilder(1, 2)
    rows, targets, members, sources = [], [], [], []
    for number in range(groups):
        words = rng.choice(np.arange(3, 20), size=int(rng.integers(3, 9)), replace=False)
        others = np.setdiff1d(np.arange(3, 20), words)
        asked = [int(words[0])] + ([int(others[0])] if number % 3 else [])
        members.append(list(range(len(rows), len(rows) + len(asked))))
        sources.append(number % 2)
        for position, word in enumerate(asked):
            rows.append([CLS_PIECE, builder.add(words), SEP_PIECE, builder.add([word]), SEP_PIECE])
            targets.append(position)
    pieces, grouped, pool = ragged(rows), ragged(members), builder.pool()
    return {
        "pool_ids": pool.ids, "pool_starts": pool.starts, "piece_values": pieces.values, "piece_starts": pieces.starts,
        "targets": np.array(targets, dtype=np.uint8), "group_starts": grouped.starts,
        "group_sources": np.array(sources, dtype=np.uint8), "source_names": np.array(["dev-x", "x"]),
    }  # fmt: skip


def _reranker_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    builder = PoolBuilder(1, 2)
    documents = [[builder.add(rng.integers(3, WORDS, size=int(rng.integers(4, 20)))), SEP_PIECE] for _ in range(80)]
    queries = [[CLS_PIECE, builder.add(rng.integers(3, WORDS, size=3)), SEP_PIECE] for _ in range(100)]
    own = [int(rng.integers(0, 40)) if q < 50 else int(rng.integers(40, 80)) for q in range(100)]
    given = [[d] if q % 2 else [] for q, d in enumerate(own)]
    pool, q, d, g = builder.pool(), ragged(queries), ragged(documents), ragged(given)
    return {
        "pool_ids": pool.ids, "pool_starts": pool.starts, "query_values": q.values, "query_starts": q.starts,
        "document_values": d.values, "document_starts": d.starts, "given_documents": g.values,
        "given_starts": g.starts, "given_targets": np.ones(len(g.values), dtype=np.float16),
        "own": np.array(own, dtype=np.int32), "corpus_names": np.array(["qnli", "code-bare"]),
        "held_back": np.array([3, 60, 61]),
        "corpus_query_starts": np.array([0, 50, 100]), "corpus_document_starts": np.array([0, 40, 80]),
    }  # fmt: skip


def test_the_rate_rises_and_ends_at_zero() -> None:
    assert on_card.rate_factor(0) == 0
    assert on_card.rate_factor(on_card.WARM_UP) == pytest.approx(1)
    assert on_card.rate_factor(1) == pytest.approx(0)
    assert on_card.rate_factor(1.5) == pytest.approx(0)


def test_the_classifiers_loss_is_that_of_the_cpu_training() -> None:
    rng = np.random.default_rng(4)
    task = ClassifierTask(_classifier_arrays(rng), token_budget=256)
    step = next(iter(task.steps(rng)))
    logits = torch.randn(len(step.about["targets"]), 2)
    about = {name: torch.from_numpy(value) for name, value in step.about.items()}
    rows = step.parts[0]
    batch = Batch(
        torch.from_numpy(rows.ids), torch.ones(rows.ids.shape), torch.zeros(rows.ids.shape), about["targets"].float(),
        about["group"], ("",), torch.zeros(len(logits)),
    )  # fmt: skip

    torch.testing.assert_close(task.loss(logits, about), classifier_loss(logits, batch))


def test_a_pass_shows_every_training_group_once_and_no_held_back_one() -> None:
    arrays = _classifier_arrays(np.random.default_rng(4))
    task = ClassifierTask(arrays, token_budget=256)

    shown = sum(len(step.about["several"]) for step in task.steps(np.random.default_rng(1)))

    assert shown == (arrays["group_sources"] == 1).sum()


def test_reranking_groups_hold_their_own_corpus_and_the_right_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORPORA, "code-bare", Corpus(8, 0.2, 1.0, pointwise=True))
    arrays = _reranker_arrays(np.random.default_rng(6))
    task = RerankerTask(arrays, _weights(1), torch.device("cpu"), token_budget=2048)
    asked = []
    for step in task.steps(np.random.default_rng(3)):
        queries, documents, targets = (step.about[name] for name in ("queries", "documents", "targets"))
        asked += step.about["groups"].tolist()
        assert ((documents >= 40) == (queries >= 50)).all()
        for query in step.about["groups"]:
            own = documents[queries == query] == arrays["own"][query]
            assert own.sum() == query % 2  # given where it is annotated, else left out
            assert len(set(documents[queries == query])) >= len(own) - 1
            assert len(own) <= WIDTH
            if query % 2:
                assert targets[queries == query][own] == 1
            else:
                assert np.isnan(targets[queries == query]).all()
        lengths = np.concatenate([part.lengths for part in step.parts])
        expected = pad_rows(task._pool, on_card_rows(task, queries, documents)).lengths
        assert (lengths == expected[step.order]).all()
    assert sorted(asked) == sorted(set(range(100)) - set(arrays["held_back"].tolist()))


def on_card_rows(task: RerankerTask, queries: np.ndarray, documents: np.ndarray) -> Any:
    from research.training.packed import joined

    return joined(task._queries.take(queries), task._documents.take(documents))


def test_the_teachers_order_costs_least() -> None:
    task = RerankerTask(_reranker_arrays(np.random.default_rng(6)), _weights(1), torch.device("cpu"), token_budget=2048)
    step = next(iter(task.steps(np.random.default_rng(3))))
    about = {name: torch.from_numpy(value) for name, value in step.about.items()}
    cosine = (task._query_vectors[about["queries"]] * task._document_vectors[about["documents"]]).sum(1)
    taught = 20 * (cosine - 0.5) + about["evidence"] * (about["targets"] > 0.5)

    imitated, contrary = task.loss(taught[:, None], about), task.loss(-taught[:, None], about)

    assert torch.isfinite(imitated)
    assert imitated < contrary


@pytest.mark.parametrize("name", ["classifier", "reranker"])
def test_a_short_training_learns_and_leaves_loadable_parts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To an encoder that knows nothing all documents mean the same.
    monkeypatch.setattr("research.reranker.on_card.FALSE_NEGATIVE_COSINE", 2.0)
    rng = np.random.default_rng(4)
    device = torch.device("cpu")
    weights = FlatWeights(_weights(2 if name == "classifier" else 1), device)
    task: on_card.Task = (
        ClassifierTask(_classifier_arrays(rng), token_budget=512)
        if name == "classifier"
        else RerankerTask(_reranker_arrays(rng), _weights(1), device, token_budget=2048)
    )
    log = on_card.Log(tmp_path / "log.jsonl", name)
    settings = on_card.Settings(seconds=1.5, lr=3e-3, dropout=0.0, fresh_head=True)
    measure = on_card.logits_with(weights, device, token_budget=512)
    step = next(iter(task.steps(np.random.default_rng(9))))

    @torch.no_grad()
    def loss() -> float:
        views = weights.unpacked(torch.bfloat16)
        logits = torch.cat(
            [on_card.head_logits(views, on_card.on_device(p, device), dtype=torch.bfloat16) for p in step.parts]
        )
        about = {key: torch.from_numpy(value) for key, value in step.about.items()}
        return float(task.loss(logits[torch.from_numpy(np.argsort(step.order))], about))

    before = loss()
    on_card.train(task, weights, settings, device, log, on_card.saver(name, tmp_path))
    assert loss() < before
    assert task.measure(measure)

    saved: dict[str, np.ndarray] = {}
    for path in tmp_path.glob(f"{name}.*.safetensors"):
        saved |= load_file(path)
    trained = weights.trained()
    assert set(saved) == set(trained)
    assert all(np.allclose(saved[key], value, atol=2e-3) for key, value in trained.items())
