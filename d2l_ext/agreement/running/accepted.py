"""Which inputs that cannot be meant are accepted: what one framework refuses, all refuse."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import Job, first_labels, walk
from d2l_ext.interface import Model, Trainer, decoder_of

WRONG = (-1, 100_000)  # a token, a length or a label; the last of an array


def accepted(call: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """Return, in words, which arrays of integers a call takes with a wrong number in them.

    Args:
        call: raises a ValueError where it refuses its inputs.
        inputs: what it takes; arrays in states are left alone.
    """
    found = []
    for place, x in enumerate(inputs):
        if isinstance(x, np.ndarray) and x.dtype.kind == "i" and x.ndim and x.size:
            for number in WRONG:
                if _takes(call, *_with(inputs, place, number)):
                    found.append(f"argument {place} with {number}")
    return found


def too_many(model: Model, decode: Mapping[str, Any]) -> list[str]:
    """Return, in words, whether a model of so many positions decodes one more."""
    config = decoder_of(model.module).config
    longest = config.get("max_len") if config.get("position") == "learned" else None
    if longest is None:
        return []
    decoding = model.decoding(*decode["start"])
    first = walk(decode)[0][1][:, :1]
    decoding.step(first)  # so that the others do not start at the first position
    taken = _takes(decoding.step, np.repeat(first, longest, axis=1))
    return [f"{longest} steps after the first"] if taken else []


def wrong_labels(trainer: Trainer, job: Job, steps: Mapping[str, Any]) -> list[str]:
    """Return in words which labels that do not exist a step takes, and which the loss takes."""
    labels = first_labels(steps)

    def step(labels: np.ndarray) -> float:
        return trainer.step((*job.inputs, labels), steps["masks"][0])

    def loss(labels: np.ndarray) -> float:
        return trainer.loss((*job.inputs, labels))

    return [
        f"{what}, {taken}"
        for what, call in (("step", step), ("loss", loss))
        for taken in accepted(call, (labels,))
    ]


def _with(inputs: Sequence[Any], place: int, number: int) -> list[Any]:
    """Return inputs of which one ends with a number."""
    wrong = [*inputs]
    wrong[place] = inputs[place].copy()
    wrong[place].flat[-1] = number
    return wrong


def _takes(call: Callable[..., Any], *inputs: Any) -> bool:
    try:
        call(*inputs)
    except ValueError:
        return False
    return True
