"""The CUDA lane's code without a GPU: the inputs of each model, and the errors of the device."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.models.flat.support import write_family, write_with_large_states
from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.files import read_config
from trivet.checkpoint.gpu_form import fp16_overflow, gpu_precision
from trivet.config import Task
from trivet.engine.backend import BackendOutOfMemory
from trivet.engine.batch.token_batch import TokenBatch, build_batch, pair_sequence, single_sequence
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.cuda.programs import PADDED_GRAPH_TOKENS, FlatProgram, PaddedProgram
from trivet.engine.cuda.runner import DTYPES, CudaAccelerator
from trivet.engine.cuda.share import Share
from trivet.engine.models.load import load_torch_model
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import GpuUnavailable
from trivet.units import GIB, MIB

TEXTS = ["hello", "def area(r): return PI * r * r", "a longer text about databases and indexes " * 4]


def accelerator(path: Path, task: Task) -> CudaAccelerator:
    opened = CudaAccelerator(
        lambda device: FlatProgram(path, task, torch.float32, device), graph_tokens=0, device="cpu"
    )
    opened.reload()
    return opened


def padded(module: torch.nn.Module) -> CudaAccelerator:
    return CudaAccelerator(lambda device: PaddedProgram(lambda: module, device), graph_tokens=0, device="cpu")


def tokenizer(path: Path, task: Task) -> TextTokenizer:
    return TextTokenizer.from_dir(path, pad_id=ModelFiles.read(path, task).architecture.pad_id)


@pytest.mark.slow
def test_embeddings_equal_sentence_transformers(checkpoints: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    path = checkpoints["minilm"]
    tokens = tokenizer(path, "embedder")
    batch, _ = build_batch(
        [single_sequence(tokens.special, ids) for ids in tokens.encode(TEXTS)], tokens.special.pad_id
    )
    pooled = accelerator(path, "embedder").launch(batch).result()
    expected = SentenceTransformer(str(path), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["starter-reranker", "bge-reranker-base"])
def test_rerank_logits_equal_the_cross_encoders(checkpoints: dict[str, Path], name: str) -> None:
    from sentence_transformers import CrossEncoder

    path = checkpoints[name]
    tokens = tokenizer(path, "reranker")
    query, *documents = tokens.encode(TEXTS)
    sequences = [pair_sequence(tokens.special, (query,), document) for document in documents]
    logits = accelerator(path, "reranker").launch(build_batch(sequences, tokens.special.pad_id)[0]).result()
    reference = CrossEncoder(str(path), device="cpu")
    expected = reference.predict([(TEXTS[0], text) for text in TEXTS[1:]], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(logits[:, 0], expected, atol=1e-4)


class Counting(torch.nn.Module):
    """Gives each token its id and whether others attend to it, and each sequence their sums."""

    input_names = ("input_ids", "attention_mask")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = torch.stack([input_ids, attention_mask], dim=-1).float()  # (S, longest, 2)
        return tokens.sum(dim=1), tokens


def test_a_padded_program_gives_numbers_of_sequences_or_of_tokens_end_to_end() -> None:
    opened = padded(Counting())
    opened.reload()
    batch = TokenBatch.of([np.array(ids, np.int32) for ids in ([5, 6, 7], [8])], pad_id=0, unseen=[1, 0])
    assert opened.launch(batch).result().tolist() == [[18, 2], [8, 1]]
    of_tokens = opened.launch(replace(batch, per_token=True)).result()
    assert of_tokens.tolist() == [[5, 1], [6, 1], [7, 0], [8, 1]]


class Driver:
    """Says that the process holds so many bytes, and keeps what the allocator may take."""

    def __init__(self, process_bytes: int) -> None:
        self.process_bytes = process_bytes
        self.asked_after: list[int] = []
        self.module = Counting()
        self.forwards = 0
        self.module.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.forwards += 1

    def _ask(self) -> int:
        self.asked_after.append(self.forwards)
        return self.process_bytes

    def accelerator(self) -> CudaAccelerator:
        share = Share(0.25, 8 * GIB, model="embedder", process_bytes=self._ask, cap_allocator=lambda fraction: None)
        return CudaAccelerator(
            lambda device: PaddedProgram(lambda: self.module, device), graph_tokens=0, device="cpu", share=share
        )


def test_the_context_is_measured_once_kernels_are_loaded_and_after_each_reload() -> None:
    driver = Driver(process_bytes=700 * MIB)
    opened = driver.accelerator()
    opened.reload()
    assert driver.asked_after == [1]
    opened.offload()
    opened.reload()
    opened.prepare(512)  # without graphs
    assert driver.asked_after == [1, 2, 2]
    driver.process_bytes = 830 * MIB
    assert opened.measure_context() == 830 * MIB


def test_weights_beside_which_nothing_can_run_leave_again(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(process_bytes=700 * MIB)
    opened = driver.accelerator()
    left = []
    monkeypatch.setattr(opened, "offload", lambda: left.append(True))

    def full(**_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(driver.module, "forward", full)
    with pytest.raises(BackendOutOfMemory, match="out of memory"):
        opened.reload()
    assert left == [True]
    assert driver.asked_after == []


@pytest.mark.parametrize(("process_bytes", "kept"), [(700 * MIB, True), (2100 * MIB, False)])
def test_graphs_beyond_the_share_are_dropped(
    process_bytes: int, kept: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Driver(process_bytes).accelerator()
    opened.reload()
    calls = []

    class Recording:
        def record(self, tokens: int) -> None:
            calls.append(f"record {tokens}")

        def forget(self) -> None:
            calls.append("forget")

    monkeypatch.setattr(opened, "_graphs", Recording())
    monkeypatch.setattr(opened, "_graph_tokens", 512)
    monkeypatch.setattr(opened, "_held_bytes", lambda: 900 * MIB)  # of a share of 2 GiB
    opened.prepare(4096)
    assert calls == (["record 512"] if kept else ["record 512", "forget"])
    assert ("share of the GPU is exceeded" in caplog.text) is not kept


def test_weights_beyond_the_share_are_refused_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt would read them again, and no batch would fit beside them."""
    opened = Driver(process_bytes=1900 * MIB).accelerator()
    monkeypatch.setattr(opened, "_held_bytes", lambda: 1200 * MIB)
    backend = GpuLaneBackend(opened, model="embedder", token_budget=512, forward_s=None, clock=lambda: 0.0)
    assert backend.reload()  # 700 MiB and 1,200 are less than 2 GiB
    backend.offload()
    opened = Driver(process_bytes=2100 * MIB).accelerator()
    monkeypatch.setattr(opened, "_held_bytes", lambda: 1200 * MIB)
    backend = GpuLaneBackend(opened, model="embedder", token_budget=512, forward_s=None, clock=lambda: 0.0)
    assert not backend.reload()
    assert backend.unusable is not None
    assert "gpu_fraction is too small" in backend.unusable
    assert "exceeded by 52 MiB" in backend.unusable


