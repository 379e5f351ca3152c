"""How far something is: a bar on a terminal, a line now and then elsewhere."""

import math
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS = 20  # from one line to the next
AT_ONCE = 2  # backends that are compared
WAITING = "waiting"
TRUST = 30.0  # seconds as which the expectation counts beside what was measured


class Bar:
    """Shows on standard error how much of something is done; used in a ``with`` statement.

    Args:
        total: how many steps there are.
        done: how many were done before.
        wanted: None shows a bar on a terminal and nothing elsewhere, True a bar on a terminal and a
            line every `SECONDS` elsewhere (in a log file, say), False nothing.
    """

    def __init__(self, total: int, done: int = 0, wanted: bool | None = None):
        terminal = sys.stderr.isatty()
        self._bar = _bar() if terminal and wanted is not False else None
        self._has_lines = wanted is True and not terminal
        self._total, self._first = total, done
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> "Bar":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, completed=self._first)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, text: str) -> None:
        """Show that so many steps are done, and a text about the last one."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif self._has_lines and time.monotonic() - self._last_line >= SECONDS:
            self._last_line = time.monotonic()
            print(self._line(done, text), file=sys.stderr, flush=True)

    def _line(self, done: int, text: str) -> str:
        per_step = (self._last_line - self._started) / (done - self._first)
        minutes, seconds = divmod(round(per_step * (self._total - done)), 60)
        return f"{done} of {self._total}: {text}, {minutes}:{seconds:02} left"


class Bars:
    """A progress bar per backend on a terminal, elsewhere a line with all of them now and then."""

    def __init__(self, names: Iterable[str]):
        self._progress = Progress(
            TextColumn("{task.fields[backend]:<10}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._tasks = {
            name: self._progress.add_task(WAITING, backend=name, total=None) for name in names
        }
        self._lock = threading.Lock()
        self._shares = dict.fromkeys(names, WAITING)
        self._started: dict[str, tuple[float, float]] = {}  # when, and what was done then
        self._done: dict[str, float] = {}
        self._totals: dict[str, float] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, backend: str, what: str, done: float, total: float) -> None:
        """Move a backend's bar.

        Args:
            backend: its name.
            what: it does; `WAITING` before it begins.
            done, total: in seconds that were expected.
        """
        with self._lock:
            self._progress.update(
                self._tasks[backend], description=what, completed=done, total=total
            )
            self._shares[backend] = what if what == WAITING else f"{done / total:.0%} ({what})"
            self._done[backend], self._totals[backend] = done, total
            if what == WAITING:
                self._started.pop(backend, None)
            else:
                self._started.setdefault(backend, (time.monotonic(), done))
            if self._progress.disable and time.monotonic() - self._last_line >= SECONDS:
                self._last_line = time.monotonic()
                line = ", ".join(f"{name} {share}" for name, share in self._shares.items())
                print(f"{line}; about {self._minutes()} min left", file=sys.stderr, flush=True)

    def _minutes(self) -> int:
        """Return how long all take together, if what was expected is wrong as it was so far."""
        pace = self._pace()
        return minutes([pace * (n - self._done[name]) for name, n in self._totals.items()])

    def _pace(self) -> float:
        """Return how many seconds one that was expected has taken, and takes on trust at first."""
        now = time.monotonic()
        taken = sum(now - since for since, _ in self._started.values())
        done = sum(self._done[name] - first for name, (_, first) in self._started.items())
        return (taken + TRUST) / (done + TRUST)


def minutes(seconds: Sequence[float]) -> int:
    """Return how long backends take together, given the seconds of each."""
    return math.ceil(max(sum(seconds) / AT_ONCE, *seconds) / 60)


def _bar() -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Lines that are printed meanwhile go above the bar, but not away from a file.
        redirect_stdout=sys.stdout.isatty(),
    )
