"""The whole comparison: every backend in a worker, its cases, then its training runs.

The way of a case leads through the rooms in their order: it is drawn and solved (`cases`), done by
a worker (`running`), judged (`judging`); `reporting` has the verdicts after that.
"""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.plans import Plan, Run
from d2l_ext.agreement.judging.solved import SolvedCase
from d2l_ext.agreement.judging.unfinished import Unfinished
from d2l_ext.agreement.judging.verdict import Verdict, judge
from d2l_ext.agreement.running import costs
from d2l_ext.agreement.running.remote import Worker, WorkerError
from d2l_ext.agreement.running.training import train
from d2l_ext.environment import ENVIRONMENT, QUICK
from d2l_ext.progress import AT_ONCE, WAITING, minutes


@dataclasses.dataclass
class Outcome:
    """What one backend did.

    Attributes:
        backend: its name.
        versions: of framework, Python and NumPy.
        differences: what `running.differences.measured` found in it.
        verdicts: of all cases, a list of `Verdict`.
        runs: ``{(name of a plan, dtype): list of plans.Run}``.
        problems: what went wrong otherwise: (what was being done, why, details).
    """

    backend: str
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    differences: dict[str, Any] = dataclasses.field(default_factory=dict)
    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    runs: dict[tuple[str, str], list[Run]] = dataclasses.field(default_factory=dict)
    problems: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)


class Comparison:
    """Cases and training plans, given to several backends, two at a time.

    Args:
        backends: names.
        cases: a list of `Case`.
        plans: ``{name: plans.Plan}``.
        dtypes: precisions.
        seed: of the cases.
        pythons: ``{backend: interpreter}`` of backends that have their own.
        limit: seconds that a worker may take for one answer.
        progress: called as ``progress(backend, what, done, total)``, with done and total in
            seconds of `running.costs`.
        unfinished: what an earlier comparison has found, where this one's cases are kept too.
    """

    def __init__(
        self,
        backends: Sequence[str],
        cases: Sequence[Case],
        plans: Mapping[str, Plan],
        dtypes: Sequence[str],
        seed: int = 0,
        pythons: Mapping[str, str] | None = None,
        limit: float = 300,
        progress: Callable[[str, str, float, float], object] | None = None,
        unfinished: Unfinished | None = None,
    ):
        self.backends, self.cases, self.plans, self.dtypes = backends, cases, plans, dtypes
        self.seed, self.pythons, self.limit = seed, pythons or {}, limit
        self.progress = progress or (lambda *_: None)
        self.unfinished, self._running, self._interrupted = unfinished, set(), False
        self._num_cases = len(dtypes) * len(cases)
        self._num_steps = len(dtypes) * sum(map(self._steps, plans.values()))
        self._lock = threading.Lock()
        self._solved = functools.cache(lambda number: SolvedCase(cases[number], seed))

    @property
    def minutes(self) -> int:
        """How long all of it takes on two cores, about."""
        return minutes([self._seconds(name) for name in self.backends])

    def run(self) -> dict[str, Outcome]:
        """Return ``{backend: Outcome}``; Ctrl-C ends the workers, and not only the waiting."""
        for name in self.backends:
            self._show(name, WAITING, 0)
        # The slowest first, so that no core waits for it at the end.
        order = sorted(self.backends, key=self._seconds, reverse=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                outcomes = dict(zip(order, pool.map(self._one, order), strict=True))
            except BaseException:
                self._interrupted = True
                for worker in list(self._running):
                    worker.stop()
                raise
        return {name: outcomes[name] for name in self.backends}

    def solved(self, number: int) -> SolvedCase:
        """Return a `SolvedCase`; the backends share it."""
        with self._lock:
            return self._solved(number)

    def _one(self, backend: str) -> Outcome:
        outcome = Outcome(backend)
        if self._interrupted:
            return outcome
        try:
            with self._worker(backend, QUICK) as worker:
                self._ask_cases(worker, outcome)
            if self.plans:  # as users train: in a process that optimises what it compiles
                with self._worker(backend) as worker:
                    self._ask_training(worker, outcome)
            self._show(backend, "done", self._num_cases, self._num_steps)
        except WorkerError as error:
            if not outcome.problems:  # it was lost before it had anything to do
                outcome.problems.append(("start", str(error), error.details))
        return outcome

    @contextlib.contextmanager
    def _worker(
        self, backend: str, environment: Mapping[str, str] = ENVIRONMENT
    ) -> Iterator[Worker]:
        with Worker(backend, self.pythons.get(backend), self.limit, environment) as worker:
            self._running.add(worker)
            try:
                yield worker
            finally:
                self._running.remove(worker)

    @staticmethod
    def _steps(plan: Plan) -> int:
        return plan.num_steps * (plan.draws + 1)

    def _seconds(self, backend: str) -> float:
        """Return how long a backend may take for all."""
        return costs.seconds(backend, self._num_cases, self._num_steps)

    def _show(self, backend: str, what: str, cases: int, steps: int = 0) -> None:
        """Report what a backend does, and how many cases and training steps it has done."""
        done = costs.seconds(backend, cases, steps)
        self.progress(backend, what, done, self._seconds(backend))

    def _ask_cases(self, worker: Worker, outcome: Outcome) -> None:
        outcome.versions = worker.ask("versions")
        outcome.differences = worker.ask("differences")
        done = 0
        for dtype in self.dtypes:
            for number, case in enumerate(self.cases):
                known = self._known(outcome.backend, dtype, case)
                if known is None:
                    self._show(outcome.backend, f"cases, {dtype}", done)
                    known = self._verdicts(worker, outcome, self.solved(number), dtype)
                outcome.verdicts += known
                done += 1

    def _known(self, backend: str, dtype: str, case: Case) -> list[Verdict] | None:
        unfinished = self.unfinished
        return None if unfinished is None else unfinished.get(backend, dtype, case.name)

    def _ask_training(self, worker: Worker, outcome: Outcome) -> None:
        done = 0
        for name, plan in self.plans.items():
            for dtype in self.dtypes:
                self._train(worker, outcome, name, dtype, done)
                done += self._steps(plan)

    def _verdicts(
        self, worker: Worker, outcome: Outcome, solved: SolvedCase, dtype: str
    ) -> list[Verdict]:
        try:
            results = worker.ask("perform", vars(solved.job), dtype)
        except WorkerError as error:
            outcome.problems.append((f"{solved.job.name} {dtype}", str(error), error.details))
            if error.dead:
                raise
            return []
        found = judge(solved, outcome.backend, dtype, results)
        if self.unfinished is not None:
            self.unfinished.add(outcome.backend, dtype, solved.case.name, found)
        return found

    def _train(self, worker: Worker, outcome: Outcome, name: str, dtype: str, done: int) -> None:
        plan, doing = self.plans[name], f"training {name}, {dtype}"
        steps = iter(range(done, done + self._steps(plan)))

        def on_step():
            self._show(outcome.backend, doing, self._num_cases, next(steps))

        try:
            outcome.runs[name, dtype] = train(worker, plan, dtype, on_step)
        except (WorkerError, FloatingPointError) as error:
            outcome.problems.append((doing, str(error), getattr(error, "details", "")))
            if getattr(error, "dead", False):
                raise
