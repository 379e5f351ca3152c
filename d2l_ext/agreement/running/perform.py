"""A job on a backend: everything that is compared, computed by the framework."""

from collections.abc import Callable
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import Job, bound, described, flat, walk
from d2l_ext.agreement.running import half, narrow
from d2l_ext.agreement.running.accepted import accepted, too_many, wrong_labels
from d2l_ext.agreement.running.changes import differing, in_words, watched
from d2l_ext.agreement.running.drawn import oddities, repeated
from d2l_ext.config import build
from d2l_ext.interface import Arrays, Backend, Model, State, Trainer
from d2l_ext.nested import Nested, nest

# What can be checked without an exact answer.
CHECKS = (
    "start",
    "changed",
    "masks",
    "outputs of vjp",
    "half precision",
    "narrow integers",
)
FEW = 2  # next tokens, where not all of them are asked for


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
        "decoding" (log-probabilities of all next tokens); "accepted" (inputs that cannot be meant
        and are not refused, in words); and the `CHECKS`: "changed" (what each method has changed
        that it should not, as from `watched`), "start" (parameters read back), "masks" (shapes of
        the dropout masks that the model asks for, and what is odd about those that the framework
        draws, as from `oddities` and `repeated`), "outputs of vjp" (which are the outputs again)
        and, in float32, "half precision" (as from `half.differing`) and "narrow integers" (as from
        `narrow.differing`).
    """
    with backend.eagerly(dtype != "float64"):
        if job.is_function:
            results = _perform_function(backend, job, dtype)
        else:
            results = _perform_model(backend, job, dtype, {} if made is None else made)
        if job.half is not None and dtype == "float32":
            results["half precision"] = {"outputs": in_words(half.differing(backend, job))}
        return results


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
    changed = results["changed"] = {}

    def do(what: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        trains = what.startswith("step")
        value, changed[what] = watched(model, lambda: method(*arguments, **options), trains)
        return value

    draws = job.draws and backend.name != "reference"  # which is given all of its masks
    if draws and job.steps is None:
        results["masks"]["drawn"] = in_words(oddities(model, job))
    mode: dict[str, Any] = {"training": job.training, "dropout": job.masks}
    results["accepted"] = {"inputs": in_words(accepted(model, job.inputs))}
    called = do("forward", model, *job.inputs, **mode)
    results["weights"] = flat(model.attention_weights)
    if dtype == "float32":
        results["narrow integers"] = _narrow(lambda *x: model(*x, **mode), job.inputs, called)
    if job.decode is not None:  # in evaluation, so that neither call has its mode from the other
        results["decoding"] = do("decoding", _decoding, model, job.decode)
        results["accepted"]["steps"] = in_words(too_many(model, job.decode))
    outputs, gradients, input_gradients = do("vjp", model.vjp, job.inputs, job.cotangent, **mode)
    results["outputs"], results["outputs of vjp"] = (
        flat(job.compared(called)),
        flat(job.compared(outputs)),
    )
    results["gradients"] = gradients
    # A block that keeps its cache in the caller's state, as D2L's does, adds entries to the inputs.
    wanted = flat(job.inputs)
    results["input gradients"] = {k: g for k, g in flat(input_gradients).items() if k in wanted}
    if job.steps is not None:
        if "trainer" in made:
            made["trainer"].load_state(_fresh(model))
        else:
            made["trainer"] = _trainer(model, job.steps)
        results |= _training_steps(made["trainer"], job, job.steps, do, changed)
        if draws:
            results["masks"]["drawn"] = in_words(repeated(made["trainer"], job, job.steps))
        results["accepted"]["labels"] = in_words(wrong_labels(made["trainer"], job, job.steps))
    return results


def _narrow(call: Callable[..., Nested], inputs: Nested, outputs: Nested) -> Arrays:
    return {"outputs": in_words(narrow.differing(call, inputs, flat(outputs)))}


def _perform_function(backend: Backend, job: Job, dtype: str) -> dict[str, Arrays]:
    def cast(x):
        x = np.asarray(x)
        return x.astype(dtype) if x.dtype.kind == "f" else x

    inputs = nest(cast, job.inputs)
    arrays = backend.array(inputs)
    run = bound(backend.api, job.target)
    called = backend.numpy(run(*arrays))
    found = differing(flat(inputs), flat(backend.numpy(arrays)))
    results = {
        "outputs": flat(called),
        "changed": {"call": in_words([f"argument {path}" for path in found])},
        "accepted": {"inputs": in_words(accepted(lambda *x: run(*backend.array(x)), inputs))},
    }
    if dtype == "float32":
        again = lambda *x: backend.numpy(run(*backend.array(x)))  # noqa: E731
        results["narrow integers"] = _narrow(again, inputs, called)
    if not any(x.dtype.kind == "f" for x in flat(inputs).values()):
        # A table, whatever precision it has.
        return results | {"outputs": flat(nest(cast, called))}
    if any(c is not None for c in flat(job.cotangent).values()):
        outputs, gradients = backend.vjp(run, inputs, nest(cast, job.cotangent))
        results |= {"outputs of vjp": flat(outputs), "input gradients": flat(gradients)}
    return results


def _trainer(model: Model, steps: dict[str, Any]) -> Trainer:
    return model.backend.trainer(model, steps["lr"], steps["max_norm"], steps["pad"])


def _training_steps(
    trainer: Trainer, job: Job, steps: dict[str, Any], do: Callable[..., Any], changed: Arrays
) -> dict[str, Arrays]:
    model = trainer.model
    if "state" in steps:
        trainer.load_state(steps["state"])
    taken = trainer.state()  # the caller's: no step may change it
    were = {m: {name: x.copy() for name, x in taken[m].items()} for m in ("m", "v")}
    batches = steps.get("batches") or [job.inputs] * len(steps["masks"])
    labels = steps["labels"] if "batches" in steps else [steps["labels"]] * len(batches)
    loss = do("loss", trainer.loss, (*batches[0], labels[0]))
    found = {"loss": {"evaluation": np.asarray(loss, model.dtype)}}
    for number, masks in enumerate(steps["masks"], start=1):
        trainer.lr = steps["lrs"][number - 1] if "lrs" in steps else steps["lr"]
        batch = (*batches[number - 1], labels[number - 1])
        what = f"step {number}"
        found["loss"][what] = np.asarray(do(what, trainer.step, batch, masks), model.dtype)
        found[what] = model.parameters()
    moved = [f"{m} of {name}" for m in were for name in differing(were[m], taken[m])]
    changed["state"] = in_words(moved)
    if "state" in steps:
        state = trainer.state()
        found["moments"] = {f"{m} of {n}": x for m in ("m", "v") for n, x in state[m].items()}
    return found


def _fresh(model: Model) -> State:
    zeros = {name: np.zeros_like(p) for name, p in model.parameters().items()}
    return {"num_steps": 0, "m": zeros, "v": zeros}


def _decoding(model: Model, decode: dict[str, Any]) -> Arrays:
    """Walk the job's way through decoding; return log-probabilities, and weights if they are kept.

    Log-probabilities after each feeding are in the order of the ids; of the few best, in their own.
    """
    decoding = model.decoding(*decode["start"], keep_weights=decode.get("keep_weights", False))
    before, found, number = decoding.state, {}, 0
    for what, array in walk(decode):
        number += what in ("feed", "best", "score")
        if what == "feed":
            log_probs, ids = decoding.step(array, k=decode["vocab_size"])
            found[f"step {number}"] = by_id = np.empty_like(log_probs)
            np.put_along_axis(by_id, ids, log_probs, axis=-1)  # ids that are integers
            weights = flat(_over_source(decoding.attention_weights))
            found |= {f"weights {number}, {path}": w for path, w in weights.items()}
        elif what == "best":
            found[f"step {number}"] = decoding.step(array, k=FEW)[0]
        elif what == "score":
            before = decoding.state
            found[f"score {number}"] = decoding.score(array).astype(model.dtype)
        elif what == "rewind":
            decoding.state = before
        else:
            before = decoding.state
            decoding.reorder(array)
    return found


def _over_source(weights: Nested) -> Nested:
    """Return a step's weights over the source: those of self-attention may be over room, too."""
    if weights is None or not isinstance(weights[0], (list, tuple)):
        return weights
    return weights[-1]