def test_weights_that_can_never_fit_are_not_read_again_and_again() -> None:
    driver = Driver(process_bytes=700 * MIB)
    driver.module.register_buffer("weights", torch.zeros(3 * MIB, dtype=torch.uint8))
    share = Share(
        2 * MIB / (8 * GIB), 8 * GIB, model="embedder", process_bytes=lambda: None, cap_allocator=lambda _: None
    )
    opened = CudaAccelerator(
        lambda device: PaddedProgram(lambda: driver.module, device), graph_tokens=0, device="cpu", share=share
    )
    backend = GpuLaneBackend(opened, model="embedder", token_budget=512, forward_s=None, clock=lambda: 0.0)
    assert not backend.reload()
    assert backend.unusable == (
        "ShareTooSmall: gpu_fraction is too small: the weights take 3 MiB, the process may take 2 MiB"
    )
    assert driver.forwards == 0


def test_after_graphs_are_dropped_the_context_is_measured_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(process_bytes=1500 * MIB)
    opened = driver.accelerator()
    opened.reload()

    class Recording:
        def record(self, tokens: int) -> None:
            driver.process_bytes = 2100 * MIB

        def forget(self) -> None:
            driver.process_bytes = 1600 * MIB

    monkeypatch.setattr(opened, "_graphs", Recording())
    monkeypatch.setattr(opened, "_graph_tokens", 512)
    monkeypatch.setattr(opened, "_held_bytes", lambda: 900 * MIB)
    opened.prepare(4096)
    assert opened._share is not None
    assert opened._share.measured_bytes == 700 * MIB


