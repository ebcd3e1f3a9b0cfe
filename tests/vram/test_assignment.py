"""Which GPUs are ours, and which of them a new replica takes."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.config import TASKS, AppConfig, GpuPlacement
from trivet.engine.cuda.identity import gpu_uuid
from trivet.vram.assignment import choose_gpu, visible_gpus

TWO = (("GPU-aa1",), ("GPU-bb2",))
MIG = (("MIG-x1", "MIG-x2"), ("GPU-bb2",))


@pytest.mark.parametrize(
    ("by_index", "visible", "expected"),
    [
        (TWO, None, ("GPU-aa1", "GPU-bb2")),
        (TWO, "", ()),
        (TWO, "1,0", ("GPU-bb2", "GPU-aa1")),
        (TWO, " 1 ", ("GPU-bb2",)),
        (TWO, "GPU-bb", ("GPU-bb2",)),
        (TWO, "GPU-bb2,0,0", ("GPU-bb2", "GPU-aa1")),
        (TWO, "0,7,1", ("GPU-aa1",)),  # CUDA ignores what is behind an entry that names no GPU
        (TWO, "-1", ()),
        (MIG, None, ("MIG-x1", "MIG-x2", "GPU-bb2")),
        (MIG, "MIG-x2", ("MIG-x2",)),
        (((), ("GPU-bb2",)), "1", ("GPU-bb2",)),  # the first GPU is lost
    ],
)
def test_visible_gpus(by_index: Sequence[Sequence[str]], visible: str | None, expected: tuple[str, ...]) -> None:
    assert visible_gpus(by_index, visible) == expected


@pytest.mark.parametrize(
    ("visible", "uuid", "expected"),
    [
        (None, "aa1", "GPU-aa1"),
        ("3", "GPU-aa1", "GPU-aa1"),
        ("GPU-a", "aa1", "GPU-aa1"),
        ("MIG-x2,MIG-x1", "aa1", "MIG-x2"),
    ],
)
def test_a_process_names_its_gpu_as_the_driver_does(visible: str | None, uuid: str, expected: str) -> None:
    assert gpu_uuid(visible, uuid) == expected


def placed(placement: GpuPlacement, models: Sequence[str]) -> list[str | None]:
    held: dict[str, set[str]] = {}
    chosen = []
    for model in models:
        gpu = choose_gpu(("a", "b"), held, model, placement)
        chosen.append(gpu)
        if gpu is not None:
            held.setdefault(gpu, set()).add(model)
    return chosen


def test_spread_pack_and_by_index() -> None:
    assert placed("spread", TASKS) == ["a", "b", "a"]
    assert placed("pack", TASKS) == ["a", "a", "a"]
    assert placed({"embedder": 1, "reranker": 0, "classifier": 1}, TASKS) == ["b", "a", "b"]
    assert placed({"embedder": 2}, ["embedder", "reranker"]) == [None, "a"]
    assert placed("spread", ["embedder"] * 3) == ["a", "b", None]


@given(
    st.lists(st.sampled_from(TASKS), max_size=12),
    st.one_of(st.sampled_from(["spread", "pack"]), st.dictionaries(st.sampled_from(TASKS), st.integers(0, 2))),
    st.sets(st.sampled_from(["a", "b", "c"])),
)
def test_a_gpu_never_gets_a_model_twice_nor_anything_while_it_is_unreadable(
    models: list[str], placement: GpuPlacement, unreadable: set[str]
) -> None:
    held: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for model in models:
        chosen = choose_gpu(tuple(held), held, model, placement, unreadable)
        if chosen is None:
            if not isinstance(placement, dict):
                assert all(gpu in unreadable or model in on_it for gpu, on_it in held.items()), "it waits in vain"
            continue
        assert chosen not in unreadable
        held[chosen].append(model)
    assert all(len(on_it) == len(set(on_it)) for on_it in held.values())


def test_the_configuration_of_several_gpus() -> None:
    config = AppConfig.model_validate(
        {
            "gpu": {"placement": {"embedder": 1}},
            "simulated": {"gpus": ["8GiB", {"vram": "4GiB", "external": [[3, "1GiB"]]}]},
        }
    )
    assert [int(gpu.vram) >> 30 for gpu in config.simulated.all_gpus()] == [8, 4]
    assert config.simulated.all_gpus()[1].external == ((3.0, 1 << 30),)
    assert config.gpu.placement == {"embedder": 1}
    one = AppConfig.model_validate({"simulated": {"vram": "6GiB"}}).simulated.all_gpus()
    assert [int(gpu.vram) >> 30 for gpu in one] == [6]


def test_fractions_add_up_per_gpu() -> None:
    models = {"embedder": {"gpu_fraction": 0.7}, "reranker": {"gpu_fraction": 0.7}}
    with pytest.raises(ValueError, match=r"adds up to 1\.70"):
        AppConfig.model_validate(models)
    AppConfig.model_validate(models | {"gpu": {"placement": {"embedder": 0, "reranker": 1, "classifier": 1}}})
    with pytest.raises(ValueError, match=r"classifier adds up to 1\.20"):
        AppConfig.model_validate(
            models | {"classifier": {"gpu_fraction": 0.5}, "gpu": {"placement": {"embedder": 0, "reranker": 1}}}
        )
