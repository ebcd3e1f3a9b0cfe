import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet
from tests.vram.fakes import GIB, MIB, Clock
from trivet.errors import ConfigError
from trivet.simulation.ledger import Ledger, SimulatedGpu, SimulatedProbe
from trivet.vram.errors import SimulatedOutOfMemory
from trivet.vram.monitor import Monitor
from trivet.vram.policy import PolicyConfig
from trivet.vram.registry import Registry, ReplicaReport

GPU = SimulatedGpu(total_bytes=1000, context_bytes=50, external=((0.0, 0), (20.0, 600), (40.0, 0)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "gpu.db", GPU, clock)
    yield made
    made.close()


def test_memory_is_taken_kept_and_given_back(ledger: Ledger) -> None:
    ledger.attach("embedder")
    ledger.load("embedder", 300)
    assert ledger.view().free_bytes == 650
    with ledger.holding("embedder", 200):
        assert ledger.view().free_bytes == 450
    (row,) = ledger.view().rows
    assert (row.active_bytes, row.held_bytes) == (300, 500), "the allocator keeps what a forward returned"
    assert ledger.view().free_bytes == 450
    with ledger.holding("embedder", 200):
        assert ledger.view().free_bytes == 450, "and uses it again first"
    ledger.empty_cache("embedder")
    assert ledger.view().free_bytes == 650
    ledger.detach("embedder")
    assert ledger.view().free_bytes == 1000


def test_an_allocation_that_does_not_fit_raises_and_takes_nothing(ledger: Ledger) -> None:
    ledger.attach("embedder")
    before = ledger.view()
    with pytest.raises(SimulatedOutOfMemory) as refused:
        ledger.reserve("embedder", 951)
    assert (refused.value.asked_bytes, refused.value.free_bytes) == (951, 950)
    assert ledger.view() == before
    ledger.reserve("embedder", 950)
    with pytest.raises(SimulatedOutOfMemory):
        ledger.attach("reranker")


def test_a_cap_limits_before_the_gpu_does(ledger: Ledger) -> None:
    ledger.attach("embedder", cap_bytes=400)
    ledger.load("embedder", 300)
    with pytest.raises(SimulatedOutOfMemory) as refused:
        ledger.reserve("embedder", 101)
    assert refused.value.free_bytes == 100
    ledger.reserve("embedder", 100)


def test_offloading_gives_back_everything_but_the_context(ledger: Ledger) -> None:
    ledger.attach("embedder")
    ledger.load("embedder", 300)
    ledger.reserve("embedder", 100)
    ledger.offload("embedder")
    (row,) = ledger.view().rows
    assert (row.used_bytes, row.offloaded, row.weights_bytes) == (50, True, 300)
    ledger.load("embedder", 300)
    (row,) = ledger.view().rows
    assert (row.used_bytes, row.offloaded) == (350, False)


def test_weights_that_do_not_fit_leave_the_model_offloaded(ledger: Ledger) -> None:
    ledger.attach("embedder")
    with pytest.raises(SimulatedOutOfMemory):
        ledger.load("embedder", 951)
    (row,) = ledger.view().rows
    assert (row.offloaded, row.weights_bytes, row.used_bytes) == (True, 951, 50)


def test_the_external_process_follows_its_schedule_from_the_start(ledger: Ledger, clock: Clock) -> None:
    clock.advance(30.0)
    assert ledger.view().external_bytes == 0, "nothing before the start"
    ledger.start()
    held = []
    for _ in range(5):
        held.append(ledger.view().external_bytes)
        clock.advance(10.0)
        ledger.start()  # a later call, for example by another process, changes nothing
    assert held == [0, 0, 600, 600, 0]


def test_the_external_process_takes_only_memory_that_we_do_not_hold(ledger: Ledger, clock: Clock) -> None:
    ledger.attach("embedder")
    ledger.load("embedder", 500)
    ledger.start()
    clock.advance(25.0)
    assert (ledger.view().external_bytes, ledger.view().free_bytes) == (450, 0)
    with pytest.raises(SimulatedOutOfMemory):
        ledger.reserve("embedder", 1)
    ledger.offload("embedder")
    assert (ledger.view().external_bytes, ledger.view().free_bytes) == (600, 350)


def test_schedules_must_ascend() -> None:
    with pytest.raises(ConfigError, match="ascend"):
        SimulatedGpu(total_bytes=1, external=((10.0, 1), (5.0, 2)))


def test_wrong_calls_raise(ledger: Ledger) -> None:
    with pytest.raises(KeyError, match="embedder is not attached"):
        ledger.reserve("embedder", 1)
    ledger.attach("embedder")
    ledger.reserve("embedder", 10)
    with pytest.raises(ValueError, match="releases 11 bytes, but has reserved only 10"):
        ledger.release("embedder", 11)


def test_a_pickled_ledger_opens_the_same_gpu(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "gpu.db", GPU, time.monotonic)
    ledger.attach("embedder")
    copy = pickle.loads(pickle.dumps(ledger))
    copy.reserve("embedder", 100)
    assert ledger.view() == copy.view()
    assert ledger.view().free_bytes == 850
    ledger.close()
    copy.close()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "release", "empty_cache", "load", "offload", "attach", "detach"]),
        st.sampled_from(["embedder", "reranker"]),
        st.integers(0, 500),
        st.sampled_from([0.0, 7.0]),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(ACTIONS)
