"""On a real GPU: flat models equal themselves on the CPU, never wait for the device, and mind no new shape.

The CPU's numbers are pinned to transformers by tests/engine/models/flat.
"""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.models.flat.support import FAMILIES, LENGTHS, pack, run, sequences, token_types, write_family
from tests.engine.models.flat.test_published import LAYOUTS, padded, parts_for
from tests.support.checkpoints import write_checkpoint
from trivet.config import Task
from trivet.engine.models.flat.attention import (
    AttentionKind,
    PaddedAttention,
    Reach,
    VarlenAttention,
    varlen_refusal,
)
from trivet.engine.models.flat.load import FlatModel, load_flat_model
from trivet.engine.models.spans import FlatSpans

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

NAMES = (*FAMILIES, "nomic-embed-text-v2-moe")
MODELS = (*((name, "embedder") for name in NAMES), *((name, "reranker") for name in FAMILIES))
BEFORE_AMPERE = torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0)
needs_flash = pytest.mark.skipif(BEFORE_AMPERE, reason="FlashAttention needs compute capability 8.0")

Form = tuple[torch.dtype, AttentionKind]
FORMS: tuple[Any, ...] = (
    pytest.param((torch.bfloat16, "varlen"), id="bf16-varlen", marks=needs_flash),
    pytest.param((torch.float16, "varlen"), id="fp16-varlen", marks=needs_flash),
    pytest.param((torch.bfloat16, "padded"), id="bf16-padded", marks=needs_flash),
    pytest.param((torch.float16, "padded"), id="fp16-padded"),
    pytest.param((torch.float32, "padded"), id="fp32-padded"),
)


@pytest.fixture(autouse=True)
def _as_the_gpu_lane_sets_it() -> Iterator[None]:
    """cuDNN attention makes a plan for every new shape, at 60 to 100 ms each."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    written = {}
    for name in NAMES:
        written[name] = tmp_path_factory.mktemp(name)
        if name in FAMILIES:
            write_family(name, written[name], labels=1)
        else:
            write_checkpoint(name, "tiny", written[name], seed=3)  # type: ignore[arg-type]
    return written


def _load(folder: Path, form: Form, task: Any = "embedder") -> FlatModel:
    dtype, attention = form
    return load_flat_model(folder, task, dtype, "cuda", attention)


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_the_cpus(folders: dict[str, Path], name: str, form: Form) -> None:
    parts = sequences(LENGTHS)
    types = [token_types(part) for part in parts]
    expected = run(load_flat_model(folders[name], "embedder"), parts, types)
    model = _load(folders[name], form)
    assert isinstance(model.attention, VarlenAttention if form[1] == "varlen" else PaddedAttention)
    together = run(model, parts, types)
    alone = torch.cat([run(model, [part], [each]) for part, each in zip(parts, types, strict=True)])
    for ours in (together, alone):
        if form[0] == torch.float32:
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
        else:
            assert torch.cosine_similarity(ours, expected).min() > 0.998


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_the_cpus(folders: dict[str, Path], name: str, form: Form) -> None:
    parts = sequences(LENGTHS)
    types = [token_types(part) for part in parts]
    expected = run(load_flat_model(folders[name], "reranker"), parts, types)
    ours = run(_load(folders[name], form, "reranker"), parts, types)
    assert ours.dtype == torch.float32
    atol = 1e-4 if form[0] == torch.float32 else 0.15 * float(expected.std())
    torch.testing.assert_close(ours, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("write", "task", "recipe"), LAYOUTS, ids=lambda each: getattr(each, "__name__", None))
def test_published_layouts_equal_the_path_through_transformers(
    write: Callable[[Path], None], task: Task, recipe: str | None, form: Form, tmp_path: Path
) -> None:
    """On the CPU in fp32. Decoders among them: causal, in both directions, with windows, with shared heads."""
    write(tmp_path)
    parts = parts_for(tmp_path)
    expected = padded(tmp_path, task, parts, recipe)
    dtype, attention = form
    ours = run(load_flat_model(tmp_path, task, dtype, "cuda", attention, recipe), parts)
    if dtype == torch.float32:
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    elif task == "embedder":
        assert torch.cosine_similarity(ours, expected).min() > 0.99
    else:
        torch.testing.assert_close(ours, expected, rtol=0, atol=0.15 * float(expected.std()))


def _differ_at_most(lengths: tuple[int, ...], head_size: int, shared: int, reach: Reach) -> None:
    given = pack(sequences(lengths), device="cuda")
    spans = FlatSpans(given["cu_seqlens"], given["max_len"], given["positions"])
    q = torch.randn(sum(lengths), 4, head_size, device="cuda", dtype=torch.bfloat16)
    k, v = torch.randn(2, sum(lengths), 4 // shared, head_size, device="cuda", dtype=torch.bfloat16)
    exact = PaddedAttention()(spans)(q.float(), k.float(), v.float(), reach)
    torch.testing.assert_close(VarlenAttention()(spans)(q, k, v, reach).float(), exact, rtol=0, atol=0.02)


@needs_flash
@pytest.mark.parametrize("shared", [1, 2, 4])
@pytest.mark.parametrize(
    "reach",
    [Reach(), Reach(1, 1), Reach(5, 5), Reach(64, 64), Reach(None, 0), Reach(0, 0), Reach(1, 0), Reach(63, 0)],
)
def test_varlen_and_padded_attention_agree(reach: Reach, shared: int) -> None:
    _differ_at_most(LENGTHS, 64, shared, reach)


@needs_flash
@pytest.mark.parametrize("shared", [1, 4])
@pytest.mark.parametrize("reach", [Reach(), Reach(None, 0), Reach(1, 0), Reach(64, 64)])
@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (2, 1)])
def test_batches_of_single_tokens_agree(lengths: tuple[int, ...], reach: Reach, shared: int) -> None:
    """With one query each and shared heads, the kernel lays the queries out otherwise."""
    _differ_at_most(lengths, 64, shared, reach)


@needs_flash
@pytest.mark.parametrize("head_size", [8, 32, 64, 72, 80, 96, 128, 256])
def test_every_head_size_that_is_not_refused_agrees(head_size: int) -> None:
    assert varlen_refusal(torch.device("cuda"), torch.bfloat16, head_size) is None
    _differ_at_most((3, 100, 7), head_size, 2, Reach())
    _differ_at_most((3, 100, 7), head_size, 1, Reach(16, 16))


def test_weights_go_straight_to_the_gpu(folders: dict[str, Path]) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model = _load(folders["bert"], (torch.float16, "padded"))
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    largest = max(tensor.nbytes for tensor in model.parameters())
    blocks = 512 * len(list(model.parameters()))  # the allocator rounds every tensor up
    assert torch.cuda.max_memory_allocated() - before <= weights + 2 * largest + 2 * blocks


# ── nothing waits for the device ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_forward_never_waits(folders: dict[str, Path], name: str, form: Form) -> None:
    model = _load(folders[name], form)
    given = pack(sequences((3, 100, 7)), device="cuda")
    with torch.inference_mode():
        model(**given)  # the first one loads kernels
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            model(**given)
        finally:
            torch.cuda.set_sync_debug_mode("default")


BUCKET_TOKENS, BUCKET_SEQUENCES, LONGEST = 256, 8, 200


def _filled_up(parts: list[Tensor]) -> dict[str, Any]:
    """A batch of the bucket's size: fillers are one more sequence, then sequences without tokens."""
    fillers = BUCKET_TOKENS - sum(map(len, parts))
    given = pack([*parts, torch.full((fillers,), 7)], device="cuda")
    given["positions"][-fillers:] = 0
    bounds = given["cu_seqlens"]
    given["cu_seqlens"] = torch.cat([bounds, bounds[-1:].expand(BUCKET_SEQUENCES + 1 - len(bounds))])
    return given | {"token_types": torch.zeros_like(given["ids"]), "max_len": LONGEST}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "task"), MODELS)
