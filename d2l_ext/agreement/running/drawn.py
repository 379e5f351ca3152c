"""Masks that a framework draws itself: no two are the same, and each keeps to its layer's rate.

They cannot be compared with another framework's, but seen: in the gradients of `ViTMLP` for a
single position, of whose two layers each drops a row or a column of the second matrix.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import Job, first_labels
from d2l_ext.interface import Arrays, Model, Trainer

SIGMAS = 6  # that the number of dropped units may be off
CALLS = 12  # of few units each, which are few parameters
STEPS = 40  # at most: often the second drops others than the first


def repeated(trainer: Trainer, job: Job, steps: Mapping[str, Any]) -> list[str]:
    """Return in words whether steps that the framework draws masks for all have the same.

    With a learning rate of zero, losses of a batch differ by their masks alone.
    """
    trainer.lr = 0.0
    batch = (*job.inputs, first_labels(steps))
    first = trainer.step(batch, "own")
    same = all(trainer.step(batch, "own") == first for _ in range(STEPS))
    return ["all steps drop the same units"] if same else []


def oddities(model: Model, job: Job) -> list[str]:
    """Return what is wrong with the masks that a model of `ViTMLP` draws in some calls, in words.

    Args:
        model: of as many hidden units as outputs.
        job: of one position, with a rate of dropout.
    """
    rate = job.target["config"]["dropout"]
    layers = model.dropout_layers(*job.inputs)
    dropped = {path: np.zeros(shape) for path, (_, shape) in layers.items()}
    calls = [_drawn(model, job, dropped) for _ in range(CALLS)]
    drawn = [np.stack(masks) for masks in zip(*calls, strict=True)]  # each (calls, units)
    limit = SIGMAS * np.sqrt(rate * (1 - rate) / drawn[0].size)
    shares = [(masks == 0).mean() for masks in drawn]
    found = [f"drops {s:.2f}, the rate is {rate}" for s in shares if abs(s - rate) > limit]
    kept, scale = drawn[1][drawn[1] != 0], 1 / (1 - rate)
    if not np.allclose(kept, scale):
        found.append(f"multiplies what is left by another number than {scale:.4g}")
    first, second = (masks == 0 for masks in drawn)
    if np.array_equal(first, second):
        found.append("two layers drop the same units")
    if any((masks == masks[0]).all() for masks in (first, second)):
        found.append("all calls drop the same units")
    return found


def _drawn(model: Model, job: Job, dropped: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Return a call's masks: where the first layer's is 0, and the second's.

    The call before is given masks that drop everything, which must not stay.
    """
    model(*job.inputs, training=True, dropout=dropped)
    cotangent = np.ones(job.cotangent.shape, np.float32)
    _, gradients, _ = model.vjp(job.inputs, cotangent, training=True, dropout="own")
    return np.abs(gradients["dense2.weight"]).max(axis=0), gradients["dense2.bias"]
