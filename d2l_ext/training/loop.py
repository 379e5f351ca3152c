"""The training loop, written once: batches, steps of the framework's trainer, losses."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from d2l_ext import randomness
from d2l_ext.interface import Batch, Masks
from d2l_ext.progress import Bar


class Batches(Protocol):
    """Data to train on: `TranslationData`, `BucketedData`, or anything else that has batches."""

    @property
    def num_batches(self) -> int:
        """The number of batches in an epoch."""
        ...

    @property
    def pad(self) -> int:
        """The target id that does not count."""
        ...

    def batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Yield an epoch's batches, (src, tgt_in, src_valid_len, tgt_out)."""
        ...


class Steps(Protocol):
    """What does training steps: a `Trainer`, or one in another process; attributes as there."""

    num_steps: int
    lr: float
    max_norm: float | None
    pad: int | None

    def step(self, batch: Batch, dropout: Masks | str = None) -> float:
        """Do one training step; return the loss."""
        ...


@dataclasses.dataclass
class History:
    """What happened in a call of `fit`.

    Attributes:
        losses: the loss of each step, before its update.
        tokens: number of target tokens that counted in the losses.
        seconds: time spent in the training steps.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Target tokens trained on per second; 0 before the first step."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def add(self, loss: float, tokens: int, seconds: float) -> None:
        """Record one step."""
        self.losses.append(loss)
        self.tokens += tokens
        self.seconds += seconds


def fit(
    trainer: Steps,
    data: Batches,
    num_epochs: int,
    seed: int = 0,
    dropout: Masks | str = None,
    teacher_forcing_ratio: float = 1.0,
    on_step: Callable[[int, float], object] | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[int, History], object] | None = None,
    schedule: Callable[[int], float] | None = None,
) -> History:
    """Train, `num_epochs` times through the data.

    Epochs are counted from the trainer's first step: a trainer whose state was loaded goes on
    where it stopped, also in the middle of an epoch, and does exactly what it would have done
    without the stop. Everything random depends on the seeds and the number of the step alone.

    Args:
        trainer: a `Trainer`.
        data: has ``batches(seed, epoch)``, which yields (src, tgt_in, src_valid_len, tgt_out), and
            ``num_batches``, their number in an epoch.
        num_epochs: how often each pair is seen, in all.
        seed: of the order of the batches and of the coins of teacher forcing.
        dropout: None for masks drawn in NumPy, "own" for the framework's generator.
        teacher_forcing_ratio: probability, at each step of the target, of being fed the true token
            instead of the model's own.
        on_step: called as ``on_step(step, loss)``; steps count from 1.
        progress: whether to show loss, speed and time left: None on a terminal, True everywhere,
            False nowhere.
        on_epoch: called as ``on_epoch(epoch, history)`` after each epoch, counted from 1; returns
            True to stop.
        schedule: ``schedule(step)`` is the learning rate of a step, counted from 1.

    Returns:
        A `History` of the steps done in this call.

    Raises:
        FloatingPointError: the loss is not finite.
        ValueError: a ratio that is not between 0 and 1, or a negative number of epochs.
    """
    if not 0 <= teacher_forcing_ratio <= 1:
        raise ValueError(
            f"teacher_forcing_ratio: got {teacher_forcing_ratio}, must be between 0 and 1"
        )
    if num_epochs < 0:
        raise ValueError(f"num_epochs: got {num_epochs}, must be at least 0")
    history = History()
    with Bar(num_epochs * data.num_batches, trainer.num_steps, progress) as shown:
        for epoch in range(trainer.num_steps // data.num_batches, num_epochs):
            for batch in _remaining(data, seed, epoch, trainer.num_steps):
                if schedule is not None:
                    trainer.lr = schedule(trainer.num_steps + 1)
                batch = _with_coins(batch, teacher_forcing_ratio, seed, trainer.num_steps)
                _step(trainer, batch, dropout, history)
                shown.show(trainer.num_steps, _description(epoch + 1, history))
                if on_step is not None:
                    on_step(trainer.num_steps, history.losses[-1])
            if on_epoch is not None and on_epoch(epoch + 1, history):
                break
    return history


def _remaining(data: Batches, seed: int, epoch: int, num_steps: int) -> Iterator[Batch]:
    """Yield the batches of an epoch that have not been trained on."""
    done = num_steps - epoch * data.num_batches
    for number, batch in enumerate(data.batches(seed, epoch)):
        if number >= done:
            yield batch


def _with_coins(batch: Batch, ratio: float, seed: int, step: int) -> Batch:
    """Add the coins of teacher forcing as the model's fourth input, unless all would be True."""
    if ratio == 1:
        return batch
    *inputs, labels = batch
    return *inputs, randomness.teacher_coins(labels.shape[1], ratio, seed, step), labels


def _step(trainer: Steps, batch: Batch, dropout: Masks | str, history: History) -> None:
    labels = batch[-1]
    start = time.perf_counter()
    loss = trainer.step(batch, dropout)
    tokens = labels.size if trainer.pad is None else int(np.count_nonzero(labels != trainer.pad))
    history.add(loss, tokens, time.perf_counter() - start)
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} at step {trainer.num_steps}: try a lower learning rate"
            f" (it is {trainer.lr:g}) or a smaller max_norm (it is {trainer.max_norm})"
        )


def _description(epoch: int, history: History) -> str:
    loss, speed = history.losses[-1], history.tokens_per_second
    return f"epoch {epoch}, loss {loss:.3f}, {speed:,.0f} tokens/s"
