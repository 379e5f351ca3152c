"""What a comparison found: what `tables`, `data` and `pictures` show is computed here."""

import dataclasses
import datetime
import os
import platform

import numpy as np

import d2l_ext
from d2l_ext.agreement.comparison import Outcome
from d2l_ext.agreement.judging.drift import (
    compare_runs,
    compare_tokens,
    departure,
    loss_drift,
    tensor_drift,
)
from d2l_ext.agreement.judging.solved import COPIES, EXACT, NARROW, WORDS
from d2l_ext.agreement.judging.verdict import worst
from d2l_ext.agreement.reporting.failures import grouped
from d2l_ext.agreement.reporting.matrix import matrix
from d2l_ext.agreement.reporting.table import beside
from d2l_ext.agreement.running.differences import DEFAULTS, LIMITS, measured
from d2l_ext.reference import defaults
from d2l_ext.training.metrics import bleu

MAIN = "main"  # the plan whose translations and pictures are shown

# The rows of the table that the cases fill, and the quantities of each.
ROWS = {
    "outputs": ("outputs", "outputs of vjp"),
    "attention weights": ("weights",),
    "gradients of parameters": ("gradients",),
    "gradients of inputs": ("input gradients",),
    "loss": ("loss",),
    "parameters after 1 step": ("step 1",),
    "parameters after 2 steps": ("step 2",),
    "parameters after 3 steps": ("step 3",),
    "moments after the last step": ("moments",),
    "token by token": ("decoding",),
    "handed back unchanged": COPIES,
    "wrong inputs refused": WORDS,
    "in narrow types": NARROW,
}


@dataclasses.dataclass
class Judged:
    """What is said about some quantities of one backend in one precision.

    Attributes:
        agrees: whether they are within the budget; None if there is nothing to say.
        text: the largest error beside its budget.
        data: of the cases: the verdict with the largest ratio, as `data` has it.
    """

    agrees: bool | None
    text: str
    data: dict = dataclasses.field(default_factory=dict)


NOT_DONE = Judged(None, "–")


