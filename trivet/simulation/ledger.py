"""The simulated GPU: a ledger of modelled VRAM that several processes share, and a probe that reads it.

The ledger models what decides whether an allocation fits: a CUDA context per process, weights, the memory of a forward,
the memory that a caching allocator keeps afterwards, a cap per process, and an external process that follows a
schedule. It models neither time nor fragmentation nor kernels; it only counts bytes.

Why SQLite: an allocation must check and take memory atomically across processes, and a process that is killed halfway
must leave the ledger consistent. `BEGIN IMMEDIATE` provides the first, the write-ahead log the second, and both are in
the standard library. Each transaction first deletes the rows of dead processes, as a driver frees their memory. The
file must be on a local disk (or tmpfs) and is of no use after the run.

The external process holds what its schedule says, as far as the GPU has room. Like a real process it cannot take memory
that we hold, and it takes what we give back. The schedule starts with the first call of `start`, when the service is
ready. All processes must pass times of the same clock; on one machine `time.monotonic` is such a clock.
"""

import bisect
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from trivet.errors import ConfigError
from trivet.gpu import CONTEXT_BYTES
from trivet.vram.errors import SimulatedOutOfMemory
from trivet.vram.registry import Registry, process_exists
from trivet.vram.types import Observation, ProcessUse

_SCHEMA = """
CREATE TABLE IF NOT EXISTS process (
    pid INTEGER NOT NULL, model TEXT NOT NULL,
    context_bytes INTEGER NOT NULL, cap_bytes INTEGER,
    weights_bytes INTEGER NOT NULL DEFAULT 0, offloaded INTEGER NOT NULL DEFAULT 0,
    active_bytes INTEGER NOT NULL DEFAULT 0,
    held_bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pid, model)
) STRICT;
CREATE TABLE IF NOT EXISTS epoch (one INTEGER PRIMARY KEY CHECK (one = 1), start_s REAL NOT NULL) STRICT;
"""

