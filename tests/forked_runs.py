"""Runs of ``pytest claims`` in processes of their own, forked from one that has imported what takes long, with a fault where it is told.

A fault strikes at a write: the ``nth`` (from 0) of those whose label has ``of`` in it, at a ``stage``: before it ``begins``, in the
``middle`` of its bytes, when it is ``whole`` and not yet in its place, when it is ``done``. What strikes is a signal to the process itself,
or an ``errno`` that is raised. Labels: a measurement, with " unfinished" for its bookmark, or the name of a file that is no entry.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.store import Store, read

ROOT = Path(__file__).parent.parent
STAGES = ("begins", "middle", "whole", "done")


@dataclass(frozen=True)
class Fault:
    """What strikes, and where; with ``on`` at every write from there on. ``signal`` 0: the ``errno`` is raised."""

    of: str
    nth: int
    stage: str
    signal: int = 0
    errno: int = 0
    on: bool = False


class Runs:
    """The process that runs are forked from; a context manager."""

    def __enter__(self) -> Runs:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.forked_runs"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, folder: Path, *arguments: Any, fault: Fault | None = None, limit: int = 0) -> Ended:
        """Run in a folder, whose store and report are used; ``limit``: the largest file in bytes that the process may write, 0 for any."""
        return self.together((folder, "report.json", arguments), fault=fault, limit=limit)[0]

    def together(self, *runs: tuple[Path, str, tuple[Any, ...]], fault: Fault | None = None, limit: int = 0) -> list[Ended]:
        """Run several at once: folder, name of the report, arguments of each."""
        asked = []
        for folder, report, arguments in runs:
            folder.mkdir(exist_ok=True)
            given = [*map(str, arguments), f"--store={folder / 'store'}", f"--report={folder / report}", "--verdicts=report"]
            given += ["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
            said, writes = (str(folder / f".{report}.{what}") for what in ("said", "writes"))
            asked.append({"given": given, "said": said, "writes": writes, "fault": fault and asdict(fault), "limit": limit})
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())
        return [Ended(code, folder, folder / report) for code, (folder, report, _) in zip(codes, runs, strict=True)]


@dataclass(frozen=True)
class Ended:
    """A run that ended; ``code`` is negative where a signal ended it."""

    code: int
    folder: Path
    file: Path

    @property
    def report(self) -> dict[str, Any] | None:
        """The report, None where there is none. Raises ValueError for half of one."""
        return json.loads(self.file.read_text()) if self.file.exists() else None

    @property
    def said(self) -> str:
        """What the run printed."""
        return (self.folder / f".{self.file.name}.said").read_text()

    @property
    def writes(self) -> list[str]:
        """Labels of the run's writes, in their order; those that a fault struck too."""
        file = self.folder / f".{self.file.name}.writes"
        return file.read_text().splitlines() if file.exists() else []


def found(report: dict[str, Any]) -> str:
    """Return all figures and verdicts of a report, bit for bit."""
    return json.dumps([report[part] for part in ("rows", "claims", "evidence")])


def unfinished_files(folder: Path) -> list[str]:
    """Return the names of files that a writer left unfinished, anywhere below."""
    return sorted(file.name for file in folder.rglob("*.part"))


def check_store(folder: Path) -> list[str]:
    """Read every entry of a store, which raises where one does not verify or was set aside; return what is kept of unfinished sweeps."""
    store = Store(None)
    store.folder = folder / "store"  # Looks without removing anything.
    assert store.set_aside() == []
    keys = [read(file)[0] for file in store.entries()]
    return [key["measurement"] for key in keys if key.get("unfinished")]


def _label(file: Path, data: bytes) -> str:
    if file.suffix != ".safetensors":
        return file.name
    about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    key = json.loads(about["key"])
    return str(key.get("measurement", file.parent.name)) + (" unfinished" if key.get("unfinished") else "")


def _install(fault: Fault | None, writes: Path) -> None:
    """Note every write, and have the fault strike."""
    from harness import atomic, bookmark

    bookmark._SHARE = 1e9  # Kept at the end of every block.
    real, fdopen, fsync = atomic.write, os.fdopen, os.fsync
    struck = 0

    def strike() -> None:
        assert fault is not None
        if fault.signal:
            os.kill(os.getpid(), fault.signal)
        else:
            raise OSError(fault.errno, os.strerror(fault.errno))

    def write(file: Path, data: bytes) -> None:
        nonlocal struck
        label = _label(file, data)
        with writes.open("a") as out:
            out.write(f"{label}\n")
        mine = fault is not None and fault.of in label
        now = mine and fault is not None and (struck == fault.nth or (fault.on and struck >= fault.nth))
        struck += mine
        if now and fault is not None and fault.stage == "begins":
            strike()
        os.fdopen = _halving(fdopen, strike) if now and fault and fault.stage == "middle" else fdopen  # type: ignore[assignment]
        os.fsync = _after(fsync, strike) if now and fault and fault.stage == "whole" else fsync  # type: ignore[assignment]
        try:
            real(file, data)
        finally:
            os.fdopen, os.fsync = fdopen, fsync
        if now and fault is not None and fault.stage == "done":
            strike()

    atomic.write = write


def _halving(fdopen: Callable[..., Any], strike: Callable[[], None]) -> Callable[..., Any]:
    def opened(handle: int, mode: str) -> Any:
        stream = fdopen(handle, mode)
        real = stream.write

        class Halved:
            def __enter__(self) -> Halved:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def write(self, data: bytes) -> None:
                real(data[: len(data) // 2])
                stream.flush()
                strike()
                real(data[len(data) // 2 :])

            def flush(self) -> None:
                stream.flush()

            def fileno(self) -> int:
                return int(stream.fileno())

        return Halved()

    return opened


def _after(real: Callable[..., Any], strike: Callable[[], None]) -> Callable[..., Any]:
    def called(*given: Any) -> None:
        real(*given)
        strike()

    return called


def _child(asked: dict[str, Any]) -> int:
    out = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A background job's ignore it.
    Path(asked["writes"]).unlink(missing_ok=True)
    if asked["limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], asked["limit"]))
    _install(Fault(**asked["fault"]) if asked["fault"] else None, Path(asked["writes"]))
    import pytest

    return int(pytest.main(asked["given"]))


def _main() -> None:
    import importlib

    for name in (
        "torch",
        "transformers.models.llama.modeling_llama",
        "transformers.models.auto.tokenization_auto",
        "scipy.stats",
        "pydantic",
    ):
        importlib.import_module(name)
    for line in sys.stdin:
        started = []
        for asked in json.loads(line):
            if (pid := os.fork()) == 0:
                code = 70
                try:
                    code = _child(asked)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    os._exit(code)
            started.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    _main()
