"""What killed runs leave: ``python -m benchmarks.kills [--model M] [--corpus C] [--points 50] [--select '-m claim4'] [--json FILE]``.

One run that is left alone gives rows and a duration. Then the same command is killed, with SIGINT and SIGKILL by turns, at moments drawn
uniformly over that duration, and given again: half the points in a store of their own and then run to its end, the others in one store that
is killed again and again until a run gets through. Whatever ends must report rows, claims and evidence of the run left alone, to the bit.
Exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fixtures.models import DEFAULT_MODEL
from reports.document import ReportError, from_contents

ROOT = Path(__file__).parent.parent
SIGNALS = (signal.SIGINT, signal.SIGKILL)
ENDED = "ended before the kill"
_COMPARED = ("rows", "claims", "evidence")
_PATIENCE = 120.0
"""Seconds that a run may take to end after SIGINT."""


@dataclass
class Point:
    """One killed run.

    ``moment`` and ``ended_after`` in seconds; ``saved``: of the uninterrupted run's processor seconds, how many the run that got through
    did not take; None where another kill came first. ``wrong``: everything that should not be.
    """

    kind: str
    signal: str
    moment: float
    doing: str
    ended_after: float
    report: str = ""
    equal: bool | None = None
    saved: float | None = None
    wrong: list[str] = field(default_factory=list)


class Killer:
    """Runs one command in folders of its own, and kills it."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self._command = [sys.executable, "-m", "pytest", "claims", "-v", "-p", "no:cacheprovider", "--verdicts=report"]
        self._command += [f"--model={given.model}", f"--corpus={given.corpus}", *shlex.split(given.select)]
        self._folder, self._draw = folder, random.Random(given.seed)
        (folder / "tmp").mkdir()
        start, before = time.monotonic(), _processor_seconds()
        code, _ = self._run("alone", None, None)
        self.seconds, self.processor_seconds = time.monotonic() - start, _processor_seconds() - before
        if code != 0:
            raise SystemExit(f"the run that is left alone ends with {code}:\n{self._log('alone').read_text()[-2000:]}")
        self.expected = self._report("alone")
        self._stores = 0

    def fresh(self, which: signal.Signals) -> list[Point]:
        """Kill once, in a store of its own, and run the command to its end."""
        place = self._new_place()
        return [self._finish(place, self._killed(place, "fresh", which))]

    def continued(self, first: int, most: int) -> list[Point]:
        """Kill one store's run again and again until one gets through, or ``most`` are killed."""
        place, points = self._new_place(), list[Point]()
        while len(points) < most and not (points and points[-1].equal is not None):
            points.append(self._killed(place, "continued", SIGNALS[(first + len(points)) % 2]))
        return [*points[:-1], self._finish(place, points[-1])]

    def leftovers(self) -> list[str]:
        """Names of temporary files that all runs together left; torch's cache of compiled code is one, and stays one."""
        return sorted(path.name for path in (self._folder / "tmp").iterdir() if not path.name.startswith("torchinductor_"))

    def _new_place(self) -> str:
        self._stores += 1
        return f"store{self._stores}"

    def _killed(self, place: str, kind: str, which: signal.Signals) -> Point:
        """Run and kill; a run that ended before the kill came is compared as one that got through."""
        moment = self._draw.uniform(0, self.seconds)
        start, before = time.monotonic(), _processor_seconds()
        code, hung = self._run(place, which, moment)
        took = _processor_seconds() - before
        point = Point(kind, which.name, round(moment, 2), self._doing(place), round(time.monotonic() - start, 2))
        if hung:
            point.wrong.append(f"did not end within {_PATIENCE:.0f} s of SIGINT")
        if code == 0:
            point.doing, point.saved = ENDED, round(self.processor_seconds - took, 2)
            self._compare(place, point)
        else:
            self._check_partial(place, point)
        self._check_store(place, point)
        return point

    def _finish(self, place: str, point: Point) -> Point:
        if point.equal is None:
            before = _processor_seconds()
            code, _ = self._run(place, None, None)
            point.saved = round(self.processor_seconds - (_processor_seconds() - before), 2)
            if code != 0:
                point.wrong.append(f"run again it ends with {code}: {self._log(place).read_text(errors='replace')[-500:]}")
            else:
                self._compare(place, point)
            self._check_store(place, point)
        if parts := [path.name for path in self._folder.rglob("*.part")]:
            point.wrong.append(f"unfinished files are left: {', '.join(parts)}")
        shutil.rmtree(self._folder / place)
        return point

    def _run(self, place: str, which: signal.Signals | None, moment: float | None) -> tuple[int, bool]:
        """Run the command in a process group of its own; returns the exit code, and whether SIGINT did not end it."""
        (self._folder / place).mkdir(exist_ok=True)
        command = [*self._command, f"--store={self._folder / place / 'store'}", f"--report={self._folder / place / 'report.json'}"]
        environment = {**os.environ, "TMPDIR": str(self._folder / "tmp")}
        with self._log(place).open("wb") as log:
            # Where a shell put this program into the background SIGINT is ignored, and so it would be in what it starts.
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                assert which is not None
                os.killpg(process.pid, which)
            try:
                return process.wait(_PATIENCE if moment is not None else None), False
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait(), True

    def _log(self, place: str) -> Path:
        return self._folder / place / "log"

    def _doing(self, place: str) -> str:
        """Return the last line of a log that says what was being done, without what pytest says of the interruption."""
        lines = [line.strip() for line in self._log(place).read_text(errors="replace").splitlines()]
        told = [line for line in lines if "::" in line or line.startswith("collecting") or ", done in " in line]
        return told[-1].rpartition("::")[2][:90] if told else "starting"

    def _report(self, place: str) -> dict[str, Any]:
        contents: dict[str, Any] = json.loads((self._folder / place / "report.json").read_text())
        from_contents("report.json", contents)
        return contents

    def _compare(self, place: str, point: Point) -> None:
        found = self._report(place)
        point.equal = all(json.dumps(found.get(part)) == json.dumps(self.expected.get(part)) for part in _COMPARED)
        if not point.equal:
            point.wrong.append("rows, claims or evidence differ from those of the run left alone")

    def _check_partial(self, place: str, point: Point) -> None:
        """Hold the report of a killed run, if there is one, against that of the run left alone."""
        if not (self._folder / place / "report.json").exists():
            point.report = "none"
            return
        try:
            found = self._report(place)
        except (ValueError, ReportError) as error:
            point.wrong.append(f"the report is half-written: {error}")
            return
        stopped = 0
        if [len(found[part]) for part in ("rows", "claims")] != [len(self.expected[part]) for part in ("rows", "claims")]:
            point.wrong.append("the report has other cells or claims than that of the run left alone")
            return
        for row, expected in zip(found["rows"], self.expected["rows"], strict=True):
            if json.dumps(row) != json.dumps(expected):
                stopped += 1
                if row["verdict"] != "untested" or row["value"] is not None or "ended early" not in row["reason"]:
                    point.wrong.append(f"{row['predicate']} on {row['rung']} is {row['verdict']}: {row['reason']}")
        for claim, expected in zip(found["claims"], self.expected["claims"], strict=True):
            if claim["verdict"] == "holds" != expected["verdict"]:
                point.wrong.append(f"claim {claim['claim']} holds in a report that is not whole")
        point.report = f"{stopped} untested"

    def _check_store(self, place: str, point: Point) -> None:
        store = self._folder / place / "store"
        if not store.exists():
            return
        command = [sys.executable, "-m", "harness.store", "--store", str(store), "verify"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0 or ", 0 set aside" not in done.stdout:
            point.wrong.append(f"the store does not verify: {done.stdout}{done.stderr}")


def _processor_seconds() -> float:
    """Return what the processes that were waited for have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Kill, print the table, write the record; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--select", default="-m 'claim4 and paper'", help="more of the command line of pytest, as one word")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all of it to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killer, points = Killer(given, Path(folder)), list[Point]()
        print(
            f"left alone: {killer.seconds:.1f} s, of the processor {killer.processor_seconds:.1f} s, {len(killer.expected['rows'])} rows",
            flush=True,
        )
        print(f"{'':4} {'kind':9} {'signal':7} {'at s':>6} {'end s':>6} {'rows':5} {'saved s':>7}  {'its report':15} doing", flush=True)
        while len(points) < given.points:
            if len(points) < given.points / 2:
                new = killer.fresh(SIGNALS[len(points) % 2])
            else:
                new = killer.continued(len(points), given.points - len(points))
            for point in new:
                points.append(point)
                rows = {None: "–", True: "equal", False: "DIFFER"}[point.equal]
                saved = "–" if point.saved is None else f"{point.saved:.1f}"
                print(
                    f"{len(points):4} {point.kind:9} {point.signal:7} {point.moment:6.1f} {point.ended_after:6.1f} {rows:5} {saved:>7}  "
                    f"{point.report:15} {point.doing}{''.join(f' WRONG: {what}' for what in point.wrong)}",
                    flush=True,
                )
        wrong = sum(bool(point.wrong) for point in points)
        left = killer.leftovers()
    killed, finished = sum(point.doing != ENDED for point in points), sum(point.equal is not None for point in points)
    print(f"{len(points)} points: {killed} runs killed, {finished} got through, {wrong or 'nothing'} wrong")
    print(f"temporary files left: {', '.join(left) or 'none'}")
    if given.json:
        command = {name: str(value) for name, value in vars(given).items()}
        record = {
            "given": command,
            "seconds": killer.seconds,
            "processor_seconds": killer.processor_seconds,
            "points": [asdict(point) for point in points],
            "left": left,
        }
        given.json.write_text(json.dumps(record, indent=1) + "\n")
    return int(bool(wrong or left))


if __name__ == "__main__":
    sys.exit(main())
