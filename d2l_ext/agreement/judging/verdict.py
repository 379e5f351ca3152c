"""The verdict on what a backend computed: each error beside its budget."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.judging.answer import exact_answer
from d2l_ext.agreement.judging.budget import budget
from d2l_ext.agreement.judging.error import Answer, errors
from d2l_ext.agreement.running.job import flat
from d2l_ext.agreement.running.perform import perform
from d2l_ext.interface import Arrays, Backend

# What a backend must hand back as it was given, to the last bit.
COPIES = ("start", "unchanged", "masks")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One tensor of one case on one backend in one precision.

    Attributes:
        case, seed, backend, dtype, quantity, tensor: which.
        error: max |a - b| / max |b|; infinite where the two can't be compared.
        budget: the largest error allowed.
        reason: why the error is infinite, or "".
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
        what = f"{self.quantity} {self.tensor}" if self.tensor != "0" else self.quantity
        how = self.reason or f"error {self.error:.1e}, budget {self.budget:.1e}"
        return f"{self.backend} {self.dtype} {self.case}[{self.seed}]: {what}: {how}"


class Question:
    """A case with the numbers of one seed, and the exact answer, computed once."""

    def __init__(self, case: Case, seed: int = 0):
        self.case, self.seed = case, seed
        self.job = case.job(seed)
        self.answer = exact_answer(self.job)

    def verdicts(self, backend: str, dtype: str, results: Mapping[str, Arrays]) -> list[Verdict]:
        """Judge what a backend computed.

        Args:
            backend: its name.
            dtype: "float64" or "float32".
            results: as `perform` returns them.
        """
        allowed = budget(self.case, self.seed, self.job, self.answer, dtype)
        return [
            Verdict(
                case=self.case.name,
                seed=self.seed,
                backend=backend,
                dtype=dtype,
                quantity=error.quantity,
                tensor=error.tensor,
                error=error.size,
                budget=0 if error.quantity in COPIES else allowed.of(error.quantity, error.tensor),
                reason=error.reason,
            )
            for error in errors(
                results,
                self.expected(dtype),
                dtype,
                self.job.largest_term,
                self.job.saturates,
            )
        ]

    def expected(self, dtype: str) -> Answer:
        """Return the exact answer and the copies that a backend must hand back."""
        job, answer = self.job, {k: v for k, v in self.answer.items() if k != "weights" or v}
        if job.is_function:
            answer["unchanged"] = _cast(flat(job.inputs), dtype)
        else:
            answer |= {"start": _cast(job.parameters, dtype), "masks": job.layers}
        if any(c is not None for c in flat(job.cotangent).values()):
            answer["outputs of vjp"] = answer["outputs"]
        return answer


def _cast(arrays: Mapping[str, np.ndarray], dtype: str) -> Arrays:
    return {k: x.astype(dtype) if x.dtype.kind == "f" else x for k, x in arrays.items()}


def verdicts(
    question: Question, backend: Backend, dtype: str, made: dict[str, Any] | None = None
) -> list[Verdict]:
    """Ask a backend in this process, and judge.

    Args:
        question: a `Question`.
        backend: a `Backend`.
        dtype: "float64" or "float32".
        made: as in `perform`.
    """
    return question.verdicts(backend.name, dtype, perform(backend, question.job, dtype, made))


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Return the verdict with the largest ratio of error to budget, or None."""
    return max(verdicts, key=lambda v: (not v.agrees, v.ratio), default=None)
