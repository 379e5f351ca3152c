"""A job on a backend: everything that is compared, computed by the framework."""

from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import Job, bound, described, flat
from d2l_ext.config import build
from d2l_ext.interface import Arrays, Backend, Model
from d2l_ext.nested import nest

# What can be checked without an exact answer.
CHECKS = ("start", "unchanged", "masks", "outputs of vjp")


def perform(
    backend: Backend, job: Job, dtype: str, made: dict[str, Any] | None = None
) -> dict[str, Arrays]:
    """Compute everything that is compared; in float64 compiled as users compile it, in float32 not.

    Args:
        backend: a `Backend`.
        job: a `Job`.
        dtype: one of the backend's.
        made: a dictionary that keeps the model and its trainer, for jobs of the same case with
            other numbers: what has been compiled is used again.

    Returns:
        ``{quantity: {tensor: array}}``: "outputs", "weights", "gradients", "input gradients" and,
        where the job asks for them, "loss", "step 1" (the parameters after it), "step 2", ...,
        "decoding" (log-probabilities of all next tokens); and the `CHECKS`: "unchanged" (the
        function's inputs after the call), "start" (parameters read back), "masks" (shapes of the
        dropout masks that the model asks for) and "outputs of vjp" (which are the outputs again).
    """
    with backend.eagerly(dtype != "float64"):
        if job.is_function:
            return _perform_function(backend, job, dtype)
        return _perform_model(backend, job, dtype, {} if made is None else made)


def _perform_model(
    backend: Backend, job: Job, dtype: str, made: dict[str, Any]
) -> dict[str, Arrays]:
    if "model" not in made:
        made["model"] = backend.model(build(backend.api, job.target), *job.inputs, dtype=dtype)
    model = made["model"]
    model.load_parameters(job.parameters)
    results = {
        "start": model.parameters(),
        "masks": described(model.dropout_layers(*job.inputs)),
    }
    called = model(*job.inputs, training=job.training, dropout=job.masks)
    results["weights"] = flat(model.attention_weights)
    outputs, gradients, input_gradients = model.vjp(
        job.inputs, job.cotangent, training=job.training, dropout=job.masks
    )
    results["outputs"], results["outputs of vjp"] = (
        flat(job.compared(called)),
        flat(job.compared(outputs)),
    )
    results["gradients"] = gradients
    # A block that keeps its cache in the caller's state, as D2L's does, adds entries to the inputs.
    wanted = flat(job.inputs)
    results["input gradients"] = {k: g for k, g in flat(input_gradients).items() if k in wanted}
    if job.decode is not None:
        results["decoding"] = _decoding(model, job.decode)
    if job.steps is not None:
        results |= _training_steps(backend, model, job, job.steps, made)
    return results


def _perform_function(backend: Backend, job: Job, dtype: str) -> dict[str, Arrays]:
    def cast(x):
        x = np.asarray(x)
        return x.astype(dtype) if x.dtype.kind == "f" else x

    inputs = nest(cast, job.inputs)
    arrays = backend.array(inputs)
    run = bound(backend.api, job.target)
    called = backend.numpy(run(*arrays))
    results = {"outputs": flat(called), "unchanged": flat(backend.numpy(arrays))}
    if not any(x.dtype.kind == "f" for x in flat(inputs).values()):
        # A table, whatever precision it has.
        return results | {"outputs": flat(nest(cast, called))}
    if any(c is not None for c in flat(job.cotangent).values()):
        outputs, gradients = backend.vjp(run, inputs, nest(cast, job.cotangent))
        results |= {"outputs of vjp": flat(outputs), "input gradients": flat(gradients)}
    return results


def _training_steps(
    backend: Backend, model: Model, job: Job, steps: dict[str, Any], made: dict[str, Any]
) -> dict[str, Arrays]:
    if "trainer" not in made:
        trainer = backend.trainer(model, steps["lr"], steps["max_norm"], steps["pad"])
        made |= {"trainer": trainer, "fresh": trainer.state()}
    trainer = made["trainer"]
    trainer.load_state(made["fresh"])
    batch = (*job.inputs, steps["labels"])
    results = {"loss": {"evaluation": np.asarray(trainer.loss(batch), model.dtype)}}
    for number, masks in enumerate(steps["masks"], start=1):
        results["loss"][f"step {number}"] = np.asarray(trainer.step(batch, masks), model.dtype)
        results[f"step {number}"] = model.parameters()
    return results


def _decoding(model: Model, decode: dict[str, Any]) -> Arrays:
    decoding = model.decoding(*decode["start"])
    tokens, found = decode["tokens"], {}
    for t in range(tokens.shape[1]):
        log_probs, ids = decoding.step(tokens[:, t], k=decode["vocab_size"])
        found[f"step {t + 1}"] = np.take_along_axis(log_probs, np.argsort(ids, axis=-1), axis=-1)
        if t == 0:
            rows = decode["rows"]
            decoding.reorder(rows)
            tokens = tokens[rows]
    return found
