"""A case that the reference has solved: all that a backend's results are judged by."""

import functools
from collections.abc import Mapping

import numpy as np

from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.job import flat
from d2l_ext.agreement.judging.answer import exact_answer
from d2l_ext.agreement.judging.budget import Budget, budget
from d2l_ext.agreement.judging.error import Answer
from d2l_ext.agreement.running.changes import NOTHING
from d2l_ext.interface import Arrays

# What a backend must hand back as it was given, to the last bit.
COPIES = ("start", "changed", "masks")
NARROW = ("half precision", "narrow integers")  # in which nothing may differ
WORDS = ("accepted",)  # and what is told in words, which must be the reference's
EXACT = (COPIES, NARROW, WORDS)  # all that has no budget


class SolvedCase:
    """A case with the numbers of one seed, the exact answer and the budgets, computed once.

    Attributes:
        case, seed: which.
        job: what a backend is to compute.
        answer: as from `exact_answer`.
    """

    def __init__(self, case: Case, seed: int = 0):
        self.case, self.seed = case, seed
        self.job = case.job(seed)
        self.answer = exact_answer(self.job)
        self.budget = functools.cache(self._budget)

    def _budget(self, dtype: str) -> Budget:
        return budget(self.case, self.seed, self.job, self.answer, dtype)

    def allowed(self, quantity: str, tensor: str, dtype: str) -> float:
        """Return the largest error of a tensor that is allowed in a precision."""
        if any(quantity in quantities for quantities in EXACT):
            return 0
        return self.budget(dtype).of(quantity, tensor)

    def expected(self, dtype: str) -> Answer:
        """Return the exact answer and the copies that a backend must hand back."""
        job, answer = self.job, {k: v for k, v in self.answer.items() if k != "weights" or v}
        answer["changed"] = {what: np.array(NOTHING) for what in self._done()}
        if not job.is_function:
            drawn = {"drawn": np.array(NOTHING)} if job.draws else {}
            answer |= {"start": _cast(job.parameters, dtype), "masks": job.layers | drawn}
        if any(c is not None for c in flat(job.cotangent).values()):
            answer["outputs of vjp"] = answer["outputs"]
        if job.half is not None and dtype == "float32":
            answer["half precision"] = {"outputs": np.array(NOTHING)}
        if dtype == "float32":
            answer["narrow integers"] = {"outputs": np.array(NOTHING)}
        return answer

    def _done(self) -> list[str]:
        """List what a backend does with the job."""
        job = self.job
        if job.is_function:
            return ["call"]
        steps = 0 if job.steps is None else len(job.steps["masks"])
        return [
            *("forward", "vjp"),
            *(["decoding"] if job.decode is not None else []),
            *(["loss", "state", *(f"step {n}" for n in range(1, steps + 1))] if steps else []),
        ]


def _cast(arrays: Mapping[str, np.ndarray], dtype: str) -> Arrays:
    return {k: x.astype(dtype) if x.dtype.kind == "f" else x for k, x in arrays.items()}
