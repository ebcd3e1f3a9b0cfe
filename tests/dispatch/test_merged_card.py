"""One description of a model from those of its lanes."""

from dataclasses import replace

from trivet.api.answers import model_entry
from trivet.dispatch.status import merged_card
from trivet.messages import GpuFacts, ModelCard

CPU = ModelCard("embedder", "e", "r", 512, precision="bf16", gpu_bytes=100)
REASON = "the states of Gemma models exceed the largest fp16 number"
GPU = replace(CPU, precision="fp32", gpu_bytes=200, gpu=GpuFacts("fp32", REASON, "7.5 is below 8.0"))


def test_the_gpu_s_replica_says_how_it_computes() -> None:
    merged = merged_card({"gpu": GPU, "cpu": CPU})
    assert merged == replace(CPU, gpu=GPU.gpu, gpu_bytes=200)
    entry = model_entry(GPU if merged is None else merged)
    assert entry["precision"] == "bf16"
    assert entry["gpu_precision"] == f"fp32: {REASON}"
    assert entry["gpu_layout"] == "packed, attention padded: 7.5 is below 8.0"


def test_a_gpu_that_does_not_answer_for_a_moment_is_still_described() -> None:
    before = merged_card({"gpu": GPU, "cpu": CPU})
    assert merged_card({"cpu": CPU}, before) == before
    assert merged_card({}, before) == before
    assert merged_card({}) is None


def test_without_a_gpu_nothing_is_said_about_one() -> None:
    assert merged_card({"cpu": CPU}) == CPU
    entry = model_entry(CPU)
    assert (entry["gpu_precision"], entry["gpu_layout"]) == (None, "packed")
    padded = model_entry(replace(GPU, padded_because="deberta"))
    assert padded["gpu_layout"] == "padded: deberta"
