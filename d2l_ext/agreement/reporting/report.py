"""The report: what the comparison found, as data, as a table in the terminal, and as pictures.

``report.json`` has

- ``schema``: 1,
- ``agrees``: whether everything does,
- ``settings``: what was compared,
- ``versions``: per backend, of framework, Python and NumPy,
- ``left_out``: per backend that is not installed, what to install,
- ``problems``: per backend, what crashed, hung or failed: ``{"doing", "why", "details"}``,
- ``cases``: per precision, quantity and backend, the verdict with the largest error over budget:
  ``{"error", "budget", "agrees", "case", "tensor", "reason", "compared", "failed"}``, the last two
  counting tensors,
- ``matrix``: per topic, aspect ("forward", "gradients", "first steps", "100 steps", "tokens"),
  backend and precision ``{"ratio", "where", "compared", "beyond", "ties"}``, as `matrix.Entry`,
- ``by_case``: per case, backend and precision, the largest error over budget,
- ``failures``: every verdict that is not within its budget,
- ``training``: per precision and backend, ``{"losses", "loss_errors", "loss_budgets",
  "parameters": {tensor: [error, budget]}, "different", "ties", "margin_budget", "bleu"}``,
- ``models``: per small model, precision and backend ``{"losses", "departure", "quantities"}``: the
  first quantity and step or tensor that left its budget, or null, and per quantity
  ``{"ratio", "where", "compared", "beyond"}`` or, of tokens, ``{"different", "ties"}``,
- ``differences``: per default that differs, its value in each backend and the one "agreed" on,
- ``findings``: limits of a framework that no setting mends: ``{"backend", "name", "size", "cause",
  "link", "instead", "measured", "holds"}``, the last two being what was measured now and whether it
  is of the recorded size,
- ``translations``: per sentence ``{"source", "reference", "by": {precision: {backend: {"text",
  "bleu"}}}}``.

Errors are max |a - b| / max |b|. An infinite error, where two things can't be compared at all, is
the string "inf". The same seed gives the same numbers.
"""

import dataclasses
import json
import math

import numpy as np

from d2l_ext import plotting
from d2l_ext.agreement.judging.drift import (
    TokenVerdict,
    compare_runs,
    compare_tokens,
    departure,
    loss_drift,
    tensor_drift,
)
from d2l_ext.agreement.judging.verdict import COPIES, worst
from d2l_ext.agreement.reporting.differences import DEFAULTS, LIMITS, measured
from d2l_ext.agreement.reporting.html import page
from d2l_ext.agreement.reporting.matrix import matrix
from d2l_ext.agreement.running.run import Outcome
from d2l_ext.files import replacing
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
    "token by token": ("decoding",),
    "handed back unchanged": COPIES,
}


@dataclasses.dataclass
class Cell:
    """One entry of the table.

    Attributes:
        agrees: whether it is within the budget; None if there is nothing to say.
        text: what the terminal shows.
        data: what report.json holds.
    """

    agrees: bool | None
    text: str
    data: dict


