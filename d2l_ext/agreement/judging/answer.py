"""What a job should give: the reference's results in long double.

The reference computes them as every backend does (`perform`). One rule is added: what is nothing
but rounding is not compared.
"""

from collections.abc import Mapping

import numpy as np

from d2l_ext.agreement.cases.job import Job
from d2l_ext.agreement.judging.error import ZERO, Answer
from d2l_ext.agreement.running.perform import CHECKS, perform
from d2l_ext.reference.backend import BACKEND

EXACT = "longdouble"


def exact_answer(job: Job) -> Answer:
    """Compute everything that is compared.

    Returns:
        ``{quantity: {tensor: array}}`` as from `perform`, without what can be checked without it.
        A parameter whose exact gradient is zero is None after a step: Adam makes full steps of the
        rounding that stands there instead.
    """
    made = {}
    results = perform(BACKEND, job, EXACT, made)
    answer: Answer = {quantity: x for quantity, x in results.items() if quantity not in CHECKS}
    if job.steps is not None:
        rounding = zeros(made["trainer"].state()["m"])
        for number in range(1, len(job.steps["masks"]) + 1):
            answer[f"step {number}"] |= dict.fromkeys(rounding)
        for name in answer.get("moments", {}):
            if name.removeprefix("m of ").removeprefix("v of ") in rounding:
                answer["moments"][name] = None
    return answer


def zeros(gradients: Mapping[str, np.ndarray]) -> set[str]:
    """Return the names of the tensors whose gradient is zero but for rounding."""
    largest = {name: np.abs(g).max(initial=0) for name, g in gradients.items()}
    limit = ZERO * max(largest.values(), default=0)
    return {name for name, size in largest.items() if size <= limit}
