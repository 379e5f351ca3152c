"""The report's summary by topic: each framework's worst error over budget, in both precisions."""

import dataclasses
import math

from d2l_ext.agreement.judging.drift import Drift, TokenVerdict

# What a topic is judged by: quantities of the cases, and of the models that were trained.
ASPECTS = {
    "forward": ("outputs", "outputs of vjp", "weights", "loss"),
    "gradients": ("gradients", "input gradients"),
    "first steps": (
        *("step 1", "step 2"),
        *("loss of step 1", "moments after 1 step", "parameters after 1 step"),
    ),
    "100 steps": ("loss of later steps", "moments at the end", "parameters at the end"),
    "tokens": ("decoding", "greedy tokens", "beam tokens"),
}
ASPECT = {quantity: aspect for aspect, quantities in ASPECTS.items() for quantity in quantities}


@dataclasses.dataclass
class Entry:
    """One entry of the matrix.

    Attributes:
        ratio: the largest error over budget; infinite where tokens differ that are no ties.
        where: of it.
        compared: number of tensors, steps and sets of translations.
        beyond: how many could not be compared: rounding alone makes more than a percent there.
        ties: translations that differ because two tokens were equally likely.
    """

    ratio: float = 0.0
    where: str = ""
    compared: int = 0
    beyond: int = 0
    ties: int = 0

    def add(self, verdict, where):
        """Take one more `Verdict`, `Drift` or `TokenVerdict`."""
        if isinstance(verdict, Drift):
            self.beyond += int((~verdict.compared).sum())
            self.compared += int(verdict.compared.sum())
            if verdict.worst is not None:
                self._larger(verdict.ratio, f"{where}: {verdict.names[verdict.worst]}")
            return
        self.compared += 1
        if isinstance(verdict, TokenVerdict):
            self.ties += len(verdict.ties)
            self._larger(0.0 if verdict.agrees else math.inf, f"{where}: {verdict}")
        else:
            self._larger(verdict.ratio, str(verdict))

    def _larger(self, ratio, where):
        if ratio >= self.ratio:
            self.ratio, self.where = ratio, where

    def __str__(self):
        ties = f", {self.ties} ties" if self.ties else ""
        return ("∞" if math.isinf(self.ratio) else f"{self.ratio:.2g}") + ties


def matrix(report):
    """Return ``{(topic, aspect): {(backend, precision): Entry}}``, without what has no entry.

    Args:
        report: a `report.Report`.
    """
    found = {}
    for name, quantity, backend, dtype, verdict in _verdicts(report):
        if quantity in ASPECT:
            cells = found.setdefault((name.partition("/")[0], ASPECT[quantity]), {})
            cells.setdefault((backend, dtype), Entry()).add(verdict, f"{name}: {quantity}")
    topics = list(dict.fromkeys(topic for topic, _ in found))
    keys = [(topic, aspect) for topic in topics for aspect in ASPECTS]
    return {key: found[key] for key in keys if key in found}


def _verdicts(report):
    """Yield (case or model, quantity, backend, precision, verdict)."""
    for outcome in report.outcomes.values():
        for v in outcome.verdicts:
            yield v.case, v.quantity, v.backend, v.dtype, v
    for name, by_dtype in report.models.items():
        for dtype, quantities in by_dtype.items():
            for quantity, by_backend in quantities.items():
                for backend, verdict in by_backend.items():
                    yield name, quantity, backend, dtype, verdict