_COLUMNS = "pid, model, context_bytes, cap_bytes, weights_bytes, offloaded, active_bytes, held_bytes"
_BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGpu:
    """The GPU and the external process. `external` holds (seconds after start, bytes) in ascending time."""

    total_bytes: int
    external: tuple[tuple[float, int], ...] = ()
    name: str = "simulated:0"
    """The GPU's name on its node, which is also its UUID."""
    context_bytes: int = CONTEXT_BYTES

    def __post_init__(self) -> None:
        times = [at_s for at_s, _ in self.external]
        if times != sorted(set(times)):
            raise ConfigError(f"simulated.external: the seconds are {times}; they must ascend")

    def scheduled_bytes(self, elapsed_s: float | None) -> int:
        """Return the bytes that the external process wants `elapsed_s` after start; 0 before its first step."""
        if elapsed_s is None:
            return 0
        step = bisect.bisect_right(self.external, elapsed_s, key=lambda entry: entry[0])
        return self.external[step - 1][1] if step else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One process on the simulated GPU. `held_bytes` is the memory of its allocator: active plus cached."""

    pid: int
    model: str
    context_bytes: int
    cap_bytes: int | None
    weights_bytes: int
    offloaded: bool
    active_bytes: int
    held_bytes: int

    @property
    def used_bytes(self) -> int:
        """Return all memory of the process on the GPU."""
        return self.context_bytes + self.held_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """The whole GPU at one moment."""

    total_bytes: int
    external_bytes: int
    rows: tuple[LedgerRow, ...]

    @property
    def free_bytes(self) -> int:
        """Return the memory that neither our processes nor the external process hold."""
        return self.total_bytes - self.external_bytes - sum(row.used_bytes for row in self.rows)


class Ledger:
    """Access to the simulated GPU in the file at `path`, for the models of this process.

    `clock` must return the same time in every process that opens the file. Thread-safe; must not be used across a fork.
    Picklable: the copy opens the same file again. Methods that take `model` raise `KeyError` if it is not attached.
    """

    def __init__(
        self,
        path: Path,
        gpu: SimulatedGpu,
        clock: Callable[[], float],
        *,
        is_alive: Callable[[int], bool] = process_exists,
    ) -> None:
        self._path = path
        self._gpu = gpu
        self._clock = clock
        self._is_alive = is_alive
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Ledger, is_alive=self._is_alive), (self._path, self._gpu, self._clock)

    @property
    def gpu(self) -> SimulatedGpu:
        """The modelled GPU."""
        return self._gpu

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def lost(self) -> bool:
        """Whether the driver says that the GPU is lost: while a file `<path>.lost` exists."""
        return self._path.with_name(f"{self._path.name}.lost").exists()

    def start(self) -> None:
        """Start the external process's schedule now; later calls, from any process, change nothing."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO epoch VALUES (1, ?)", (self._clock(),))

    def attach(self, model: str, *, cap_bytes: int | None = None) -> None:
        """Open a CUDA context for `model` in this process; its allocator may then take up to `cap_bytes` (None: no
        cap).

        Raises `SimulatedOutOfMemory` if not even the context fits. Attaching again resets the row.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM process WHERE pid = ? AND model = ?", (os.getpid(), model))
            free_bytes = self._view(db).free_bytes
            context_bytes = self._gpu.context_bytes
            if context_bytes > free_bytes:
                raise SimulatedOutOfMemory(model=model, asked_bytes=context_bytes, free_bytes=free_bytes)
            db.execute(
                "INSERT INTO process (pid, model, context_bytes, cap_bytes) VALUES (?, ?, ?, ?)",
                (os.getpid(), model, context_bytes, cap_bytes),
            )

    def detach(self, model: str) -> None:
        """Free all memory of `model` in this process, including its CUDA context."""
        with self._transaction() as db:
            db.execute("DELETE FROM process WHERE pid = ? AND model = ?", (os.getpid(), model))

    def load(self, model: str, weights_bytes: int) -> None:
        """Put the weights on the GPU. Raises `SimulatedOutOfMemory`; the model then counts as offloaded."""
        with self._transaction() as db:  # a separate transaction, so that it persists if the next one is rolled back
            row = self._row(db, model)
            self._write(db, replace(row, weights_bytes=weights_bytes, offloaded=True))
        with self._transaction() as db:
            row = self._grown(db, self._row(db, model), weights_bytes)
            self._write(db, replace(row, offloaded=False))

    def offload(self, model: str) -> None:
        """Take the weights off the GPU and free all memory of the allocator; the CUDA context stays."""
        with self._transaction() as db:
            self._write(db, replace(self._row(db, model), offloaded=True, active_bytes=0, held_bytes=0))

    def reserve(self, model: str, size_bytes: int) -> None:
        """Allocate memory for a forward, first from the allocator's cache, then from the GPU.

        Raises `SimulatedOutOfMemory`, without having allocated anything, if the GPU or the cap has no room.
        """
        with self._transaction() as db:
            self._write(db, self._grown(db, self._row(db, model), size_bytes))

    def release(self, model: str, size_bytes: int) -> None:
        """Return memory to the allocator, which caches it: only `empty_cache` returns it to the GPU."""
        with self._transaction() as db:
            row = self._row(db, model)
            if size_bytes > row.active_bytes:
                raise ValueError(f"{model} releases {size_bytes} bytes, but has reserved only {row.active_bytes}")
            self._write(db, replace(row, active_bytes=row.active_bytes - size_bytes))

    @contextmanager
    def holding(self, model: str, size_bytes: int) -> Iterator[None]:
        """Reserve `size_bytes` for the duration of a `with` block."""
        self.reserve(model, size_bytes)
        try:
            yield
        finally:
            self.release(model, size_bytes)

    def empty_cache(self, model: str) -> None:
        """Return the allocator's cached memory to the GPU."""
        with self._transaction() as db:
            row = self._row(db, model)
            self._write(db, replace(row, held_bytes=row.active_bytes))

    def view(self) -> LedgerView:
        """Return the state of the whole GPU."""
        with self._transaction() as db:
            return self._view(db)

    def close(self) -> None:
        """Close the file. Rows stay until they are detached or this process ends."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _grown(self, db: sqlite3.Connection, row: LedgerRow, size_bytes: int) -> LedgerRow:
        """Return `row` with `size_bytes` more in use, or raise `SimulatedOutOfMemory`."""
        active_bytes = row.active_bytes + size_bytes
        held_bytes = max(row.held_bytes, active_bytes)
        room_bytes = self._view(db).free_bytes
        if row.cap_bytes is not None:
            room_bytes = min(room_bytes, row.cap_bytes - row.held_bytes)
        if held_bytes - row.held_bytes > room_bytes:
            free_bytes = row.held_bytes - row.active_bytes + room_bytes
            raise SimulatedOutOfMemory(model=row.model, asked_bytes=size_bytes, free_bytes=free_bytes)
        return replace(row, active_bytes=active_bytes, held_bytes=held_bytes)

    def _view(self, db: sqlite3.Connection) -> LedgerView:
        rows = tuple(_row(record) for record in db.execute(f"SELECT {_COLUMNS} FROM process ORDER BY model, pid"))
        epoch = db.execute("SELECT start_s FROM epoch").fetchone()
        elapsed_s = None if epoch is None else self._clock() - epoch[0]
        left_bytes = self._gpu.total_bytes - sum(row.used_bytes for row in rows)
        return LedgerView(
            total_bytes=self._gpu.total_bytes,
            external_bytes=min(self._gpu.scheduled_bytes(elapsed_s), left_bytes),
            rows=rows,
        )

    @staticmethod
    def _row(db: sqlite3.Connection, model: str) -> LedgerRow:
        found = db.execute(
            f"SELECT {_COLUMNS} FROM process WHERE pid = ? AND model = ?", (os.getpid(), model)
        ).fetchone()
        if found is None:
            raise KeyError(f"{model} is not attached to the simulated GPU by process {os.getpid()}")
        return _row(found)

    @staticmethod
    def _write(db: sqlite3.Connection, row: LedgerRow) -> None:
        db.execute(
            "UPDATE process SET weights_bytes = ?, offloaded = ?, active_bytes = ?, held_bytes = ? "
            "WHERE pid = ? AND model = ?",
            (row.weights_bytes, row.offloaded, row.active_bytes, row.held_bytes, row.pid, row.model),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a `with` block as one transaction, exclusive across processes, and roll it back if the block raises."""
        with self._lock:
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                for (pid,) in db.execute("SELECT DISTINCT pid FROM process").fetchall():
                    if not self._is_alive(pid):
                        db.execute("DELETE FROM process WHERE pid = ?", (pid,))
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # Two processes that switch the write-ahead log on at once do not wait for each other: one fails as locked.
            with FileLock(self._path.with_name(f"{self._path.name}.opening"), timeout=_BUSY_TIMEOUT_S):
                db = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = OFF")  # must survive a killed process, but not a crashed machine
                db.executescript(_SCHEMA)
            self._connection = db
        return self._connection