class Raising(torch.nn.Module):
    """Fails the way a device does."""

    input_names = ("input_ids",)

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        raise self._error


def raising(error: Exception) -> CudaAccelerator:
    return padded(Raising(error))


ONE_SEQUENCE = TokenBatch.of([np.ones(4, dtype=np.int32)])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory\nfurther advice"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_running_out_is_an_event(error: Exception) -> None:
    with pytest.raises(BackendOutOfMemory, match=r"out of memory|ALLOC_FAILED"):
        raising(error).launch(ONE_SEQUENCE)


@pytest.mark.parametrize("sign", ["device-side assert triggered", "an illegal memory access was encountered"])
def test_a_poisoned_context_is_a_fault_of_the_process(sign: str) -> None:
    device = raising(RuntimeError(f"CUDA error: {sign}\nfurther advice"))
    with pytest.raises(GpuUnavailable, match=sign):
        device.launch(ONE_SEQUENCE)
    assert device.fault == f"CUDA error: {sign}"


def test_another_error_is_no_fault_of_the_device() -> None:
    device = raising(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        device.launch(ONE_SEQUENCE)
    assert device.fault is None


def test_an_error_after_which_the_stream_fails_too_is_a_fault_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its words are: after a laptop has slept, CUDA knows only an unknown error."""
    device = raising(RuntimeError("CUDA error: unknown error\nfurther advice"))

    def lost() -> None:
        raise RuntimeError("CUDA error: unknown error")

    monkeypatch.setattr(device, "_synchronize", lost)
    with pytest.raises(GpuUnavailable, match="the CUDA context is lost: CUDA error: unknown error"):
        device.launch(ONE_SEQUENCE)
    assert device.fault == "CUDA error: unknown error"


def test_an_error_that_shows_only_when_the_weights_have_been_queued_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = padded(Counting())

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(device, "_synchronize", full)
    monkeypatch.setattr(device, "offload", lambda: None)
    with pytest.raises(BackendOutOfMemory):
        device.reload()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("operation failed due to a previous error")]
)
def test_graphs_that_cannot_be_recorded_are_done_without(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An allocation that fails during a recording may show as an error of the recording."""
    device = padded(Counting())
    device.reload()

    def fails(max_tokens: int) -> None:
        raise error

    monkeypatch.setattr(device, "_graph_tokens", 64)
    monkeypatch.setattr(device._graphs, "record", fails)
    device.prepare(64)
    assert f"no CUDA graphs, small batches will take longer: {error}" in caplog.text
    assert len(device.launch(ONE_SEQUENCE).result()) == 1


@pytest.mark.slow
def test_states_beyond_fp16_are_computed_in_the_precision_that_is_chosen_for_them(tmp_path: Path) -> None:
    write_with_large_states(tmp_path)
    config = read_config(tmp_path)
    batch = TokenBatch.of([np.arange(5, 45, dtype=np.int32)])
    finite, pooled = {}, {}
    for dtype, of_torch in DTYPES.items():
        program = FlatProgram(tmp_path, "embedder", of_torch, torch.device("cpu"))
        program.load()
        pooled[dtype] = program.forward([torch.from_numpy(each) for each in program.arrays(batch)], batch.max_len)
        finite[dtype] = bool(pooled[dtype].isfinite().all())
    assert finite == {"bf16": True, "fp16": False, "fp32": True}
    assert torch.cosine_similarity(pooled["bf16"], pooled["fp32"]).item() > 0.99
    for asked in ("auto", "fp16", "bf16"):
        for capability in ((7, 5), (8, 6)):
            assert finite[gpu_precision(asked, capability, fp16_overflow(config)).dtype]  # type: ignore[arg-type]


def test_a_padded_attention_gets_small_graphs_only_and_says_why(tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=None)
    program = FlatProgram(tmp_path, "embedder", torch.float32, torch.device("cpu"))
    assert program.graph_tokens == 0
    program.load()
    assert program.graph_tokens == PADDED_GRAPH_TOKENS
    assert program.attention_padded_because == "the device is cpu, not cuda"


@pytest.mark.slow
def test_both_programs_agree(checkpoints: dict[str, Path]) -> None:
    path = checkpoints["starter-reranker"]
    batch = TokenBatch.of(
        [np.arange(1000, 1000 + length, dtype=np.int32) for length in (3, 90, 12)], types_from=[1, 40, 6]
    )
    flat = accelerator(path, "reranker").launch(batch).result()
    through_transformers = padded(load_torch_model(path, "reranker")).launch(batch).result()
    np.testing.assert_allclose(flat, through_transformers, atol=1e-5)


@pytest.mark.slow
def test_a_flat_program_leaves_and_returns_without_a_copy_on_the_host(checkpoints: dict[str, Path]) -> None:
    opened = accelerator(checkpoints["minilm"], "embedder")
    batch = TokenBatch.of([np.arange(1000, 1010, dtype=np.int32)])
    before = opened.launch(batch).result()
    assert opened.memory().weights_bytes == pytest.approx(4 * 22_565_376, rel=0.01)
    opened.offload()
    opened.reload()
    np.testing.assert_allclose(opened.launch(batch).result(), before, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_several_batches_in_flight_keep_their_outputs(checkpoints: dict[str, Path]) -> None:
    opened = accelerator(checkpoints["minilm"], "embedder")
    batches = [TokenBatch.of([np.arange(1000, 1000 + n, dtype=np.int32)]) for n in (4, 9, 30)]
    alone = [opened.launch(batch).result() for batch in batches]
    pending = [opened.launch(batch) for batch in batches]
    for one, expected in zip(pending, alone, strict=True):
        np.testing.assert_allclose(one.result(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_logits_of_the_padded_program_are_no_bf16_numbers(checkpoints: dict[str, Path]) -> None:
    """So that documents which differ a little have scores which do."""
    opened = padded(load_torch_model(checkpoints["starter-reranker"], "reranker", torch.bfloat16))
    rng = np.random.default_rng(0)
    batch = TokenBatch.of([rng.integers(1000, 20000, 30).astype(np.int32) for _ in range(64)])
    assert len(set(opened.launch(batch).result()[:, 0].tolist())) == 64


_SERVES = """
import sys, torch
from functools import partial
from pathlib import Path
import numpy as np
from trivet.config import AppConfig
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.runner import CudaAccelerator
from trivet.engine.open import gpu_program, open_engine, open_gpu_lane, prepare_model
for task, path in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    config = AppConfig.model_validate({task: {"model": path}})
    prepared = prepare_model(config, task)
    accelerator = CudaAccelerator(partial(gpu_program, prepared, torch.bfloat16), graph_tokens=0, device="cpu")
    backend = open_gpu_lane(config, prepared, accelerator, forward_s=None)
    assert backend.reload()
    open_engine(config, prepared, backend, "bf16").warm_up()
    print([name for name in ("transformers", "torch._dynamo") if name in sys.modules])
"""


@pytest.mark.slow  # starts an interpreter that imports torch
def test_a_process_that_serves_flat_models_imports_neither_transformers_nor_a_compiler(
    checkpoints: dict[str, Path],
) -> None:
    served = {"minilm": "embedder", "starter-reranker": "reranker", "nomic-embed-text-v2-moe": "embedder"}
    arguments = [argument for name, task in served.items() for argument in (task, str(checkpoints[name]))]
    done = subprocess.run([sys.executable, "-c", _SERVES, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["[]", "[]", "[]", ""]