def test_the_gpu_is_never_over_full(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, int, float]]
) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path_factory.mktemp("gpu") / "gpu.db", GPU, clock)
    ledger.start()
    for action, model, size_bytes, pause_s in actions:
        clock.advance(pause_s)
        attached = {row.model: row for row in ledger.view().rows}
        with suppress(SimulatedOutOfMemory):
            if action == "attach":
                ledger.attach(model)
            elif model in attached and action in ("reserve", "load"):
                getattr(ledger, action)(model, size_bytes)
            elif model in attached and action == "release":
                ledger.release(model, min(size_bytes, attached[model].active_bytes))
            elif model in attached:
                getattr(ledger, action)(model)
        view = ledger.view()
        assert view.free_bytes >= 0
        for row in view.rows:
            assert 0 <= row.active_bytes <= row.held_bytes
    ledger.close()


# ── the probe ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_probe_sees_what_the_ledger_holds(ledger: Ledger, clock: Clock) -> None:
    ledger.attach("embedder")
    ledger.load("embedder", 300)
    with ledger.holding("embedder", 100):
        pass
    ledger.attach("reranker")
    ledger.load("reranker", 200)
    ledger.offload("reranker")
    seen = SimulatedProbe(ledger, clock).read()
    assert (seen.device, seen.total_bytes, seen.free_bytes, seen.external_bytes) == ("simulated:0", 1000, 500, 0)
    assert seen.ours_bytes == {"embedder": 450, "reranker": 50}
    assert seen.available_bytes("embedder") == 600
    assert seen.available_bytes("reranker") == 500
    assert seen.weights_bytes == {"embedder": 300, "reranker": 200}
    assert (seen.offloaded, seen.present) == ({"reranker"}, {"embedder", "reranker"})
    assert {(process.pid, process.owner) for process in seen.processes} == {
        (os.getpid(), "embedder"),
        (os.getpid(), "reranker"),
    }


def test_a_replica_that_has_not_reported_is_not_there_yet(ledger: Ledger, clock: Clock) -> None:
    ledger.attach("embedder")
    ledger.load("embedder", 300)
    registry = Registry()
    probe = SimulatedProbe(ledger, clock, registry)
    assert not probe.read().has_replica("embedder")  # its id is unknown, so a request could not be sent to it alone
    registry.report(ReplicaReport(model="embedder", pid=os.getpid(), gpu=GPU.name, replica="a", at_s=clock()))
    assert probe.read().has_replica("embedder")
    assert probe.read().stuck == {}
    clock.now_s += 6.0
    assert probe.read().stuck == {"embedder": "its GPU replica has been silent for 6 s"}


