"""The report as data.

``report.json`` has

- ``schema``: 1,
- ``agrees``: whether everything does,
- ``made``: ``{"date", "machine", "processors", "d2l_ext"}``, the last being its version,
- ``settings``: what was compared,
- ``versions``: per backend, of framework, Python and NumPy,
- ``left_out``: per backend that is not installed, what to install,
- ``problems``: per backend, what crashed, hung or failed: ``{"doing", "why", "details"}``,
- ``cases``: per precision, quantity and backend, the verdict with the largest error over budget:
  ``{"error", "budget", "agrees", "case", "seed", "tensor", "reason", "compared", "failed"}``, the
  last two counting tensors,
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

from d2l_ext.agreement.judging.drift import TokenVerdict, departure
from d2l_ext.agreement.reporting.report import ROWS

SCHEMA = 1


def data(report):
    """Return what report.json holds of a `Report`."""
    cases = {}
    for (dtype, row), cells in report.rows():
        if row in ROWS:
            found = {b: cell.data for b, cell in cells.items() if cell.data}
            cases.setdefault(dtype, {})[row] = found
    return {
        "schema": SCHEMA,
        "agrees": report.agrees,
        "made": report.made,
        "settings": report.settings,
        "versions": {b: o.versions for b, o in report.outcomes.items()},
        "left_out": report.left_out,
        "problems": {
            b: [{"doing": d, "why": w, "details": t} for d, w, t in o.problems]
            for b, o in report.outcomes.items()
            if o.problems
        },
        "cases": cases,
        "matrix": _matrix(report),
        "by_case": _by_case(report),
        "failures": [dataclasses.asdict(v) for v in report.failures()],
        "training": {d: _training(report, d) for d in report.dtypes if report.training[d]},
        "models": _models(report),
        "differences": report.differences(),
        "findings": report.findings(),
        "translations": _translations(report),
    }


def _matrix(report):
    found = {}
    for (topic, aspect), cells in report.matrix.items():
        for (backend, dtype), entry in cells.items():
            by_backend = found.setdefault(topic, {}).setdefault(aspect, {})
            by_backend.setdefault(backend, {})[dtype] = dataclasses.asdict(entry)
    return found


def _models(report):
    return {
        name: {
            dtype: {
                backend: {
                    "losses": first.losses.tolist(),
                    "departure": departure(found, backend),
                    "quantities": {q: _summary(v[backend]) for q, v in found.items()},
                }
                for backend, (first, *_) in report.runs(name, dtype).items()
            }
            for dtype, found in by_dtype.items()
        }
        for name, by_dtype in report.models.items()
    }


def _by_case(report):
    found = {}
    for case, cells in report.by_case().items():
        for (backend, dtype), verdict in cells.items():
            found.setdefault(case, {}).setdefault(backend, {})[dtype] = verdict.ratio
    return found


def _training(report, dtype):
    training, found = report.training[dtype], {}
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
            "bleu": report.mean_bleu(dtype, b),
        }
    return found


def _translations(report):
    if report.plan is None:
        return []
    return [
        {
            "source": sentence,
            "reference": report.plan.references[number],
            "by": {
                dtype: {
                    b: {
                        "text": report.translation(dtype, b, number),
                        "bleu": report.bleu(dtype, b, number),
                    }
                    for b in report.training[dtype]["runs"]
                }
                for dtype in report.dtypes
                if report.training[dtype]
            },
        }
        for number, sentence in enumerate(report.plan.sentences)
    ]


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
