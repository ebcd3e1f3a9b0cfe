"""The encoder in plain torch computes what transformers computes."""

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from research.training.flat_weights import FlatWeights
from research.training.plain_encoder import TokenBatch, head_logits, mean_vectors


def _config() -> BertConfig:
    return BertConfig(
        vocab_size=50, hidden_size=48, num_hidden_layers=3, num_attention_heads=12, intermediate_size=64,
        max_position_embeddings=32, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip


def _batch() -> tuple[TokenBatch, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    lengths, first_tokens = torch.tensor([16, 9, 5]), torch.tensor([7, 4, 3])
    positions = torch.arange(16)
    mask = (positions < lengths[:, None]).long()
    ids = torch.randint(1, 50, (3, 16)) * mask
    types = (positions >= first_tokens[:, None]).long() * mask
    return TokenBatch(ids, lengths, first_tokens), {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def test_logits_are_those_of_transformers() -> None:
    model = BertForSequenceClassification(_config()).eval()
    batch, inputs = _batch()
    flat = FlatWeights(model.state_dict(), torch.device("cpu"))

    logits = head_logits(flat.unpacked(torch.float32), batch, dtype=torch.float32)

    torch.testing.assert_close(logits, model(**inputs).logits, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_transformers() -> None:
    model = BertForSequenceClassification(_config()).eval()
    batch, inputs = _batch()
    flat = FlatWeights(model.state_dict(), torch.device("cpu"))
    head_logits(flat.unpacked(torch.float32), batch, dtype=torch.float32).square().sum().backward()
    model(**inputs).logits.square().sum().backward()

    stepped = {name: torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]) for name in "a"}
    frozen = [model.bert.embeddings.word_embeddings.weight, model.bert.embeddings.position_embeddings.weight]
    expected = stepped["a"].square().sum() - sum(p.grad.square().sum() for p in frozen)  # type: ignore[union-attr]
    found = sum(p.grad.square().sum() for p in flat.flat.values() if p.grad is not None)
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-3, atol=1e-6)


def test_vectors_are_the_mean_over_tokens() -> None:
    model = BertForSequenceClassification(_config()).eval()
    encoder: BertModel = model.bert
    batch, inputs = _batch()

    vectors = mean_vectors(dict(model.state_dict()), batch, dtype=torch.float32)

    hidden = encoder(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(mean, dim=1), rtol=1e-4, atol=1e-5)


def test_flat_weights_give_back_what_they_got() -> None:
    model = BertForSequenceClassification(_config())
    trained = FlatWeights(model.state_dict(), torch.device("cpu")).trained()

    state = model.state_dict()
    assert set(state) - set(trained) == {
        "bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight",
    }  # fmt: skip
    for name, value in trained.items():
        torch.testing.assert_close(value, state[name])
