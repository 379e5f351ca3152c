"""The verdict on what a backend computed: each error beside its budget."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from d2l_ext.agreement.judging.error import Answer, errors, worst_element
from d2l_ext.agreement.judging.solved import SolvedCase
from d2l_ext.agreement.running.perform import perform
from d2l_ext.interface import Arrays, Backend


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One tensor of one case on one backend in one precision.

    Attributes:
        case, seed, backend, dtype, quantity, tensor: which.
        error: max |a - b| / max |b|; infinite where the two can't be compared.
        budget: the largest error allowed.
        reason: why the error is infinite, or "".
        worst: of a tensor beyond its budget, the worst element and its two values; or "".
    """

    case: str
    seed: int
    backend: str
    dtype: str
    quantity: str
    tensor: str
    error: float
    budget: float
    reason: str = ""
    worst: str = ""

    @property
    def ratio(self) -> float:
        """Error over budget; more than 1 is a failure."""
        if self.error == 0:
            return 0.0
        return self.error / self.budget if self.budget else math.inf

    @property
    def agrees(self) -> bool:
        """Whether the error is within the budget (NaN never is)."""
        return self.ratio <= 1

    def __str__(self) -> str:
        return f"{self.backend} {self.dtype} {self.case}, seed {self.seed}: {self.what}: {self.how}"

    @property
    def what(self) -> str:
        """The quantity, and which of its tensors where there are several."""
        return self.quantity if self.tensor == "0" else f"{self.quantity} {self.tensor}"

    @property
    def how(self) -> str:
        """The error beside its budget, or why there is none, and the worst element."""
        size = self.reason or f"error {self.error:.1e}, budget {self.budget:.1e}"
        return "; ".join(filter(None, (size, self.worst)))


def judge(
    solved: SolvedCase, backend: str, dtype: str, results: Mapping[str, Arrays]
) -> list[Verdict]:
    """Judge what a backend computed.

    Args:
        solved: a `SolvedCase`.
        backend: its name.
        dtype: "float64" or "float32".
        results: as `perform` returns them.

    Returns:
        A list of `Verdict`, one for each tensor.
    """
    job, expected = solved.job, solved.expected(dtype)
    found = [
        Verdict(
            case=solved.case.name,
            seed=solved.seed,
            backend=backend,
            dtype=dtype,
            quantity=error.quantity,
            tensor=error.tensor,
            error=error.size,
            budget=solved.allowed(error.quantity, error.tensor, dtype),
            reason=error.reason,
        )
        for error in errors(results, expected, dtype, job.largest_term, job.saturates)
    ]
    return [v if v.agrees else _with_worst(v, results, expected) for v in found]


def _with_worst(verdict: Verdict, results: Mapping[str, Arrays], expected: Answer) -> Verdict:
    """Add the worst element, where both sides have the tensor."""
    got = results.get(verdict.quantity, {}).get(verdict.tensor)
    wanted = expected[verdict.quantity].get(verdict.tensor)
    if got is None or wanted is None:
        return verdict
    return dataclasses.replace(verdict, worst=worst_element(got, wanted))


def verdicts(
    solved: SolvedCase, backend: Backend, dtype: str, made: dict[str, Any] | None = None
) -> list[Verdict]:
    """Ask a backend in this process, and judge.

    Args:
        solved: a `SolvedCase`.
        backend: a `Backend`.
        dtype: "float64" or "float32".
        made: as in `perform`.
    """
    return judge(solved, backend.name, dtype, perform(backend, solved.job, dtype, made))


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Return the verdict with the largest ratio of error to budget, or None."""
    return max(verdicts, key=lambda v: (not v.agrees, v.ratio), default=None)
