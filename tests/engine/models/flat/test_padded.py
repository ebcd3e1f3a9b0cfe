"""A padded encoder, nomic v2 MoE, against an independent, slow float64 implementation, and its refusals."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint.files import CheckpointMismatch
from trivet.engine.models.flat.padded import PaddedEncoder, load_padded_encoder
from trivet.errors import ModelError

PAD_ID = 1
Array = NDArray[np.float64]


# ── the reference: one sequence at a time, one token at a time through the experts, float64 ─────────────────────────


def _layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


_erf = np.vectorize(math.erf)


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _rotate(vector: Array, position: int, base: float) -> Array:
    """Turns the pair (i, i + D/2) by position · base^(-2i/D)."""
    size = len(vector)
    out = np.empty(size)
    for i in range(size // 2):
        angle = position * base ** (-2.0 * i / size)
        a, b = vector[i], vector[i + size // 2]
        out[i] = a * math.cos(angle) - b * math.sin(angle)
        out[i + size // 2] = b * math.cos(angle) + a * math.sin(angle)
    return out


def reference(weights: dict[str, Array], config: dict[str, Any], ids: list[int]) -> Array:
    """Hidden states (T, H) of one unpadded sequence."""
    hidden, heads, inner, eps = config["n_embd"], config["n_head"], config["n_inner"], config["layer_norm_epsilon"]
    size, base = hidden // heads, config["rotary_emb_base"]
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x = _layer_norm(x, weights["emb_ln.weight"], weights["emb_ln.bias"], eps)
    for index in range(config["n_layer"]):
        layer = {k.removeprefix(f"encoder.layers.{index}."): v for k, v in weights.items() if f".layers.{index}." in k}
        qkv = x @ layer["attn.Wqkv.weight"].T + layer["attn.Wqkv.bias"]
        mixed = np.zeros_like(x)
        for head in range(heads):
            at = slice(head * size, (head + 1) * size)
            q = np.stack([_rotate(row, t, base) for t, row in enumerate(qkv[:, :hidden][:, at])])
            k = np.stack([_rotate(row, t, base) for t, row in enumerate(qkv[:, hidden : 2 * hidden][:, at])])
            v = qkv[:, 2 * hidden :][:, at]
            mixed[:, at] = _softmax(q @ k.T / math.sqrt(size)) @ v
        attended = mixed @ layer["attn.out_proj.weight"].T + layer["attn.out_proj.bias"]
        x = _layer_norm(x + attended, layer["norm1.weight"], layer["norm1.bias"], eps)
        if index % config["moe_every_n_layers"] == 1:
            fed = np.stack([_experts(layer, config["moe_top_k"], inner, token) for token in x])
        else:
            fed = _gelu(x @ layer["mlp.fc1.weight"].T + layer["mlp.fc1.bias"])
            fed = fed @ layer["mlp.fc2.weight"].T + layer["mlp.fc2.bias"]
        x = _layer_norm(x + fed, layer["norm2.weight"], layer["norm2.bias"], eps)
    return x


def _experts(layer: dict[str, Array], top_k: int, inner: int, token: Array) -> Array:
    shares = _softmax(layer["mlp.router.layer.weight"] @ token)
    out = layer["mlp.experts.bias"].copy()
    for expert in np.argsort(-shares)[:top_k]:
        rows = slice(expert * inner, (expert + 1) * inner)
        w1, w2 = layer["mlp.experts.mlp.w1"][rows], layer["mlp.experts.mlp.w2"][rows]
        out += shares[expert] * (_gelu(w1 @ token) @ w2)
    return out


# ── fixtures ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("nomic-embed-text-v2-moe", "tiny", tmp_path_factory.mktemp("nomic"), seed=3)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> PaddedEncoder:
    return load_padded_encoder(checkpoint, "embedder")


@pytest.fixture(scope="module")
def config(checkpoint: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((checkpoint / "config.json").read_text())
    return parsed


@pytest.fixture(scope="module")
def weights(checkpoint: Path) -> dict[str, Array]:
    return {name: w.astype(np.float64) for name, w in load_file(checkpoint / "model.safetensors").items()}


@pytest.fixture
def damaged(checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the checkpoint with config fields or tensors replaced; a value of None in `tensors` drops the key."""

    def copy(config: dict[str, Any] | None = None, drop: str = "", tensors: dict[str, Any] | None = None) -> Path:
        fields = json.loads((checkpoint / "config.json").read_text()) | (config or {})
        fields.pop(drop, None)
        (tmp_path / "config.json").write_text(json.dumps(fields))
        state = load_file(checkpoint / "model.safetensors") | (tensors or {})
        save_file({k: v for k, v in state.items() if v is not None}, tmp_path / "model.safetensors")
        return tmp_path

    return copy


