"""Measuring: one process per subject, taking turns."""

import contextlib
import json
import os
import subprocess
import tempfile
import time

import numpy as np

from benchmarks.environment import ROOT, python

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


class Failed(RuntimeError):
    """A subject's process ended before it answered."""


class Worker:
    """A process that measures one subject, see `benchmarks.worker`.

    Attributes:
        started: when the process was started, by `time.perf_counter`.
    """

    def __init__(self, subject):
        self.started = time.perf_counter()
        # Not a pipe, which would fill up, since nobody reads it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [
                python(subject["who"], subject["framework"]),
                "-m",
                "benchmarks.worker",
                json.dumps(subject),
            ],
            cwd=ROOT,
            env={**os.environ, **QUIET, **subject.get("environment", {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, command):
        """Send a command and return the answer."""
        try:
            print(command, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            raise Failed(self._errors.read().decode(errors="replace").strip()[-2000:])
        return json.loads(answer)

    def close(self):
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def workers(subjects):
    """Start a process for each of ``{name: subject}``; yield ``{name: Worker}``."""
    started = {}
    try:
        for name, subject in subjects.items():
            started[name] = Worker(subject)
        yield started
    finally:
        for worker in started.values():
            worker.close()


def alternate(subjects, seconds=20.0, least=3, most=15, warm_up=2):
    """Let subjects take turns, and compare them turn by turn.

    What the machine does besides slows down neighbouring turns alike, so that ratios within a turn
    are steadier than times.

    Args:
        subjects: ``{name: subject}``; the first is the one that the others are compared with.
        seconds: rough limit of the time spent, once all are warm.
        least, most: number of turns.
        warm_up: calls before, in which frameworks compile.

    Returns:
        ``{name: array (turns, parts)}`` of seconds.
    """
    with workers(subjects) as running:
        for worker in running.values():
            for _ in range(warm_up):
                worker.ask("run")
        found = {name: [] for name in running}
        start = time.perf_counter()
        for turn in range(most):
            if turn >= least and time.perf_counter() - start > seconds:
                break
            names = list(running)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                found[name].append(running[name].ask("run"))
                time.sleep(0.02)  # threads that wait for more work give up waiting
    return {name: np.array(times) for name, times in found.items()}


def summary(values):
    """Return median and quartiles."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def run(measurement, seconds=20.0, least=3, most=15):
    """Measure, and return what the JSON file says of it.

    Args:
        measurement: a `benchmarks.plan.Measurement`.
        seconds, least, most: as in `alternate`.
    """
    result = {
        "setting": next(iter(measurement.subjects.values()))["setting"],
        "load": os.getloadavg()[0],
    }
    if measurement.group.endswith("memory"):
        found, unit = _memory(measurement.subjects), "MiB"
    elif measurement.group == "startup":
        found, unit = _startup(measurement.subjects, least), "seconds"
    else:
        parts = alternate(measurement.subjects, seconds, least, most)
        found, unit = {name: times.sum(axis=1) for name, times in parts.items()}, "seconds"
        if measurement.group == "decoding":
            result["last over tenth token"] = {k: _growth(v) for k, v in parts.items()}
    result["unit"] = unit
    result["values"] = {name: summary(x) | {"turns": x.tolist()} for name, x in found.items()}
    result["ratios"] = _ratios(found)
    return result


def _ratios(found):
    """Compare within each turn: others over ours, and ours over the floor."""
    ratios = {}
    for ours in ("ours", "compiled"):
        if ours not in found:
            continue
        for other in found:
            if other.startswith(("d2l", "own", "full", "engine")):
                ratios[f"{other} / {ours}"] = summary(found[other] / found[ours])
        if "floor" in found:
            ratios[f"{ours} / floor"] = summary(found[ours] / found["floor"])
    return ratios


def _growth(times):
    """Return the cost of the last tokens over that of those around the tenth."""
    tenth = np.median(times[:, 7:12] if times.shape[1] > 12 else times, axis=1)
    return summary(np.median(times[:, -5:], axis=1) / tenth)


def _memory(subjects):
    """Return the peak of a training step, once the first steps are done."""
    found = {}
    for name, subject in subjects.items():
        with workers({name: subject}) as running:
            for _ in range(2):
                running[name].ask("run")
            found[name] = np.array(running[name].ask("memory"))
    return found


def _startup(subjects, turns):
    """Return the time until a process has imported the column, and until its first step is done."""
    found = {f"{name}, {what}": [] for name in subjects for what in ("import", "first step")}
    for _ in range(turns):
        for name, subject in subjects.items():
            for what, task in (("import", "load"), ("first step", "step")):
                with workers({name: {**subject, "task": task}}) as running:
                    running[name].ask("run")
                    seconds = time.perf_counter() - running[name].started
                found[f"{name}, {what}"].append(seconds)
    return {name: np.array(times) for name, times in found.items()}
