"""What is beyond its budget, by topic and cause: one bug is one line, however much it spoils.

Rounding shrinks when the precision grows, and a real difference does not. So it is telling in which
of the two precisions a tensor left its budget.
"""

import dataclasses

BOTH = "in both precisions"
LOW = "in float64 alone"
ROUNDING = "in float32 alone"
UNKNOWN = "in the one precision compared"


@dataclasses.dataclass
class FailureGroup:
    """Failures that have topic, backend and cause in common.

    Attributes:
        topic, backend, cause: these.
        verdicts: the failures, the worst first.
    """

    topic: str
    backend: str
    cause: str
    verdicts: list

    @property
    def classes(self):
        """The classes and functions that are concerned, with how many tensors of each."""
        names = [_class(v.case) for v in self.verdicts]
        return {name: names.count(name) for name in dict.fromkeys(names)}


def grouped(outcomes, dtypes):
    """Return the failures as a list of `FailureGroup`, in the order of the cases.

    Args:
        outcomes: ``{backend: comparison.Outcome}``.
        dtypes: the precisions that were compared.
    """
    groups = {}
    for backend, outcome in outcomes.items():
        failures = [v for v in outcome.verdicts if not v.agrees]
        failed = {(*_tensor(v), v.dtype) for v in failures}
        for v in failures:
            cause = _reason(v) if v.reason else _cause(v, failed, dtypes)
            key = v.case.partition("/")[0], backend, cause
            groups.setdefault(key, []).append(v)
    order = {v.case.partition("/")[0]: None for o in outcomes.values() for v in o.verdicts}
    found = sorted(groups, key=lambda key: list(order).index(key[0]))
    return [
        FailureGroup(
            topic, backend, cause, sorted(groups[topic, backend, cause], key=lambda v: -v.ratio)
        )
        for topic, backend, cause in found
    ]


def _cause(verdict, failed, dtypes):
    if len(dtypes) < 2:
        return UNKNOWN
    alone = not all((*_tensor(verdict), dtype) in failed for dtype in dtypes)
    return {"float64": LOW, "float32": ROUNDING}[verdict.dtype] if alone else BOTH


def _reason(verdict):
    """Return a reason without what is particular to the case: "has shape (2, 3), must be ..."."""
    return verdict.reason.partition(",")[0].partition(" (")[0]


def _tensor(verdict):
    return verdict.case, verdict.seed, verdict.quantity, verdict.tensor


def _class(case):
    return case.split("/")[1] if "/" in case else case