def test_a_ledger_that_cannot_be_read_is_an_unknown_observation(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "gpu.db").write_text("this is not a database, it only has the name of one" * 100)
    seen = SimulatedProbe(Ledger(tmp_path / "gpu.db", GPU, clock), clock).read()
    assert not seen.known
    assert "not a database" in str(seen.unknown_reason)


def test_a_squeeze_and_its_end_on_the_simulated_gpu(tmp_path: Path, clock: Clock) -> None:
    """The whole chain without sleeping: ledger → probe → policy → decisions → a replica that applies them."""
    gpu = SimulatedGpu(total_bytes=8 * GIB, external=((0.0, 0), (20.0, int(7.8 * GIB)), (140.0, 0)))
    ledger = Ledger(tmp_path / "gpu.db", gpu, clock)
    ledger.attach("embedder")
    ledger.load("embedder", 900 * MIB)
    ledger.start()
    monitor = Monitor(SimulatedProbe(ledger, clock), PolicyConfig(), ["embedder"], clock)
    story: list[tuple[float, str, str]] = []
    for _ in range(360):
        snapshot = monitor.tick()
        if snapshot is not None:
            decision = snapshot.decisions["embedder"]
            (row,) = ledger.view().rows
            if decision.offloaded and not row.offloaded:
                ledger.offload("embedder")
            elif row.offloaded and not decision.offloaded:
                ledger.load("embedder", row.weights_bytes)
            if not story or story[-1][1:] != (decision.lane, decision.cause):
                story.append((clock() - 1000.0, decision.lane, decision.cause))
        clock.advance(0.5)
    assert story == [
        (0.0, "gpu", "room"),
        (20.0, "cpu", "low_memory"),
        (80.0, "cpu", "offloaded"),
        (140.0, "cpu", "reloading"),
        (140.5, "gpu", "room"),
    ]
    ledger.close()


# ── several processes ─────────────────────────────────────────────────────────────────────────────────────────────


class Tenant:
    """A separate process on the GPU, driven line by line."""

    def __init__(self, path: Path, total_bytes: int, model: str) -> None:
        script = Path(__file__).with_name("ledger_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(path), str(total_bytes), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(trivet.__file__).parents[1])},
        )

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        self.send(command)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[tuple[Tenant, Tenant]]:
    made = tuple(Tenant(tmp_path / "gpu.db", 1000, model) for model in ("embedder", "reranker"))
    assert [tenant.answer() for tenant in made] == ["ok", "ok"]
    yield made[0], made[1]
    for tenant in made:
        tenant.kill()


@pytest.mark.slow
def test_processes_agree_and_a_killed_one_frees_its_memory(tmp_path: Path, tenants: tuple[Tenant, Tenant]) -> None:
    embedder, reranker = tenants
    watcher = Ledger(tmp_path / "gpu.db", SimulatedGpu(total_bytes=1000, context_bytes=10), time.monotonic)
    assert embedder.ask("reserve 600") == "ok"
    assert reranker.ask("reserve 400") == "oom"
    assert watcher.view().free_bytes == 380
    assert {row.pid for row in watcher.view().rows} == {embedder.process.pid, reranker.process.pid}
    embedder.kill()
    assert reranker.ask("reserve 400") == "ok"
    assert watcher.view().free_bytes == 590
    watcher.close()


@pytest.mark.slow
def test_concurrent_processes_never_over_fill_the_gpu(tenants: tuple[Tenant, Tenant]) -> None:
    """Two reservations of 490 fill the GPU exactly, so 500 must sometimes be refused, and never granted to both."""
    refused = 0
    for _ in range(50):  # until they have collided, which may take longer on a busy machine
        for tenant in tenants:
            tenant.send("spin 500 200")
        answers = [tenant.answer() for tenant in tenants]
        assert all(answer.isdigit() for answer in answers), "a tenant saw an over-full GPU and died"
        refused += sum(map(int, answers))
        if refused:
            return
    raise AssertionError("the processes never collided, so the test shows nothing")
