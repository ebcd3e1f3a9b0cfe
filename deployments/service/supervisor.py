"""Starts `serve run` as a service of its own, watches it, and leaves nothing behind: what `trivet serve` does."""

import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from deployments.environment.exposure import KEYS_VARIABLE
from deployments.environment.token import ensure_private_token, token_file
from deployments.environment.variables import Variable, absolute_variables, cluster_environment, python_path
from deployments.service.folder import OUTPUT_FILE, folder_variables, keep_logs, make_run_folder
from deployments.service.leftovers import clear, dead_services, remove_folder
from deployments.service.ports import choose_ports, ports_of
from deployments.service.processes import end, processes_in
from deployments.service.record import ProcessId, RecordFile, ServiceRecord, all_records
from deployments.service.watch import ClusterWatch
from trivet.errors import ConfigError

STOP_TIMEOUT_S = 60.0
_RECORD_EVERY_S = 5.0
_PR_SET_PDEATHSIG = 1
_LONGEST_ERROR = 1000
"""Characters of an error that is logged; copying a folder has one for each file."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Supervisor:
    """One service, from its start to its end. Use `start`, `check` now and then, and `stop`."""

    serve_file: str
    """The text of the Serve config file."""
    url: str
    port: int
    variables: Sequence[Variable]
    cache_dir: Path
    lean: bool = False
    keys_required: bool = False
    extra_path: Path | None = None
    """A further folder of modules: where the configuration names an application other than Trivet's."""
    cleared: int = 0
    """Processes of dead services that the start has ended."""
    environment: dict[str, str] = field(default_factory=dict)
    """Of the cluster, once it has been started."""
    _child: "subprocess.Popen[bytes] | None" = None
    _folder: Path | None = None
    _lock: FileLock | None = None
    _watch: ClusterWatch = field(default_factory=ClusterWatch)
    _recorded_s: float = 0.0
    _record_is_stale: bool = False
    _is_stopping: bool = False

    def start(self, environ: Mapping[str, str], *, programs: Path, home: Path) -> None:
        """Clear what dead services left, choose ports and a folder, start the cluster.

        Raises:
            ConfigError: another service starts or runs on this port, or no port is free.
            OSError: a folder cannot be written.
        """
        self._acquire()
        try:
            for file, record in list(dead_services(self.cache_dir)):
                self.cleared += clear(file, record)
            taken = [port for _, record in all_records(self.cache_dir) for port in record.ports]
            self._folder = make_run_folder()
            own = choose_ports(environ, taken)
            if self.keys_required:
                own[KEYS_VARIABLE] = "1"
            self.environment = cluster_environment(
                self.variables, {**own, **absolute_variables(environ, Path.cwd())}, programs=programs
            )
            self.environment |= folder_variables(self._folder)
            self.environment["PYTHONPATH"] = python_path(environ, self.extra_path)
            if token := token_file(self.environment, home):
                ensure_private_token(token)
            self._child = self._run()
            self._write_record()
        except BaseException:
            self.end()
            raise

    def _acquire(self) -> None:
        self._lock = FileLock(RecordFile(self.cache_dir, self.port).path.with_suffix(".lock"), mode=0o600)
        Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            record = RecordFile(self.cache_dir, self.port).read()
            who = f"process {record.owner.pid}" if record is not None else "another process"
            raise ConfigError(
                f"{who} serves on port {self.port} already, or is starting to; "
                "stop it (Ctrl-C, `trivet stop`) or choose another http_options.port"
            ) from None

    def _run(self) -> "subprocess.Popen[bytes]":
        assert self._folder is not None
        file = self._folder / "serve_config.yaml"
        file.write_text(self.serve_file, encoding="utf-8")
        # A session of its own: Ctrl-C reaches this process alone, and is passed on exactly once. Ray puts the folder
        # that it was started in first on its workers' module path; from the caller's folder they would take any app.py.
        with (self._folder / OUTPUT_FILE).open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "deployments.run", str(file), *(["--lean"] if self.lean else [])],
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        assert self._folder is not None
        return self._folder

    @property
    def pid(self) -> int:
        """Process id of `serve run`."""
        assert self._child is not None
        return self._child.pid

    def exit_code(self) -> int | None:
        """Return the exit code of `serve run`; None while it runs."""
        assert self._child is not None
        return self._child.poll()

    def check(self) -> str | None:
        """Return the name of an essential process that has ended, or None; update the record now and then."""
        assert self._folder is not None
        if not self._watch.is_complete or time.monotonic() - self._recorded_s > _RECORD_EVERY_S:
            members = processes_in(self._folder)
            self._watch.look(members)
            self._update_record(members)
        return self._watch.lost()

    def announce_stop(self) -> None:
        """Record that the service stops, so that a `trivet stop` only waits for it."""
        assert self._folder is not None
        self._is_stopping = True
        self._update_record(processes_in(self._folder))

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Let Serve take its cluster down, then end whatever still runs; return 1 if Serve had to be killed."""
        assert self._child is not None
        code = 0
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                code = 1
        self.end()
        return code

    def fail(self) -> Path | None:
        """End a service that cannot go on; return the path of its logs, or None if there are none."""
        try:
            return None if self._folder is None else keep_logs(self._folder, RecordFile(self.cache_dir, self.port).logs)
        except OSError as error:  # a full disk, for instance; shutil's own errors are OSErrors, too
            logger.error("the logs could not be kept: %s", str(error)[:_LONGEST_ERROR])
            return None
        finally:
            self.end()

    def end(self) -> None:
        """End every process of the service at once, and remove its folder and record."""
        if self._folder is not None:
            end(processes_in(self._folder))
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._remove_traces()

    def _update_record(self, members: Sequence[psutil.Process]) -> None:
        """Write the record again; a full disk costs the names of new processes in it, not the service."""
        self._recorded_s = time.monotonic()
        try:
            self._write_record(members)
        except OSError as error:
            if not self._record_is_stale:
                logger.error("the record of this service stays as it was: %s", error)
            self._record_is_stale = True
        else:
            self._record_is_stale = False

    def _write_record(self, members: Sequence[psutil.Process] = ()) -> None:
        assert self._folder is not None
        record = ServiceRecord(
            url=self.url,
            owner=ProcessId.of(psutil.Process()),
            folder=str(self._folder),
            ports=(self.port, *ports_of(self.environment)),
            is_stopping=self._is_stopping,
        )
        RecordFile(self.cache_dir, self.port).write(record.with_members(members))
        self._recorded_s = time.monotonic()

    def _remove_traces(self) -> None:
        if self._folder is not None:
            remove_folder(self._folder)
            RecordFile(self.cache_dir, self.port).remove()
        if self._lock is not None:
            self._lock.release()


def _end_with_parent() -> None:
    """Have the kernel interrupt `serve run` when `trivet serve` dies, so that it takes its cluster down."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
