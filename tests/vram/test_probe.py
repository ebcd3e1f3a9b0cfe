"""The NVML path with the real `pynvml`, against a stub library that is compiled here."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trivet
from tests.vram.fakes import GIB, MIB
from trivet.gpu import CONTEXT_BYTES

HERE = Path(__file__).parent
COMPILER = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, GPU_LOST, DRIVER_NOT_LOADED, VERSION_MISMATCH = 3, 4, 13, 15, 9, 18
HEALTHY = {"total": 8 * GIB, "free": 5 * GIB, "reserved": 256 * MIB}

Play = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.slow  # every test starts an interpreter, which loads the stub


@pytest.fixture(scope="module")
def stub_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler for the NVML stub")
    directory = tmp_path_factory.mktemp("nvml")
    library = directory / "libnvidia-ml.so.1"
    build = [COMPILER, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(HERE / "nvml_stub.c")]
    subprocess.run(build, check=True)
    return directory


@pytest.fixture
def play(stub_directory: Path, tmp_path: Path) -> Play:
    def run(
        *steps: dict[str, Any],
        device: int | str = 0,
        reports: list[dict[str, Any]] | None = None,
        timeout_s: float = 5.0,
        library: Path | None = None,
    ) -> dict[str, Any]:
        script = {"device": device, "timeout_s": timeout_s, "reports": reports or [], "steps": steps}
        environment = os.environ | {
            "LD_LIBRARY_PATH": str(library or stub_directory),
            "PYTHONPATH": str(Path(trivet.__file__).parents[1]),
            "NVML_STUB_SCENARIO": str(tmp_path / "scenario"),
            "NVML_STUB_CALLS": str(tmp_path / "calls"),
        }
        ran = subprocess.run(
            [sys.executable, str(HERE / "nvml_session.py")],
            input=json.dumps(script),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        calls = tmp_path / "calls"
        result: dict[str, Any] = json.loads(ran.stdout)
        return result | {"calls": calls.read_text().split() if calls.exists() else []}

    return run


def test_totals_and_processes_are_attributed(play: Play) -> None:
    lists = {"compute_list": f"11:{2 * GIB},12:{512 * MIB}", "graphics_list": f"12:{512 * MIB},13:{64 * MIB}"}
    report = {"model": "embedder", "pid": 11, "held_bytes": GIB, "reusable_bytes": 300 * MIB, "weights_bytes": GIB}
    result = play({"scenario": HEALTHY | lists}, reports=[report])

    (seen,) = result["steps"]
    assert (seen["total_bytes"], seen["free_bytes"], seen["device"]) == (8 * GIB, 5 * GIB, "0: Stub GPU")
    assert seen["ours_bytes"] == {"embedder": 2 * GIB}
    # From the totals: 8 GiB minus 5 free, 256 MiB reserved and our 2. The lists name only 576 MiB of it.
    assert seen["external_bytes"] == 768 * MIB
    assert [(p["pid"], p["used_bytes"], p["owner"]) for p in seen["processes"]] == [
        (11, 2 * GIB, "embedder"),
        (12, 512 * MIB, None),
        (13, 64 * MIB, None),
    ]
    assert seen["reusable_bytes"] == {"embedder": 300 * MIB}
    assert seen["present"] == ["embedder"]
    assert seen["attribution_note"] is None
    assert result["log"] == ["INFO GPU 0: Stub GPU is readable"]


def test_without_permission_for_the_process_list_the_replicas_reports_count(play: Play) -> None:
    report = {"model": "embedder", "pid": 11, "held_bytes": GIB}
    (seen,) = play({"scenario": HEALTHY | {"compute": NO_PERMISSION}}, reports=[report])["steps"]
    assert seen["ours_bytes"] == {"embedder": GIB + CONTEXT_BYTES}
    assert seen["external_bytes"] == 8 * GIB - 5 * GIB - 256 * MIB - GIB - CONTEXT_BYTES
    assert "Insufficient Permissions" in seen["attribution_note"]
    assert "embedder" in seen["attribution_note"]


def test_replicas_that_do_not_answer_are_observed(play: Play) -> None:
    report = {"model": "embedder", "pid": 11, "held_bytes": GIB, "stuck": "a forward does not end"}
    (seen,) = play({"scenario": HEALTHY}, reports=[report])["steps"]
    assert seen["stuck"] == {"embedder": "a forward does not end"}


def test_external_use_is_none_when_a_replica_is_neither_listed_nor_sized(play: Play) -> None:
    silent = [{"model": "embedder", "pid": 11}]
    hidden, unsized = play(
        {"scenario": HEALTHY | {"compute": NOT_SUPPORTED}},
        {"scenario": HEALTHY | {"compute_list": "12:-1"}},
        reports=silent,
    )["steps"]
    assert hidden["external_bytes"] is None
    assert unsized["external_bytes"] is None
    assert unsized["processes"] == [{"pid": 12, "used_bytes": None, "owner": None}]
    assert hidden["free_bytes"] == 5 * GIB, "the totals are still good"


def test_external_use_is_the_sum_of_the_list_while_ours_is_not_sized_yet(play: Play) -> None:
    silent = [{"model": "embedder", "pid": 11}]
    (seen,) = play({"scenario": HEALTHY | {"compute_list": f"12:{GIB}"}}, reports=silent)["steps"]
    assert seen["external_bytes"] == GIB


def test_missing_graphics_and_mps_lists_are_normal(play: Play) -> None:
    quiet = {"graphics": NOT_SUPPORTED, "mps": FUNCTION_NOT_FOUND}
    (seen,) = play({"scenario": HEALTHY | quiet})["steps"]
    assert seen["attribution_note"] is None


def test_an_old_driver_has_only_the_first_memory_call(play: Play) -> None:
    (seen,) = play({"scenario": HEALTHY | {"memory_v2": FUNCTION_NOT_FOUND}})["steps"]
    assert (seen["total_bytes"], seen["free_bytes"]) == (8 * GIB, 5 * GIB)
    assert seen["external_bytes"] == 3 * GIB, "that call counts the driver's reserved memory as used"


def test_no_driver_library_is_an_observation_and_one_log_line(play: Play, tmp_path: Path) -> None:
    result = play({"scenario": {}}, {"scenario": {}, "advance_s": 60.0}, library=tmp_path)
    assert [seen["unknown_reason"] for seen in result["steps"]] == ["NVML: NVML Shared Library Not Found"] * 2
    assert result["log"] == ["WARNING GPU 0 cannot be read: NVML: NVML Shared Library Not Found"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ({"init": DRIVER_NOT_LOADED}, "Driver Not Loaded"),
        ({"init": VERSION_MISMATCH}, "RM has detected an NVML/RM version mismatch"),
        ({"handle": NO_PERMISSION}, "Insufficient Permissions"),
        ({"memory": NOT_SUPPORTED}, "Not Supported"),
        ({"memory": 77}, "an error of the stub"),  # a code this binding has no name for
    ],
)
def test_errors_are_observations(play: Play, scenario: dict[str, int], words: str) -> None:
    (seen,) = play({"scenario": HEALTHY | scenario})["steps"]
    assert words in seen["unknown_reason"]
    assert (seen["total_bytes"], seen["free_bytes"]) == (0, 0)


def test_an_unknown_device_is_an_observation(play: Play) -> None:
    (seen,) = play({"scenario": HEALTHY}, device="GPU-7")["steps"]
    assert "GPU-7" in seen["unknown_reason"]


def test_a_lost_gpu_is_reopened_but_not_at_every_read(play: Play) -> None:
    lost, gone = HEALTHY | {"memory": GPU_LOST}, HEALTHY | {"init": DRIVER_NOT_LOADED}
    result = play(
        {"scenario": HEALTHY},
        {"scenario": lost},  # the session is given up
        {"scenario": gone},  # opening fails
        {"scenario": gone, "advance_s": 1.0},  # too soon to try again
        {"scenario": HEALTHY, "advance_s": 1.0},  # still too soon, though the GPU is back
        {"scenario": HEALTHY, "advance_s": 5.0},
    )
    known = [seen["unknown_reason"] is None for seen in result["steps"]]
    assert known == [True, False, False, False, False, True]
    assert result["calls"][:4] == ["init", "shutdown", "init", "init"]
    assert result["log"] == [
        "INFO GPU 0: Stub GPU is readable",
        "WARNING GPU 0 cannot be read: NVML: memory: GPU is lost",
        "WARNING GPU 0 cannot be read: NVML: Driver Not Loaded",
        "INFO GPU 0: Stub GPU is readable again",
    ]


@pytest.mark.slow
def test_a_hung_driver_costs_one_timeout_and_one_thread(play: Play) -> None:
    hung = HEALTHY | {"hang": "memory"}
    result = play(
        {"scenario": HEALTHY},
        *[{"scenario": hung}] * 4,
        {"scenario": HEALTHY, "until_known": True},
        timeout_s=0.2,
    )
    first, timed_out, *still_hanging, recovered = result["steps"]
    assert first["unknown_reason"] is None
    assert timed_out["unknown_reason"] == "NVML did not answer within 0.2 s"
    assert timed_out["took_s"] >= 0.2
    for seen in still_hanging:
        assert seen["unknown_reason"] == timed_out["unknown_reason"]
        assert seen["took_s"] < 0.1, "later reads do not wait for the hung one"
    assert recovered["free_bytes"] == 5 * GIB
    assert result["threads"] == ["MainThread", "nvml-0"]
    assert [line.split()[0] for line in result["log"]] == ["INFO", "WARNING", "INFO"]


def test_with_mig_an_index_stands_for_the_only_instance(play: Play) -> None:
    mig = {"mig_instances": 1, "mig0_total": 2 * GIB, "mig0_free": GIB, "mig0_compute_list": f"12:{GIB}"}
    (seen,) = play({"scenario": HEALTHY | mig})["steps"]
    assert (seen["total_bytes"], seen["free_bytes"], seen["device"]) == (2 * GIB, GIB, "0: Stub GPU MIG")
    assert [process["pid"] for process in seen["processes"]] == [12]


def test_with_several_mig_instances_a_uuid_is_required(play: Play) -> None:
    mig = {"mig_instances": 2, "mig0_total": 2 * GIB, "mig0_free": GIB}
    (by_index,) = play({"scenario": HEALTHY | mig})["steps"]
    assert "2 MIG instances" in by_index["unknown_reason"]
    (by_name,) = play({"scenario": HEALTHY | mig}, device="MIG-0")["steps"]
    assert by_name["free_bytes"] == GIB


def test_a_gpu_that_does_not_support_mig_is_readable(play: Play) -> None:
    (seen,) = play({"scenario": HEALTHY | {"mig": NOT_SUPPORTED}})["steps"]
    assert seen["free_bytes"] == 5 * GIB


def test_the_memory_of_one_process_is_read(play: Play) -> None:
    listed = play({"scenario": HEALTHY | {"compute_list": f"11:{2 * GIB},12:{GIB}"}})
    assert listed["of_process_11"] == 2 * GIB
    assert play({"scenario": HEALTHY | {"compute_list": f"12:{GIB}"}})["of_process_11"] is None
    assert play({"scenario": HEALTHY | {"compute_list": "11:-1"}})["of_process_11"] is None
    assert play({"scenario": HEALTHY | {"compute": NO_PERMISSION}})["of_process_11"] is None
    assert "NVML" in play({"scenario": HEALTHY | {"memory": GPU_LOST}})["of_process_11"]
    mig = {"mig_instances": 2, "mig0_total": 2 * GIB, "mig0_free": GIB, "mig0_compute_list": f"11:{GIB}"}
    assert play({"scenario": HEALTHY | mig}, device="MIG-0")["of_process_11"] == GIB


def test_a_kind_of_gpu_is_its_name_and_its_driver(play: Play) -> None:
    assert play({"scenario": HEALTHY})["kind"] == "Stub GPU, driver 580.1"
    assert "NVML" in play({"scenario": HEALTHY | {"driver": GPU_LOST}})["kind"]


def test_gpus_are_listed_by_uuid_and_a_lost_one_hides_no_other(play: Play) -> None:
    assert play({"scenario": HEALTHY | {"gpus": 2}})["gpus"] == [["GPU-0"], []]
    mig = {"mig_instances": 2, "mig0_total": 2 * GIB, "mig0_free": GIB}
    assert play({"scenario": HEALTHY | mig})["gpus"] == [["MIG-0", "MIG-1"]]
    assert "Driver Not Loaded" in play({"scenario": HEALTHY | {"init": DRIVER_NOT_LOADED}})["gpus"]


def test_a_replica_counts_on_the_gpu_that_it_reports(play: Play) -> None:
    processes = {"compute_list": f"11:{2 * GIB},12:{GIB}"}
    reports = [
        {"model": "embedder", "pid": 11, "held_bytes": GIB},
        {"model": "reranker", "pid": 11, "held_bytes": GIB},
        {"model": "classifier", "pid": 12, "gpu": "GPU-1"},
    ]
    (seen,) = play({"scenario": HEALTHY | processes}, device="GPU-0", reports=reports)["steps"]
    assert seen["ours_bytes"] == {"embedder": GIB, "reranker": GIB}, "one process, whose memory its models share"
    assert seen["present"] == ["embedder", "reranker"]
    assert seen["device"] == "GPU-0: Stub GPU"


def test_with_mig_a_gpus_uuid_stands_for_its_only_instance(play: Play) -> None:
    mig = {"mig0_total": 2 * GIB, "mig0_free": GIB}
    (one,) = play({"scenario": HEALTHY | mig | {"mig_instances": 1}}, device="GPU-0")["steps"]
    assert one["free_bytes"] == GIB
    (two,) = play({"scenario": HEALTHY | mig | {"mig_instances": 2}}, device="GPU-0")["steps"]
    assert "2 MIG instances" in two["unknown_reason"]