class Report:
    """All that a comparison found.

    Args:
        outcomes: ``{backend: comparison.Outcome}``.
        plans: ``{name: plans.Plan}``: `MAIN`, whose translations and pictures are shown, and the
            small models; either may be missing.
        dtypes: precisions.
        settings: what was compared, as data.
        left_out: ``{backend: what to install}``.
    """

    def __init__(self, outcomes, plans, dtypes, settings, left_out):
        self.outcomes, self.plan, self.dtypes = outcomes, plans.get(MAIN), dtypes
        self.settings, self.left_out, self.made = settings, left_out, _made()
        self.training = {dtype: self._training(dtype) for dtype in dtypes}
        names = [name for name in plans if name != MAIN]
        self.models = {name: self._compared(name) for name in names}
        self.matrix = matrix(self)

    @property
    def backends(self):
        """Names of the backends compared."""
        return list(self.outcomes)

    @property
    def agrees(self):
        """Whether everything was done and is within its budget."""
        cells = [cell for _, row in self.rows() for cell in row.values()]
        problems = any(outcome.problems for outcome in self.outcomes.values())
        if problems or any(self.departures()) or self.failures():
            return False
        return all(cell.agrees in (True, None) for cell in cells)

    def rows(self):
        """Yield the table's rows: (precision, quantity), ``{backend: Judged}``."""
        for dtype in self.dtypes:
            for row, quantities in ROWS.items():
                cells = {b: self._judged_cases(b, dtype, quantities) for b in self.backends}
                if any(cell.agrees is not None for cell in cells.values()):
                    yield (dtype, row), cells
            if self.plan is not None:
                for row, cells in self._training_rows(dtype).items():
                    yield (dtype, row), cells

    def failures(self):
        """Return every verdict of the cases that is not within its budget."""
        return [v for o in self.outcomes.values() for v in o.verdicts if not v.agrees]

    def failure_groups(self):
        """Return the same by topic and cause, a list of `failures.FailureGroup`."""
        return grouped(self.outcomes, self.dtypes)

    def by_case(self):
        """Return ``{case: {(backend, precision): its worst verdict}}``."""
        found = {}
        for outcome in self.outcomes.values():
            for verdict in outcome.verdicts:
                cells = found.setdefault(verdict.case, {})
                key = verdict.backend, verdict.dtype
                cells[key] = worst([verdict, cells[key]]) if key in cells else verdict
        return found

    def _judged_cases(self, backend, dtype, quantities):
        verdicts = [
            v
            for v in self.outcomes[backend].verdicts
            if v.dtype == dtype and v.quantity in quantities
        ]
        last = worst(verdicts)
        if last is None:
            return NOT_DONE
        failed = sum(not v.agrees for v in verdicts)
        data = {
            "error": last.error,
            "budget": last.budget,
            "agrees": failed == 0,
            "case": last.case,
            "seed": last.seed,
            "tensor": f"{last.quantity} {last.tensor}",
            "reason": last.reason,
            "compared": len(verdicts),
            "failed": failed,
        }
        if quantities in EXACT:
            text = "yes" if failed == 0 else f"no: {failed} of {len(verdicts)}"
        else:
            text = beside(last.error, last.budget)
        return Judged(failed == 0, text, data)

    def _training(self, dtype):
        """Compare the backends that finished their runs."""
        runs = self.runs(MAIN, dtype)
        if len(runs) < 2:
            return None
        return {
            "runs": runs,
            "loss": loss_drift(runs, dtype),
            "parameters": tensor_drift(runs, dtype, lambda run: run.last.parameters),
            "tokens": compare_tokens(runs, dtype),
        }

    def runs(self, name, dtype):
        """Return the runs of a plan by the backends that finished them."""
        return {b: o.runs[name, dtype] for b, o in self.outcomes.items() if (name, dtype) in o.runs}

    def _compared(self, name):
        """Return ``{dtype: what compare_runs returns}`` of a small model."""
        runs = {dtype: self.runs(name, dtype) for dtype in self.dtypes}
        return {dtype: compare_runs(some, dtype) for dtype, some in runs.items() if len(some) > 1}

    def departures(self):
        """Yield (model, precision, backend, first quantity that left its budget and where)."""
        for name, by_dtype in self.models.items():
            for dtype, found in by_dtype.items():
                for backend in self.runs(name, dtype):
                    if what := departure(found, backend):
                        yield name, dtype, backend, what

    def _training_rows(self, dtype):
        training, steps = self.training[dtype], self.plan.num_steps
        rows = {
            f"loss of {steps} training steps": {},
            "parameters at the end": {},
            f"{len(self.plan.sentences)} translations": {},
        }
        loss, parameters, translations = rows.values()
        for b in self.backends:
            if training is None or b not in training["runs"]:
                loss[b] = parameters[b] = translations[b] = NOT_DONE
                continue
            loss[b] = _judged_drift(training["loss"][b])
            parameters[b] = _judged_drift(training["parameters"][b])
            translations[b] = Judged(training["tokens"][b].agrees, str(training["tokens"][b]))
        return rows

    def translation(self, dtype, backend, number):
        """Return a sentence's translation as text."""
        plan, training = self.plan, self.training[dtype]
        assert plan is not None and training is not None  # only what was translated is asked for
        run = training["runs"][backend][0]
        return " ".join(plan.data.tgt_vocab.to_tokens(run.greedy.tokens[number]))

    def bleu(self, dtype, backend, number):
        """Return D2L's BLEU of a translation, with k = 2."""
        label = self.plan.label(number)
        return bleu(self.translation(dtype, backend, number), label, k=2)

    def mean_bleu(self, dtype, backend):
        """Return the mean BLEU over all sentences."""
        numbers = range(len(self.plan.sentences))
        return float(np.mean([self.bleu(dtype, backend, n) for n in numbers]))

    def differences(self):
        """Return ``{default: {backend: value, "agreed": value}}``."""
        found = {b: o.differences["defaults"] for b, o in self.outcomes.items() if o.differences}
        found["agreed"] = measured(defaults)["defaults"]
        return {
            difference.name: {who: values[difference.name] for who, values in found.items()}
            for difference in DEFAULTS
        }

    def findings(self):
        """Return the limits of the frameworks compared, with what was measured now."""
        found = []
        for finding in LIMITS:
            limits = self.outcomes.get(finding.backend, Outcome("")).differences.get("limits", {})
            if finding.name in limits:
                size = limits[finding.name]
                now = {"measured": size, "holds": finding.holds(size)}
                found.append(dataclasses.asdict(finding) | now)
        return found


def _judged_drift(drift):
    if drift.failures:
        place = drift.names.index(drift.failures[0])
        text = f"{beside(drift.errors[place], drift.budgets[place])} {drift.failures[0]}"
        return Judged(False, text)
    if drift.worst is None:
        return Judged(None, "not comparable")
    return Judged(True, beside(drift.errors[drift.worst], drift.budgets[drift.worst]))


def _made():
    """Return when and where the report is made."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "d2l_ext": d2l_ext.__version__,
    }
