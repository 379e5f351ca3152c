"""What a job should give: the NumPy reference's answer, in any precision.

In long double it is what all backends are measured against. In float64 and float32 it shows how
much error comes from the precision alone.
"""

import numpy as np

from d2l_ext import reference
from d2l_ext.agreement.judging.tangent import Tangent, gradients, independent, value_of
from d2l_ext.agreement.running.job import bound, flat, matching
from d2l_ext.config import build
from d2l_ext.interface import BETA1, BETA2, EPSILON, leaves, nest, stacked
from d2l_ext.reference.layers import Dropout

EXACT = "longdouble"

# A gradient smaller than this, relative to the model's largest, is zero: what long double shows of
# it is its own rounding.
ZERO = 2.0**-53


def zeros(gradients):
    """Return the names of the tensors whose gradient is zero but for rounding."""
    largest = {name: np.abs(g).max(initial=0) for name, g in gradients.items()}
    limit = ZERO * max(largest.values(), default=0)
    return {name for name, size in largest.items() if size <= limit}


def evaluate(job, dtype=EXACT):
    """Compute everything that is compared.

    Args:
        job: a `Job`.
        dtype: "longdouble", "float64" or "float32".

    Returns:
        ``{quantity: {tensor: array}}``: "outputs", "weights", "gradients", "input gradients" and,
        where the job asks for them, "loss", "step 1" (the parameters after it), "step 2 loss",
        ..., "decoding". A parameter whose exact gradient is zero is None after a step: Adam makes
        full steps of the rounding that stands there instead.
    """
    return _Evaluation(job, dtype).results()


def reference_outputs(job):
    """Return the outputs alone, nested, in float64."""
    evaluation = _Evaluation(job, "float64")
    evaluation.set_mode(job.training, job.masks)
    return evaluation.run(*evaluation.inputs)


class Adam:
    """Adam as in `d2l_ext.interface.Trainer`, with clipping, on ``{name: array}``."""

    def __init__(self, lr, max_norm):
        self.lr, self.max_norm, self.t = lr, max_norm, 0
        self.m, self.v = {}, {}

    def step(self, params, gradients):
        """Return the new parameters."""
        self.t += 1
        norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
        clipped = self.max_norm is not None and norm > self.max_norm
        if clipped:
            gradients = {name: g * (self.max_norm / norm) for name, g in gradients.items()}
        return {name: self._moved(name, p, gradients[name]) for name, p in params.items()}

    def _moved(self, name, p, g):
        one = p.dtype.type(1)
        self.m[name] = BETA1 * self.m.get(name, 0 * one) + (1 - BETA1) * g
        self.v[name] = BETA2 * self.v.get(name, 0 * one) + (1 - BETA2) * g * g
        m, v = self.m[name] / (1 - BETA1**self.t), self.v[name] / (1 - BETA2**self.t)
        return p - self.lr * m / (np.sqrt(v) + EPSILON)


class _Evaluation:
    """A job on the reference, in one precision."""

    def __init__(self, job, dtype):
        self.job, self.dtype = job, np.dtype(dtype)
        self.inputs = self.cast(job.inputs)
        if job.is_function:
            self.run, self.params = bound(reference, job.target), {}
            return
        self.run = self.module = build(reference, job.target)
        self.module(*self.cast(job.inputs))  # creates the lazy weights
        self.slots = {name: (owner, slot) for name, owner, slot in self.module.slots()}
        self.params = {name: self.cast(job.parameters[name]) for name in self.slots}
        self.set_params(self.params)

    def cast(self, values):
        def leaf(x):
            x = np.asarray(x)
            return x.astype(self.dtype) if x.dtype.kind == "f" else x

        return nest(leaf, values)

    def set_params(self, params):
        for name, value in params.items():
            owner, slot = self.slots[name]
            setattr(owner, slot, value)

    def set_mode(self, training, masks=None):
        if self.job.is_function:
            return
        self.module.train(training)
        for path, module in self.module.modules():
            if isinstance(module, Dropout):
                module.given = self.cast(masks[path]) if masks and path in masks else None

    def results(self):
        results = self.derivatives()
        if self.job.steps is not None:
            results |= self.training_steps()
        if self.job.decode is not None:
            results["decoding"] = self.decoding()
        return results

    def derivatives(self):
        """Outputs, attention weights and the gradients of outputs times cotangent."""
        self.set_mode(self.job.training, self.job.masks)
        floats = [x for x in leaves(self.inputs) if x.dtype.kind == "f"]
        variables = independent([*self.params.values(), *floats])
        if self.params:
            self.set_params(dict(zip(self.params, variables, strict=False)))
        rest = iter(variables[len(self.params) :])
        inputs = nest(lambda x: next(rest) if x.dtype.kind == "f" else x, self.inputs)
        outputs = self.run(*inputs)
        weights = None if self.job.is_function else getattr(self.module, "attention_weights", None)
        product = sum(
            (y * self.cast(c)).sum()
            for y, c in matching(outputs, self.job.cotangent)
            if isinstance(y, Tangent)
        )
        found = iter(gradients(product, variables) if variables else ())
        by_name = {name: next(found) for name in self.params}
        by_input = nest(lambda x: next(found) if x.dtype.kind == "f" else None, self.inputs)
        self.set_params(self.params)
        return {
            "outputs": flat(nest(value_of, self.job.compared(outputs))),
            "weights": flat(stacked(nest(value_of, weights))),
            "gradients": by_name,
            "input gradients": flat(by_input),
        }

    def training_steps(self):
        """Losses and parameters of a few optimiser steps."""
        steps = self.job.steps
        self.set_mode(False)
        results = {"loss": {"evaluation": value_of(self.loss())}}
        adam, params, rounding = Adam(steps["lr"], steps["max_norm"]), self.params, set()
        for number, masks in enumerate(steps["masks"], start=1):
            self.set_mode(True, masks)
            variables = independent(list(params.values()))
            self.set_params(dict(zip(params, variables, strict=True)))
            loss = self.loss()
            by_name = dict(zip(params, gradients(loss, variables), strict=True))
            params = adam.step(params, by_name)
            results["loss"][f"step {number}"] = loss.value
            rounding |= zeros(by_name)
            results[f"step {number}"] = {
                name: None if name in rounding else p for name, p in params.items()
            }
        self.set_params(self.params)
        return results

    def loss(self):
        steps = self.job.steps
        return reference.masked_loss(self.run(*self.inputs), steps["labels"], steps["pad"])

    def decoding(self):
        """Log-probabilities of all next tokens, token by token."""
        self.set_mode(False)
        encoder, decoder = self.module.encoder, self.module.decoder
        source, _, lens = (*self.inputs, None)[:3]
        state = decoder.init_state(encoder(source, lens), lens)
        tokens, found = self.job.decode["tokens"], {}
        for t in range(tokens.shape[1]):
            logits, state = decoder(tokens[:, t : t + 1], state)
            shifted = logits[:, 0] - logits[:, 0].max(axis=-1, keepdims=True)
            found[f"step {t + 1}"] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
            if t == 0:
                rows = self.job.decode["rows"]
                state, tokens = decoder.select(state, rows), tokens[rows]
        return found
