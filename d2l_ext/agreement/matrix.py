"""The report's summary by topic: each framework's worst error over budget, in both precisions."""

import dataclasses
import math

from d2l_ext.agreement.drift import Drift

# What a topic is judged by, and the quantities of the cases and of the trained models behind it.
ASPECTS = {
    "forward": (("outputs", "outputs of vjp", "weights", "loss"), ()),
    "gradients": (("gradients", "input gradients"), ()),
    "first steps": (("step 1", "step 2"), ("loss of step 1", "after 1 step")),
    "100 steps": ((), ("loss of later steps", " steps")),
    "tokens": (("decoding",), ("greedy tokens", "beam tokens")),
}


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

    def add(self, ratio, where):
        """Take one more error over budget."""
        self.compared += 1
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

    def entry(name, aspect, backend, dtype):
        cells = found.setdefault((name.partition("/")[0], aspect), {})
        return cells.setdefault((backend, dtype), Entry())

    for outcome in report.outcomes.values():
        for v in outcome.verdicts:
            for aspect, (quantities, _) in ASPECTS.items():
                if v.quantity in quantities:
                    entry(v.case, aspect, v.backend, v.dtype).add(v.ratio, str(v))
    for name, by_dtype in report.models.items():
        for dtype, quantities in by_dtype.items():
            for quantity, by_backend in quantities.items():
                for aspect, (_, endings) in ASPECTS.items():
                    if not quantity.endswith(endings or "no quantity"):
                        continue
                    for backend, verdict in by_backend.items():
                        cell = entry(name, aspect, backend, dtype)
                        _add(cell, verdict, f"{name}: {quantity}")
    order = {aspect: place for place, aspect in enumerate(ASPECTS)}
    topics = list(dict.fromkeys(topic for topic, _ in found))
    return dict(sorted(found.items(), key=lambda x: (topics.index(x[0][0]), order[x[0][1]])))


def _add(cell, verdict, where):
    """Add a `Drift` or `TokenVerdict` of a trained model."""
    if not isinstance(verdict, Drift):
        cell.ties += len(verdict.ties)
        cell.add(0.0 if verdict.agrees else math.inf, f"{where}: {verdict}")
        return
    cell.beyond += int((~verdict.compared).sum())
    if verdict.ratio is not None:
        cell.add(verdict.ratio, f"{where}: {verdict.names[verdict.worst]}")
        cell.compared += int(verdict.compared.sum()) - 1