class SimulatedProbe:
    """Reads a simulated GPU, as `NvmlProbe` reads a real one.

    `registry` has the replicas' reports: what idle ones can return, and, as on a real GPU, which replicas can be asked.
    Without it, the rows of the ledger are the replicas, and nothing can be returned.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], registry: Registry | None = None) -> None:
        self._ledger = ledger
        self._clock = clock
        self._registry = registry
        self._device = ledger.gpu.name

    def read(self) -> Observation:
        """Return the ledger's state now; unknown if the GPU is lost, or its file cannot be read."""
        now_s = self._clock()
        if self._ledger.lost:
            return Observation.unknown(at_s=now_s, device=self._device, reason=f"{self._device}: GPU is lost")
        try:
            view = self._ledger.view()
        except sqlite3.Error as error:
            return Observation.unknown(at_s=now_s, device=self._device, reason=f"simulated GPU: {error}")
        ours: dict[str, int] = {}
        reusable: dict[str, int] = {}
        weights: dict[str, int] = {}
        for row in view.rows:
            idle_bytes = row.held_bytes - row.active_bytes
            ours[row.model] = ours.get(row.model, 0) + row.used_bytes
            reusable[row.model] = min(reusable.get(row.model, idle_bytes), idle_bytes)
            weights[row.model] = weights.get(row.model, 0) + row.weights_bytes
        reports = self._registry.view(now_s, self._ledger.gpu.name) if self._registry is not None else None
        return Observation(
            at_s=now_s,
            device=self._device,
            total_bytes=view.total_bytes,
            free_bytes=view.free_bytes,
            ours_bytes=ours,
            external_bytes=view.external_bytes,
            reusable_bytes=reusable,
            others_returnable_bytes=reports.others_returnable_bytes() if reports is not None else {},
            weights_bytes=weights,
            offloaded=frozenset(row.model for row in view.rows if row.offloaded),
            unusable=reports.unusable() if reports is not None else {},
            stuck=reports.stuck() if reports is not None else {},
            present=reports.present() if reports is not None else frozenset(row.model for row in view.rows),
            processes=tuple(ProcessUse(row.pid, row.used_bytes, row.model) for row in view.rows),
        )


def _row(record: Sequence[Any]) -> LedgerRow:
    pid, model, context_bytes, cap_bytes, weights_bytes, offloaded, active_bytes, held_bytes = record
    return LedgerRow(
        pid=pid,
        model=model,
        context_bytes=context_bytes,
        cap_bytes=cap_bytes,
        weights_bytes=weights_bytes,
        offloaded=bool(offloaded),
        active_bytes=active_bytes,
        held_bytes=held_bytes,
    )
