"""A case: a module or function, written once, from which a seed draws a job."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from d2l_ext import randomness, reference
from d2l_ext.agreement.cases.job import Job, bound, described, flat
from d2l_ext.config import build
from d2l_ext.nested import Nested, nest
from d2l_ext.reference.backend import BACKEND, ReferenceModel

PAD = 1  # the target id that does not count in the loss
STEPS = 2  # optimiser steps of a case: the first shows the gradient, the second the moments
PLAIN = 0.01, 0.01  # their learning rates


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Optimiser steps with another batch each, so that ids of one are not in the next.

    Attributes:
        lrs: the learning rate of each step.
        num_steps: steps that were done before, with random moments; 0 is a start without any.
    """

    lrs: tuple[float, ...]
    num_steps: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A module or function, its configuration, and how its inputs come from a generator.

    Attributes:
        name: "topic/what/how".
        target: as in `Job`.
        draw_inputs: ``draw_inputs(rng)`` returns the inputs.
        training: whether dropout acts.
        trains: whether it also does optimiser steps.
        translates: whether it is an `EncoderDecoder` or a language model, which does them too, and
            decodes token by token.
        max_norm: of the optimiser steps.
        pad: of their loss.
        schedule: of the optimiser steps; None is `STEPS` of them with the same batch.
        walk: how it decodes, one after the other: ("feed", n) feeds n tokens at once, ("best", n)
            too, and asks for the few best next ones only, ("score", n) scores so many, ("rows", n)
            goes on with n rows, ("rewind", 0) goes back to before the last score or rows. Empty is
            token by token, from the second on with other rows.
        keep_weights: whether the attention weights of decoding are compared, too.
        logits: times as large as others the output layer's numbers are.
        saturates: whether inputs are so large that a softmax or gates saturate. Gradients are then
            small differences of large terms, and judged at the size of these.
        draws: whether the masks that the framework draws itself are looked at, too: those of calls,
            or, where there are optimiser steps, of these.
        half: draws the inputs with which half precision is looked at, too, if it is.
        first_output: whether only the first of several outputs is compared (the others being a
            state, which is opaque).
    """

    name: str
    target: dict[str, Any]
    draw_inputs: Callable[[Generator], tuple[Nested, ...]]
    training: bool = False
    trains: bool = False
    translates: bool = False
    max_norm: float | None = None
    pad: int | None = PAD
    first_output: bool = False
    saturates: bool = False
    draws: bool = False
    half: Callable[[Generator], tuple[Nested, ...]] | None = None
    schedule: Schedule | None = None
    walk: tuple[tuple[str, int], ...] = ()
    keep_weights: bool = False
    logits: float = 1.0

    @property
    def topic(self) -> str:
        """The grid's row, "masking" and so on."""
        return self.name.partition("/")[0]

    @property
    def subject(self) -> Any:
        """The function or class that it is about: its name, or a reader's own function."""
        return self.target.get("function") or self.target["class"]

    @property
    def has_steps(self) -> bool:
        """Whether it does optimiser steps."""
        return self.trains or self.translates

    def job(self, seed: int) -> Job:
        """Draw the case's numbers from a seed."""
        rng = randomness.generator(seed, "case", self.name)
        job = Job(
            f"{self.name}, seed {seed}", self.target, self.draw_inputs(rng), training=self.training
        )
        job.first_output, job.saturates = self.first_output, self.saturates
        job.draws = self.draws
        if self.half is not None:
            job.half = self.half(randomness.generator(seed, "half", self.name))
        model, layers = None, {}
        if not job.is_function:
            model = ReferenceModel(BACKEND, build(reference, self.target), job.inputs, 0, "float64")
            layers = model.dropout_layers(*job.inputs)
            job.layers = described(layers)
            shapes = model.shapes().items()
            job.parameters = {name: _parameter(name, shape, seed) for name, shape in shapes}
            for name in (n for n in job.parameters if n.endswith("dense.weight")):
                job.parameters[name] *= np.float32(self.logits)
        if self.training:
            job.masks = randomness.dropout_masks(layers, seed, 0)
        outputs = _outputs(job, model)
        if self.first_output:
            job.cotangent = (_cotangent(rng, outputs[0]), *(None for _ in outputs[1:]))
        elif model is not None or any(x.dtype.kind == "f" for x in flat(job.inputs).values()):
            job.cotangent = nest(lambda y: _cotangent(rng, y), outputs)
        if self.has_steps:
            job.steps = self._steps(rng, outputs.shape, layers, seed)
        if self.schedule is not None:
            self._add_schedule(rng, job, outputs.shape, self.schedule)
        if self.translates:
            job.decode = self._decode(rng, job, outputs.shape[-1])
        return job

    def _steps(
        self,
        rng: Generator,
        shape: tuple[int, ...],
        layers: Mapping[str, tuple[float, tuple[int, ...]]],
        seed: int,
    ) -> dict[str, Any]:
        lrs = PLAIN if self.schedule is None else self.schedule.lrs
        return {
            "labels": _labels(rng, shape),
            "pad": self.pad,
            "lr": lrs[0],
            "max_norm": self.max_norm,
            "masks": [randomness.dropout_masks(layers, seed, step) for step in range(len(lrs))],
        }

    def _add_schedule(
        self, rng: Generator, job: Job, shape: tuple[int, ...], schedule: Schedule
    ) -> None:
        assert job.steps is not None
        more = range(len(schedule.lrs) - 1)
        job.steps["batches"] = [job.inputs, *(self.draw_inputs(rng) for _ in more)]
        job.steps["labels"] = [job.steps["labels"], *(_labels(rng, shape) for _ in more)]
        job.steps["lrs"] = list(schedule.lrs)
        moments = {
            m: {n: _moment(rng, m, p.shape) for n, p in job.parameters.items()} for m in "mv"
        }
        if not schedule.num_steps:
            moments = {m: {n: np.zeros_like(x) for n, x in moments[m].items()} for m in moments}
        job.steps["state"] = {"num_steps": schedule.num_steps, **moments}

    def _decode(self, rng: Generator, job: Job, vocab_size: int) -> dict[str, Any]:
        if "encoder" in job.target["config"]:
            source, tokens, lens = job.inputs[:3]
            start = (source,) if lens is None else (source, lens)
        else:
            tokens = job.inputs[0]
            start = (np.array(len(tokens)),)
        found = {"start": start, "vocab_size": vocab_size}
        if not self.walk:
            rows = rng.permutation(len(tokens))
            rows[0] = rows[1]  # one is repeated and one left out
            return found | {"tokens": tokens, "rows": rows}
        actions, num_rows = [], len(tokens)
        before = num_rows
        for what, number in self.walk:
            drawn = None
            if what in ("score", "rows"):
                before = num_rows
            if what == "rows":
                drawn, num_rows = rng.integers(0, num_rows, number), number
            elif what == "rewind":
                num_rows = before
            else:
                drawn = rng.integers(0, vocab_size, (num_rows, number))
            actions.append((what, drawn))
        return found | {"walk": actions, "keep_weights": self.keep_weights}


