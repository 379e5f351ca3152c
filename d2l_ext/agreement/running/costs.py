"""How long a framework takes for what a comparison asks, to say how long the whole will take."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds, measured on two cores while another framework was compared as well.

    Attributes:
        case: a case in one precision, on average.
        step: a training step.
    """

    case: float
    step: float


COSTS = {
    "torch": Cost(case=0.2, step=0.02),
    "mxnet": Cost(case=0.2, step=0.02),
    "jax": Cost(case=0.6, step=0.02),
    "tensorflow": Cost(case=0.6, step=0.02),
}
UNKNOWN = Cost(case=0.6, step=0.02)  # of another backend
