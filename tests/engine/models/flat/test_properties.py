"""What packing must not change, and what 16 bits must keep apart."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.models.flat.support import pack, run, sequences, token_types, write_family
from tests.support.checkpoints import write_checkpoint
from trivet.config import Task
from trivet.engine.models.flat.load import FlatModel, load_flat_model
from trivet.starter import prepare_starter

ROOT = Path(__file__).parents[4]

# One of each body; modernbert-mean sees 5 tokens to either side, gemma3 12 or 23 before it.
MODELS: tuple[tuple[str, Task], ...] = (
    ("bert", "reranker"),
    ("modernbert-mean", "reranker"),
    ("nomic-embed-text-v2-moe", "embedder"),
    ("gte", "embedder"),
    ("qwen3", "reranker"),
    ("gemma3", "embedder"),
    ("gemma3-both-ways", "embedder"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FlatModel]:
    loaded = {}
    for name, task in MODELS:
        folder = tmp_path_factory.mktemp(name)
        if name.startswith("nomic"):
            write_checkpoint(name, "tiny", folder)  # type: ignore[arg-type]
        else:
            write_family(name, folder, labels=1)
        loaded[name] = load_flat_model(folder, task)
    return loaded


@pytest.mark.slow
@settings(max_examples=25)
@pytest.mark.parametrize("name", [name for name, _ in MODELS])
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=7), seed=st.integers(0, 999))
def test_order_and_other_sequences_change_nothing(
    models: dict[str, FlatModel], name: str, lengths: list[int], seed: int
) -> None:
    model, parts = models[name], sequences(lengths, seed=seed)
    types = [token_types(part) for part in parts]
    together = run(model, parts, types)
    order = random.Random(seed).sample(range(len(parts)), len(parts))
    shuffled = run(model, [parts[index] for index in order], [types[index] for index in order])
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-5)
    alone = run(model, parts[-1:], types[-1:])
    torch.testing.assert_close(alone, together[-1:], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in MODELS])
def test_a_batch_filled_up_to_a_fixed_size(models: dict[str, FlatModel], name: str) -> None:
    """As a captured graph needs it: fillers in one more sequence, then sequences without tokens."""
    model, parts = models[name], sequences((9, 33, 2))
    given = pack([*parts, torch.full((20,), 7)])
    given["positions"][-20:] = 0
    given["cu_seqlens"] = torch.cat([given["cu_seqlens"], given["cu_seqlens"][-1:].expand(4)])
    given["max_len"] = 64
    with torch.inference_mode():
        outputs = model(**given)
    assert outputs.shape[0] == 8
    torch.testing.assert_close(outputs[:3], run(model, parts), rtol=0, atol=1e-5)
    assert not outputs.isnan().any()


# ── 16 bits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.models)])
def test_500_documents_have_500_scores(tmp_path: Path, dtype: torch.dtype) -> None:
    """A head in bf16 gave 159 scores, ties of eleven."""
    model = load_flat_model(prepare_starter("reranker", tmp_path), "reranker", dtype)
    query, documents = sequences((6,), 30_000)[0], sequences([12] * 500, 30_000, seed=1)
    parts = [torch.cat([query, document]) for document in documents]
    scores = torch.cat([run(model, parts[start : start + 100]) for start in range(0, 500, 100)])
    assert len(scores.unique()) == 500


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["bert", "modernbert-mean", "electra", "distilbert", "gte", "qwen3", "gemma3"])
def test_16_bits_stay_close(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    write_family(name, tmp_path, labels=1)
    parts = sequences((5, 128, 300))
    half, full = (run(load_flat_model(tmp_path, "embedder", each), parts) for each in (dtype, torch.float32))
    assert torch.cosine_similarity(half, full).min() > 0.999


# ── what a process that serves it imports ───────────────────────────────────────────────────────────────────────────

_SERVE = """
import sys, torch
from pathlib import Path
from trivet.engine.models.flat.load import load_flat_model
bounds = torch.tensor([0, 3, 8], dtype=torch.int32)
positions = torch.tensor([0, 1, 2, 0, 1, 2, 3, 4])
for folder, task in {served!r}:
    outputs = load_flat_model(Path(folder), task)(torch.arange(5, 13), None, positions, bounds, 5)
    assert outputs.shape[0] == 2
    loaded = [name for name in ("transformers", "sentence_transformers", "openvino") if name in sys.modules]
    assert not loaded, (folder, loaded)
"""


def _python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # starts an interpreter that imports torch
def test_serving_imports_no_transformers(tmp_path: Path) -> None:
    written: tuple[tuple[str, Task], ...] = (("bert", "reranker"), ("modernbert", "classifier"), ("qwen3", "reranker"))
    for name, _ in written:
        write_family(name, tmp_path / name, labels=1)
    nomic = write_checkpoint("nomic-embed-text-v2-moe", "tiny", tmp_path / "nomic")
    served = [(str(nomic), "embedder"), *((str(tmp_path / name), task) for name, task in written)]
    _python(_SERVE.format(served=served))


def test_asking_what_is_supported_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mpnet"}')
    _python(
        "import sys\n"
        "from pathlib import Path\n"
        "from trivet.checkpoint.flat.model import padded_because\n"
        f"assert 'mpnet' in padded_because(Path({str(tmp_path)!r}), 'embedder')\n"
        "assert 'torch' not in sys.modules"
    )