def test_every_module_can_be_captured(folders: dict[str, Path], name: str, form: Form, task: str) -> None:
    model = _load(folders[name], form, task)
    assert model.capturable_tokens is None or model.capturable_tokens >= BUCKET_TOKENS
    static = _filled_up(sequences((3, 100, 7)))
    with torch.inference_mode():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(2):
                model(**static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = model(**static)
        for seed, lengths in enumerate([(3, 100, 7), (200,), (1, 2, 3, 4, 5, 6), (64, 65, 66)]):
            parts = sequences(lengths, seed=seed)
            for key, value in _filled_up(parts).items():
                if isinstance(value, Tensor):
                    static[key].copy_(value)
            graph.replay()
            replayed = outputs[: len(parts)].cpu()
            eager = run(model, parts)
            if form[0] == torch.float32:
                torch.testing.assert_close(replayed, eager, rtol=0, atol=1e-4)
            elif task == "embedder":
                assert torch.cosine_similarity(replayed, eager).min() > 0.998
            else:
                torch.testing.assert_close(replayed, eager, rtol=0, atol=0.2)


# ── new shapes cost nothing ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "form",
    [
        pytest.param((torch.bfloat16, "varlen"), id="bf16-varlen", marks=needs_flash),
        pytest.param((torch.float16, "padded"), id="fp16-padded"),
    ],
)
@pytest.mark.parametrize("name", ["bert", "modernbert-mean", "nomic-embed-text-v2-moe", "qwen3", "gemma3"])
def test_200_shapes_cost_what_one_shape_does(folders: dict[str, Path], name: str, form: Form) -> None:
    model = _load(folders[name], form)
    chance = random.Random(0)
    shapes = [[chance.randint(1, 400) for _ in range(chance.randint(1, 9))] for _ in range(200)]
    distinct = [pack(sequences(lengths), device="cuda") for lengths in shapes]
    middle = sorted(shapes, key=sum)[100]
    equal = [pack(sequences(middle), device="cuda")] * 200

    def seconds(batches: list[dict[str, Any]]) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        for batch in batches:
            model(**batch)
        torch.cuda.synchronize()
        return time.perf_counter() - started

    with torch.inference_mode():
        seconds(distinct[:3] + equal[:3])  # kernels are loaded
        first = seconds(distinct)
        settled = min(seconds(equal) for _ in range(3))
    # Memory is taken from the driver on the way, and a few GEMM kernels are loaded: 2 ms a shape would be 0.4 s.
    assert first < 2 * settled + 0.2, f"{first:.3f} s for 200 shapes, {settled:.3f} s for one"
