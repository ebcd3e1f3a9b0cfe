import subprocess
import sys
from dataclasses import replace

from tests.vram.fakes import MIB
from trivet.vram.registry import Registry, ReplicaReport, process_exists


def report(
    pid: int,
    model: str = "embedder",
    *,
    gpu: str = "GPU-a",
    at_s: float = 0.0,
    reusable: int = 0,
    returnable: int = 0,
    offloaded: bool = False,
) -> ReplicaReport:
    return ReplicaReport(
        model=model,
        pid=pid,
        gpu=gpu,
        replica=f"replica-{pid}",
        at_s=at_s,
        held_bytes=600 * MIB,
        reusable_bytes=reusable,
        returnable_bytes=returnable,
        weights_bytes=300 * MIB,
        offloaded=offloaded,
    )


def test_a_models_reusable_memory_is_the_minimum_over_its_replicas() -> None:
    registry = Registry(is_alive=lambda _: True)
    registry.report(report(1, reusable=200 * MIB))
    registry.report(report(2, reusable=50 * MIB))
    view = registry.view(0.0)
    assert view.reusable_bytes() == {"embedder": 50 * MIB}
    assert view.weights_bytes() == {"embedder": 600 * MIB}
    assert (view.owner(1), view.owner(3)) == ("embedder", None)


def test_old_allocator_figures_do_not_count_but_ownership_does() -> None:
    registry = Registry(max_age_s=10.0, is_alive=lambda _: True)
    registry.report(report(1, reusable=200 * MIB))
    assert registry.view(10.0).reusable_bytes() == {"embedder": 200 * MIB}
    old = registry.view(10.1)
    assert old.reusable_bytes() == {"embedder": 0}
    assert old.owner(1) == "embedder"
    registry.report(report(1, at_s=10.1, reusable=100 * MIB))
    assert registry.view(10.1).reusable_bytes() == {"embedder": 100 * MIB}


def test_one_offloaded_replica_marks_its_model_offloaded_with_no_reusable_memory() -> None:
    registry = Registry(is_alive=lambda _: True)
    registry.report(report(1, reusable=200 * MIB))
    registry.report(report(2, reusable=200 * MIB, offloaded=True))
    view = registry.view(0.0)
    assert view.offloaded() == {"embedder"}
    assert view.reusable_bytes() == {"embedder": 0}


def test_what_others_return_counts_each_process_once_and_not_the_models_own() -> None:
    registry = Registry(max_age_s=10.0, is_alive=lambda _: True)
    registry.report(report(1, returnable=200 * MIB))
    registry.report(report(1, "reranker", returnable=200 * MIB))
    registry.report(report(2, "classifier", returnable=50 * MIB))
    registry.report(report(3, gpu="GPU-b", returnable=900 * MIB))
    assert registry.view(0.0, "GPU-a").others_returnable_bytes() == {
        "embedder": 50 * MIB,
        "reranker": 50 * MIB,
        "classifier": 200 * MIB,
    }
    old = registry.view(10.1, "GPU-a").others_returnable_bytes()
    assert old == {"embedder": 0, "reranker": 0, "classifier": 0}, "memory that was unused then may be gone"


def test_the_report_of_a_process_that_died_is_dropped() -> None:
    alive = {1, 2}
    registry = Registry(is_alive=alive.__contains__)
    registry.report(report(1))
    registry.report(report(2, "reranker"))
    alive.remove(1)
    assert registry.view(0.0).present() == {"reranker"}
    alive.remove(2)
    assert registry.view(0.0).present() == frozenset()


def test_reports_count_on_their_own_gpu_and_a_process_may_serve_several_models() -> None:
    registry = Registry(is_alive=lambda _: True)
    registry.report(report(1, reusable=200 * MIB))
    registry.report(report(1, "reranker", reusable=100 * MIB))
    registry.report(report(2, gpu="GPU-b", offloaded=True))
    first, second = (registry.view(0.0, gpu) for gpu in ("GPU-a", "GPU-b"))
    assert first.reusable_bytes() == {"embedder": 200 * MIB, "reranker": 100 * MIB}
    assert first.owner(1) == "embedder, reranker"
    assert first.offloaded() == frozenset()
    assert first.replicas() == {"embedder": ("replica-1",), "reranker": ("replica-1",)}
    assert second.offloaded() == {"embedder"}
    assert (second.owner(1), second.replicas()) == (None, {"embedder": ("replica-2",)})


def test_a_gpu_is_given_away_until_its_process_ends() -> None:
    alive = {1, 2, 3}
    registry = Registry(is_alive=alive.__contains__)
    gpus = ("GPU-a", "GPU-b")
    assert [registry.assign(pid, "embedder", gpus, "spread") for pid in (1, 2, 3)] == ["GPU-a", "GPU-b", None]
    assert registry.assign(1, "embedder", gpus, "spread") == "GPU-a", "asked again, it keeps its GPU"
    alive.remove(2)
    assert registry.assign(3, "embedder", gpus, "spread", unreadable={"GPU-b"}) is None
    assert registry.assign(3, "embedder", gpus, "spread") == "GPU-b"


def test_an_actor_that_lost_its_memory_learns_the_gpus_from_the_reports() -> None:
    registry = Registry(is_alive=lambda _: True)
    registry.report(report(1))
    assert registry.assign(2, "embedder", ("GPU-a", "GPU-b"), "pack") == "GPU-b"


def test_a_process_exists_until_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_exists(child.pid)
    child.communicate(b"\n")
    assert not process_exists(child.pid)
    assert process_exists(1), "alive, although we may not have permission to signal it"


def test_a_replica_that_left_the_gpu_for_good_says_why() -> None:
    registry = Registry(is_alive=lambda _: True)
    registry.report(report(1))
    registry.report(replace(report(2, "reranker", offloaded=True), unusable="no kernels"))
    assert registry.view(0.0).unusable() == {"reranker": "no kernels"}


def test_a_replica_that_does_not_report_any_more_does_not_answer() -> None:
    registry = Registry(is_alive=lambda _: True, silent_after_s=5.0)
    registry.report(report(1, at_s=0.0))
    registry.report(report(2, "reranker", at_s=3.0))
    assert registry.view(5.0).stuck() == {}
    assert registry.view(6.2).stuck() == {"embedder": "its GPU replica has been silent for 6.2 s"}
    registry.report(report(1, at_s=6.5))
    assert registry.view(7.0).stuck() == {}


def test_a_replica_whose_forward_does_not_end_says_so() -> None:
    registry = Registry(is_alive=lambda _: True)
    registry.report(replace(report(1), stuck="a forward has been running for 7 s and does not end"))
    assert registry.view(0.0).stuck() == {"embedder": "a forward has been running for 7 s and does not end"}


def test_a_process_that_outlives_its_replacement_does_not_count() -> None:
    """A process that hangs in the driver does not end when it is killed."""
    registry = Registry(is_alive=lambda _: True, silent_after_s=5.0)
    registry.report(report(1, at_s=0.0))
    registry.report(report(2, at_s=300.0))
    assert registry.view(300.0).stuck() == {}
    assert registry.view(306.0).stuck() == {"embedder": "its GPU replica has been silent for 6 s"}