def _padded(sequences: list[list[int]], length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    length = length or max(map(len, sequences))
    ids = torch.full((len(sequences), length), PAD_ID)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids, mask


def _random_sequences(lengths: list[int], seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [[0, *rng.integers(4, 1000, n - 2).tolist(), 2] for n in lengths]


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_matches_the_float64_reference_in_a_batch_of_mixed_lengths(
    model: PaddedEncoder, weights: dict[str, Array], config: dict[str, Any]
) -> None:
    sequences = _random_sequences([2, 3, 17, 64, 131])
    hidden = model(*_padded(sequences))
    for row, sequence in enumerate(sequences):
        expected = reference(weights, config, sequence)
        np.testing.assert_allclose(hidden[row, : len(sequence)].numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_padding_and_other_sequences_change_nothing(model: PaddedEncoder) -> None:
    short, long = _random_sequences([9, 40])
    alone = model(*_padded([short]))
    batched = model(*_padded([long, short], length=50))
    torch.testing.assert_close(batched[1, :9], alone[0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_sequences_that_share_a_row_do_not_see_each_other(model: PaddedEncoder) -> None:
    first, second = _random_sequences([9, 40])
    ids, _ = _padded([first + second])
    of_token = torch.tensor([[0] * 9 + [1] * 40])
    shared = model(ids, of_token[:, None, :, None] == of_token[:, None, None, :])
    for at, sequence in ((slice(0, 9), first), (slice(9, 49), second)):
        torch.testing.assert_close(shared[0, at], model(*_padded([sequence]))[0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_exported_form_computes_the_same(checkpoint: Path, model: PaddedEncoder) -> None:
    ids, mask = _padded(_random_sequences([9, 40]))
    exported = load_padded_encoder(checkpoint, "embedder", for_export=True)(ids, mask)
    torch.testing.assert_close(exported, model(ids, mask), rtol=0, atol=1e-5)


def test_bf16_stays_close(checkpoint: Path, model: PaddedEncoder) -> None:
    ids, mask = _padded(_random_sequences([60]))
    half = load_padded_encoder(checkpoint, "embedder", torch.bfloat16)(ids, mask)
    assert half.dtype == torch.bfloat16
    assert torch.cosine_similarity(half.float().mean(1), model(ids, mask).mean(1)).item() > 0.999


def test_the_transformers_trap(damaged: Callable[..., Path], model: PaddedEncoder) -> None:
    """AutoModel loads another architecture without an error and answers with nonsense: the reason for this module.

    If this test fails because transformers has learned the architecture, the module can be retired. The published
    shapes happen to be that class's defaults; at tiny size they are spelled with the names it reads.
    """
    from transformers import AutoModel

    as_published = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
    trapped = AutoModel.from_pretrained(damaged(config=as_published), trust_remote_code=False)
    assert not any("experts" in name for name, _ in trapped.named_parameters())
    ids, mask = _padded(_random_sequences([30]))
    with torch.no_grad():
        wrong = trapped(input_ids=ids, attention_mask=mask).last_hidden_state.mean(1)
    assert torch.isfinite(wrong).all()
    assert torch.cosine_similarity(wrong, model(ids, mask).mean(1)).item() < 0.95, "bf16 rounding alone keeps 0.999"


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"emb_ln.bias": None}, r"missing tensors: emb_ln\.bias"),
        ({"pooler.weight": np.zeros(3, np.float32)}, r"unexpected tensors: pooler\.weight"),
        ({"encoder.layers.1.mlp.fc1.weight": np.zeros(3, np.float32)}, r"unexpected .*layers\.1\.mlp\.fc1\.weight"),
        ({"emb_ln.weight": np.zeros(3, np.float32)}, r"emb_ln\.weight is \(3,\), config\.json says \(64,\)"),
        ({"emb_ln.weight": np.zeros(64, np.int8)}, r"emb_ln\.weight is I8"),
    ],
)
def test_tensors_that_do_not_fit_are_named(damaged: Callable[..., Path], tensors: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointMismatch, match=named):
        load_padded_encoder(damaged(tensors=tensors), "embedder")


def test_more_layers_than_the_file_holds_are_missing_tensors(damaged: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointMismatch, match=r"missing tensors: encoder\.layers\.4\..* more"):
        load_padded_encoder(damaged(config={"n_layer": 6}), "embedder")


def test_vocabulary_is_padded_as_the_config_says(damaged: Callable[..., Path]) -> None:
    assert load_padded_encoder(damaged(config={"vocab_size": 1001}), "embedder").encoder.words.num_embeddings == 1024


def test_a_pickle_is_refused_by_name(damaged: Callable[..., Path]) -> None:
    folder = damaged()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle"):
        load_padded_encoder(folder, "embedder")


def test_weights_stay_mapped_from_the_file(model: PaddedEncoder, checkpoint: Path) -> None:
    mapped = (Path("/proc/self/maps")).read_text()
    assert str(checkpoint / "model.safetensors") in mapped
    assert all(not p.requires_grad for p in model.parameters())
