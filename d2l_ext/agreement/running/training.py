"""The training of a plan in a worker: from the common start, then from the moved ones."""

from collections.abc import Callable

import numpy as np

from d2l_ext.agreement.cases.plans import Plan, Run, State
from d2l_ext.agreement.running.remote import Worker
from d2l_ext.interface import Batch, Masks
from d2l_ext.training.loop import fit


class RemoteTrainer:
    """A worker's trainer, as `fit` wants it; the masks are drawn here."""

    def __init__(self, worker: Worker, plan: Plan):
        self._worker, self._plan = worker, plan
        self.num_steps, self.lr = 0, plan.lr
        self.pad: int | None = plan.data.pad
        self.max_norm: float | None = plan.max_norm

    def step(self, batch: Batch, dropout: Masks | str = None) -> float:
        """Do one step; return the loss."""
        masks = self._plan.masks(batch[:-1], self.num_steps)
        loss = self._worker.ask("step", batch, masks)
        self.num_steps += 1
        return loss


def train(
    worker: Worker, plan: Plan, dtype: str, on_step: Callable[[], object] | None = None
) -> list[Run]:
    """Train a plan in a worker: once from the common start, then from the moved ones.

    Args:
        worker: a `remote.Worker`.
        plan: a `Plan`.
        dtype: "float64" or "float32".
        on_step: called without arguments after each step.

    Returns:
        A list of `Run`; the first is from the common start.
    """
    pad = plan.data.pad
    worker.ask("build", plan.target, plan.example, dtype, plan.lr, plan.max_norm, pad)
    return [_run(worker, plan, dtype, draw, on_step) for draw in (None, *range(plan.draws))]


def _run(
    worker: Worker, plan: Plan, dtype: str, draw: int | None, on_step: Callable[[], object] | None
) -> Run:
    worker.ask("start", plan.start(dtype, draw))
    states = {}

    def after(step, _):
        if step in (1, plan.num_steps):
            states[step] = State(*worker.ask("state"))
        if on_step is not None:
            on_step()

    trainer = RemoteTrainer(worker, plan)
    history = fit(trainer, plan.data, plan.epochs, plan.seed, progress=False, on_step=after)
    return Run(
        np.array(history.losses),
        states[1],
        states[plan.num_steps],
        **plan.decode(worker.ask, keep_weights=draw is None),
    )
