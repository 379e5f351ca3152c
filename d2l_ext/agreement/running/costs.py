"""How long a framework takes for what a comparison asks, to say how long the whole will take."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds, measured on two cores while another framework was compared as well.

    Attributes:
        case: a case in one precision, on average; between that of the sample and of all.
        step: a training step.
    """

    case: float
    step: float


COSTS = {
    "torch": Cost(case=0.02, step=0.06),
    "mxnet": Cost(case=0.19, step=0.07),
    "jax": Cost(case=0.95, step=0.04),
    "tensorflow": Cost(case=0.90, step=0.04),
}
UNKNOWN = Cost(case=0.90, step=0.05)  # of another backend


def seconds(backend: str, cases: int, steps: int = 0) -> float:
    """Return how long a backend may take for so many cases and training steps."""
    cost = COSTS.get(backend, UNKNOWN)
    return cases * cost.case + steps * cost.step