class Report:
    """All that a comparison found.

    Args:
        outcomes: ``{backend: run.Outcome}``.
        plans: ``{name: training.Plan}``: `MAIN`, whose translations and pictures are shown, and the
            small models; either may be missing.
        dtypes: precisions.
        settings: what was compared, as data.
        left_out: ``{backend: what to install}``.
    """

    def __init__(self, outcomes, plans, dtypes, settings, left_out):
        self.outcomes, self.plan, self.dtypes = outcomes, plans.get(MAIN), dtypes
        self.settings, self.left_out = settings, left_out
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
        if problems or any(self.departures()):
            return False
        return all(cell.agrees in (True, None) for cell in cells)

    def rows(self):
        """Yield the table's rows: (precision, quantity), ``{backend: Cell}``."""
        for dtype in self.dtypes:
            for row, quantities in ROWS.items():
                cells = {b: self._case_cell(b, dtype, quantities) for b in self.backends}
                if any(cell.agrees is not None for cell in cells.values()):
                    yield (dtype, row), cells
            if self.plan is not None:
                for row, cells in self._training_rows(dtype).items():
                    yield (dtype, row), cells

    def failures(self):
        """Return every verdict of the cases that is not within its budget."""
        return [v for o in self.outcomes.values() for v in o.verdicts if not v.agrees]

    def by_case(self):
        """Return ``{case: {(backend, precision): its worst verdict}}``."""
        found = {}
        for outcome in self.outcomes.values():
            for verdict in outcome.verdicts:
                cells = found.setdefault(verdict.case, {})
                key = verdict.backend, verdict.dtype
                cells[key] = worst([verdict, cells[key]]) if key in cells else verdict
        return found

    def _case_cell(self, backend, dtype, quantities):
        verdicts = [
            v
            for v in self.outcomes[backend].verdicts
            if v.dtype == dtype and v.quantity in quantities
        ]
        last = worst(verdicts)
        if last is None:
            return Cell(None, "–", {})
        failed = sum(not v.agrees for v in verdicts)
        data = {
            "error": last.error,
            "budget": last.budget,
            "agrees": failed == 0,
            "case": f"{last.case}[{last.seed}]",
            "tensor": f"{last.quantity} {last.tensor}",
            "reason": last.reason,
            "compared": len(verdicts),
            "failed": failed,
        }
        if quantities == COPIES:
            text = "yes" if failed == 0 else f"no: {failed} of {len(verdicts)}"
        else:
            text = _beside(last.error, last.budget)
        return Cell(failed == 0, text, data)

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
                loss[b] = parameters[b] = translations[b] = Cell(None, "–", {})
                continue
            loss[b] = _drift_cell(training["loss"][b])
            parameters[b] = _drift_cell(training["parameters"][b])
            translations[b] = Cell(training["tokens"][b].agrees, str(training["tokens"][b]), {})
        return rows

    def translation(self, dtype, backend, number):
        """Return a sentence's translation as text."""
        run = self.training[dtype]["runs"][backend][0]
        return " ".join(self.plan.data.tgt_vocab.to_tokens(run.greedy.tokens[number]))

    def bleu(self, dtype, backend, number):
        """Return D2L's BLEU of a translation, with k = 2."""
        label = self.plan.label(number)
        return bleu(self.translation(dtype, backend, number), label, k=2)

    def mean_bleu(self, dtype, backend):
        """Return the mean BLEU over all sentences."""
        numbers = range(len(self.plan.sentences))
        return float(np.mean([self.bleu(dtype, backend, n) for n in numbers]))

    def data(self):
        """Return what report.json holds."""
        cases = {}
        for (dtype, row), cells in self.rows():
            if row in ROWS:
                found = {b: cell.data for b, cell in cells.items() if cell.data}
                cases.setdefault(dtype, {})[row] = found
        return {
            "schema": 1,
            "agrees": self.agrees,
            "settings": self.settings,
            "versions": {b: o.versions for b, o in self.outcomes.items()},
            "left_out": self.left_out,
            "problems": {
                b: [{"doing": d, "why": w, "details": t} for d, w, t in o.problems]
                for b, o in self.outcomes.items()
                if o.problems
            },
            "cases": cases,
            "matrix": self._matrix_data(),
            "by_case": self._by_case_data(),
            "failures": [dataclasses.asdict(v) for v in self.failures()],
            "training": {d: self._training_data(d) for d in self.dtypes if self.training[d]},
            "models": self._models_data(),
            "differences": self.differences(),
            "findings": self.findings(),
            "translations": self._translations_data(),
        }

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

    def _matrix_data(self):
        found = {}
        for (topic, aspect), cells in self.matrix.items():
            for (backend, dtype), entry in cells.items():
                by_backend = found.setdefault(topic, {}).setdefault(aspect, {})
                by_backend.setdefault(backend, {})[dtype] = dataclasses.asdict(entry)
        return found

    def _models_data(self):
        return {
            name: {
                dtype: {
                    backend: {
                        "losses": first.losses.tolist(),
                        "departure": departure(found, backend),
                        "quantities": {q: _summary(v[backend]) for q, v in found.items()},
                    }
                    for backend, (first, *_) in self.runs(name, dtype).items()
                }
                for dtype, found in by_dtype.items()
            }
            for name, by_dtype in self.models.items()
        }

    def _by_case_data(self):
        found = {}
        for case, cells in self.by_case().items():
            for (backend, dtype), verdict in cells.items():
                found.setdefault(case, {}).setdefault(backend, {})[dtype] = verdict.ratio
        return found

    def _training_data(self, dtype):
        training, found = self.training[dtype], {}
        for b, (first, *_) in training["runs"].items():
            loss, parameters = training["loss"][b], training["parameters"][b]
            tokens = training["tokens"][b]
            pairs = zip(parameters.errors.tolist(), parameters.budgets.tolist(), strict=True)
            found[b] = {
                "losses": first.losses.tolist(),
                "loss_errors": loss.errors.tolist(),
                "loss_budgets": loss.budgets.tolist(),
                "parameters": dict(zip(parameters.names, map(list, pairs), strict=True)),
                "different": tokens.different,
                "ties": tokens.ties,
                "margin_budget": tokens.margin_budget,
                "bleu": self.mean_bleu(dtype, b),
            }
        return found

    def _translations_data(self):
        if self.plan is None:
            return []
        return [
            {
                "source": sentence,
                "reference": self.plan.references[number],
                "by": {
                    dtype: {
                        b: {
                            "text": self.translation(dtype, b, number),
                            "bleu": self.bleu(dtype, b, number),
                        }
                        for b in self.training[dtype]["runs"]
                    }
                    for dtype in self.dtypes
                    if self.training[dtype]
                },
            }
            for number, sentence in enumerate(self.plan.sentences)
        ]

    def write(self, folder):
        """Write the page, the numbers and the pictures into a folder; return the files' names."""
        text = json.dumps(_finite(self.data()), indent=1, ensure_ascii=False, allow_nan=False)
        pictures = self._pictures(folder)
        for name, content in (
            ("report.json", text + "\n"),
            ("report.html", page(self, folder, pictures)),
        ):
            with replacing(folder / name) as file:
                file.write(content.encode())
        return ["report.html", "report.json", *pictures]

    def _pictures(self, folder):
        names = []
        for dtype in self.dtypes:
            training = self.training[dtype]
            if training is None:
                continue
            losses = {b: first.losses for b, (first, *_) in training["runs"].items()}
            names.append(f"losses-{dtype}.png")
            plotting.loss_curves(
                losses,
                reference=next(iter(losses)),
                title=f"training loss, {dtype}",
                path=folder / names[-1],
            )
            if (number := self._shown_sentence(training)) is not None:
                names.append(f"attention-{dtype}.png")
                self._attention_maps(training, number, f"attention, {dtype}", folder / names[-1])
        return names

    def _shown_sentence(self, training):
        """Return the longest translation that all have in common, or None."""
        firsts = [runs[0] for runs in training["runs"].values()]
        if any(first.weights is None for first in firsts):
            return None
        different = {n for t in training["tokens"].values() for n in t.different}
        numbers = [n for n in range(len(self.plan.sentences)) if n not in different]
        return max(numbers, key=lambda n: len(firsts[0].greedy.tokens[n]), default=None)

    def _attention_maps(self, training, number, title, path):
        firsts = {b: runs[0] for b, runs in training["runs"].items()}
        source = self.plan.source_tokens(number)
        weights = [first.weights[number][..., : len(source)] for first in firsts.values()]
        some = next(iter(firsts.values()))
        target = self.plan.data.tgt_vocab.to_tokens(some.greedy.tokens[number])
        target += ["<eos>"] * (len(weights[0]) - len(target))
        plotting.attention_grid(
            np.stack(weights)[None],
            source,
            target,
            column_names=list(firsts),
            title=title,
            path=path,
        )


def _drift_cell(drift):
    if drift.failures:
        place = drift.names.index(drift.failures[0])
        text = f"{_beside(drift.errors[place], drift.budgets[place])} {drift.failures[0]}"
        return Cell(False, text, {})
    if drift.worst is None:
        return Cell(None, "not comparable", {})
    return Cell(True, _beside(drift.errors[drift.worst], drift.budgets[drift.worst]), {})


def _summary(verdict):
    """Return a `Drift` or a `TokenVerdict` as data."""
    if isinstance(verdict, TokenVerdict):
        return {"different": verdict.different, "ties": verdict.ties}
    return {
        "ratio": verdict.ratio,
        "where": None if verdict.worst is None else verdict.names[verdict.worst],
        "compared": int(verdict.compared.sum()),
        "beyond": int((~verdict.compared).sum()),
    }


def _beside(error, budget):
    return f"{error:.1e} of {budget:.1e}"


def _finite(value):
    """Replace what JSON has no number for."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