def _outputs(job: Job, model: ReferenceModel | None) -> Nested:
    """Return the reference's outputs, nested: the cotangent mirrors them."""
    if model is None:
        return bound(reference, job.target)(*job.inputs)
    model.load_parameters(job.parameters)
    return model(*job.inputs, training=job.training, dropout=job.masks)


def _labels(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    labels = rng.integers(0, shape[-1], shape[:-1])
    labels[(0,) * (labels.ndim - 1)][-2:] = PAD  # of the first row, if there are rows
    return labels


def _moment(rng: Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw m, or v, which is positive: as large as if gradients had been about 0.1."""
    drawn = 0.1 * normal(rng, *shape)
    return drawn if name == "m" else drawn * drawn + np.float32(0.01)


def _parameter(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Draw a parameter: no zeros, so that each entry shows, and no size that saturates."""
    rng = randomness.generator(seed, "case parameter", name)
    centre = 1 if re.search(r"(ln|norm\d?)\.weight$", name) else 0
    return (centre + 0.5 * rng.standard_normal(shape)).astype(np.float32)


def _cotangent(rng: Generator, output: np.ndarray) -> np.ndarray | None:
    return normal(rng, *output.shape) if output.dtype.kind == "f" else None


def normal(rng: Generator, *shape: int) -> np.ndarray:
    """Draw standard normal numbers, representable in float32."""
    return rng.standard_normal(shape).astype(np.float32)
