"""The error budget: measured on the reference, not typed.

How much error a precision causes is what the reference itself shows in that precision: float64
against long double, float32 against the same. The budget of a tensor is

    8 x max(the reference's own error, the largest over 20 seeds; one rounding unit)

and in float64 at least 64 rounding units. Cancellation, as in the gradients of nearly uniform
attention, is thereby allowed for where it happens and nowhere else.

A seed beyond those measured may be worse than all of them. There the reference's error for this
very seed counts too, what Adam makes of one rounding of its gradients (`amplified`), and twice as
much is allowed: of the catalogue over 200 other seeds, 8 times was passed by one gradient of
PyTorch's, by 0.3 %, and by a dozen parameters that Adam explains. Twice as much was passed, again
over 200 seeds, by a gradient of PyTorch's in float64, by 3 %, by parameters whose steps take back
one another, by 4 to 60 %, and by a whole model in JAX, after a first step that may be any, the
gradient being as small as Adam's epsilon. So what moving the parameters by a rounding unit changes
(`conditioned`), and what follows of such a step (`carried`), is allowed, too, as it is.

Of a case that is not of the catalogue fewer seeds are measured, and beside the own error stands
what moving the parameters by a rounding unit changes (`conditioned`): of 431 corners, 8 times the
own errors of 20 seeds was passed by one, in PyTorch, by half of what the move changes.

Own errors of the catalogue's cases are kept in ``budgets.json``, beside a hash of the case's
numbers. ``python -m d2l_ext.agreement.judging.budget`` measures cases that are new or have other
numbers, and with ``--all`` every one, which a change of the reference's arithmetic asks for.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
from rich.progress import track

from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.catalogue import catalogue
from d2l_ext.agreement.cases.job import Job, flat
from d2l_ext.agreement.cases.plans import moved
from d2l_ext.agreement.judging.answer import exact_answer
from d2l_ext.agreement.judging.error import Answer, errors
from d2l_ext.agreement.running.perform import perform
from d2l_ext.files import replacing
from d2l_ext.interface import EPSILON
from d2l_ext.reference.backend import BACKEND

Own: TypeAlias = dict[str, dict[str, float]]  # own errors by quantity and tensor

FILE = Path(__file__).with_name("budgets.json")
SEEDS = 20
SEEDS_HERE = 6  # of a case that is measured while one waits
MOVED = 3  # times are its parameters moved
FACTOR = 8
UNSEEN = 2  # times as much
LEAST = {"float64": 64, "float32": FACTOR}  # in rounding units
DTYPES = tuple(LEAST)


def unit(dtype: str) -> float:
    """Return the rounding unit: the gap between 1 and the next number."""
    return float(np.finfo(dtype).eps)


class Budget:
    """What errors one job may have in one precision.

    Args:
        own: the reference's own errors, ``{quantity: {tensor: size}}``; what is missing is less
            than a rounding unit.
        dtype: "float64" or "float32".
        times: how many times as much is allowed, because the numbers are others.
    """

    def __init__(self, own: Own, dtype: str, times: float = 1):
        self._own, self._unit, self._times = own, unit(dtype), times
        self._least = LEAST[dtype] * self._unit

    def of(self, quantity: str, tensor: str) -> float:
        """Return the largest error allowed."""
        own = self._own.get(quantity.removesuffix(" of vjp"), {}).get(tensor, 0)
        return self._times * max(self._least, FACTOR * max(own, self._unit))


def own_errors(job: Job, answer: Answer, dtype: str) -> Own:
    """Return the reference's own errors in a precision.

    Args:
        job: a `Job`.
        answer: as from `exact_answer`.
        dtype: "float64" or "float32".

    Returns:
        ``{quantity: {tensor: size}}`` of those above a rounding unit.

    Raises:
        ArithmeticError: an infinite error, which would allow everything.
    """
    own = {}
    for error in errors(
        perform(BACKEND, job, dtype), answer, dtype, job.largest_term, job.saturates
    ):
        if not np.isfinite(error.size):
            raise ArithmeticError(f"{job.name}: the reference itself, in {dtype}: {error}")
        if error.size > unit(dtype):
            own.setdefault(error.quantity, {})[error.tensor] = error.size
    return own


def amplified(job: Job, answer: Answer, dtype: str) -> Own:
    """Return what one rounding of a gradient changes in the parameters after steps of Adam.

    The first step is lr r with r = g / (|g| + epsilon), and dr/dg = (1 - |r|)^2 / epsilon: where an
    entry g happens to be as small as epsilon, its rounding becomes up to 1e8 times as large.

    Args and Returns:
        As in `own_errors`.
    """
    found = {
        name: change / float(np.abs(answer["step 1"][name]).max())
        for name, (_, change) in _unsteady(job, answer, dtype).items()
    }
    steps = range(1, len(job.steps["masks"]) + 1) if job.steps is not None else ()
    return {f"step {n}": {name: n * size for name, size in found.items()} for n in steps}


def _unsteady(job: Job, answer: Answer, dtype: str) -> dict[str, tuple[int, float]]:
    """Return ``{parameter: (entry, what a rounding of its gradient changes in the first step)}``.

    The entry, of the flat parameter, is that of the smallest gradient.
    """
    if job.steps is None or job.steps.get("state", {}).get("num_steps"):
        return {}  # moments that are there already are larger than a rounding
    found, lr = {}, job.steps["lr"]
    for name, p in answer["step 1"].items():
        if p is None:
            continue
        r = np.abs(job.parameters[name] - p) / lr
        # epsilon / (|g| + epsilon); a g that is zero has no rounding
        slack = np.where(r > 0, 1 - r, np.nan)
        if np.isfinite(slack).any():
            rounding = unit(dtype) * EPSILON * (1 / np.nanmin(slack) - 1)  # of the largest |g|
            change = lr * min(1, rounding * np.nanmax(slack) ** 2 / EPSILON)
            found[name] = int(np.nanargmax(slack)), float(change)
    return found


def carried(job: Job, answer: Answer, dtype: str) -> Own:
    """Return what follows, in later steps, of the entries that `amplified` names.

    They start as far off as they are after the first step.

    Args and Returns:
        As in `own_errors`.
    """
    unsteady = _unsteady(job, answer, dtype)
    if not unsteady:
        return {}
    parameters = {name: p.astype(dtype) for name, p in job.parameters.items()}
    for name, (entry, change) in unsteady.items():
        parameters[name].flat[entry] += change
    found = own_errors(dataclasses.replace(job, parameters=parameters), answer, dtype)
    later = {q: sizes for q, sizes in found.items() if q.startswith("step ") and q != "step 1"}
    return later | {"loss": {t: x for t, x in found.get("loss", {}).items() if t in later}}


def conditioned(job: Job, answer: Answer, dtype: str) -> Own:
    """Return the own errors where parameters are moved by a rounding unit, the largest of a few.

    No way to compute in this precision can be expected to do better.

    Args and Returns:
        As in `own_errors`.
    """
    found, parameters = {}, {name: p.astype(dtype) for name, p in job.parameters.items()}
    for draw in range(MOVED if parameters else 0):
        near = dataclasses.replace(job, parameters=moved(parameters, 0, draw))
        found = larger(found, own_errors(near, answer, dtype))
    return found


def larger(one: Own, other: Own) -> Own:
    """Return the larger of two sets of own errors, tensor by tensor."""
    return {
        quantity: {
            tensor: max(o.get(quantity, {}).get(tensor, 0) for o in (one, other))
            for tensor in one.get(quantity, {}) | other.get(quantity, {})
        }
        for quantity in one | other
    }


def measure(case: Case, seeds: Iterable[int] = range(SEEDS)) -> dict[str, Own]:
    """Return ``{dtype: the case's largest own errors over some seeds}``."""
    own = {dtype: {} for dtype in DTYPES}
    for seed in seeds:
        job = case.job(seed)
        answer = exact_answer(job)
        for dtype in DTYPES:
            own[dtype] = larger(own[dtype], own_errors(job, answer, dtype))
    return own


@functools.cache
def stored() -> dict[str, Any]:
    """Read the file of own errors."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def stale(cases: Iterable[Case]) -> list[Case]:
    """Return those of the cases whose own errors are unknown or of other numbers."""
    known = stored()
    return [c for c in cases if known.get(c.name, {}).get("key") != key(c)]


def budget(case: Case, seed: int, job: Job, answer: Answer, dtype: str) -> Budget:
    """Return the `Budget` of a case's job.

    A case that is not stored (a corner, a generated one, a reader's own) is measured here, over
    fewer seeds, of which none may be as ill-conditioned as this one: that is measured, too.
    """
    known = stored().get(case.name)
    own = (known or _measured_here(case))[dtype]
    if not known:
        own = larger(own, conditioned(job, answer, dtype))
    if 0 <= seed < (SEEDS if known else SEEDS_HERE):
        return Budget(own, dtype)
    # Where this seed's numbers happen to cancel, they do so for all.
    here = larger(own_errors(job, answer, dtype), amplified(job, answer, dtype))
    for once in (conditioned, carried):
        here = larger(here, _once(once(job, answer, dtype)))
    return Budget(larger(own, here), dtype, UNSEEN)


def _once(own: Own) -> Own:
    """Return what is allowed as it is, not `FACTOR` times."""
    return {q: {tensor: x / FACTOR for tensor, x in sizes.items()} for q, sizes in own.items()}


@functools.lru_cache(maxsize=8)
def _measured_here(case: Case) -> dict[str, Own]:
    return measure(case, range(SEEDS_HERE))


def key(case: Case) -> str:
    """Return a hash of a case's numbers.

    That the reference still computes the same with them is for a test to see, which measures again.
    """
    digest = hashlib.sha256()
    for seed in (0, 1):
        job = case.job(seed)
        digest.update(json.dumps([job.target, job.training, job.first_output]).encode())
        for name, array in flat(_numbers(job)).items():
            digest.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _numbers(job: Job) -> list[Any]:
    """Nest all numbers of a job."""
    numbers = [job.inputs, job.cotangent, [*job.parameters.values()], [*job.masks.values()]]
    if job.steps is not None:
        masks = [[*masks.values()] for masks in job.steps["masks"]]
        numbers += [[job.steps[name] for name in ("labels", "pad", "lr", "max_norm")], masks]
        if "batches" in job.steps:
            state = [
                [*x.values()] if isinstance(x, dict) else x for x in job.steps["state"].values()
            ]
            numbers += [job.steps["batches"], job.steps["lrs"], state]
    if job.decode is not None:
        numbers += [[job.decode[n] for n in ("tokens", "rows", "vocab_size") if n in job.decode]]
        if "walk" in job.decode:
            numbers += [[array for _, array in job.decode["walk"]], job.decode["keep_weights"]]
    return numbers


def _measured(name: str) -> tuple[str, dict[str, Any]]:
    case = catalogue()[name]
    return name, {"key": key(case)} | {
        dtype: {
            quantity: {tensor: float(f"{size:.2g}") for tensor, size in tensors.items()}
            for quantity, tensors in own.items()
        }
        for dtype, own in measure(case).items()
    }


@click.command()
@click.option("--all", "everything", is_flag=True, help="Measure every case again.")
@click.option("--processes", type=click.IntRange(1), help="At a time.  [default: one per core]")
def main(everything: bool, processes: int | None) -> None:
    """Measure the reference's own errors where they are not known, and write budgets.json."""
    cases = catalogue()
    todo = list(cases) if everything else [c.name for c in stale(cases.values())]
    found = {name: own for name, own in stored().items() if name in cases}
    with ProcessPoolExecutor(processes) as pool:
        for name, own in track(pool.map(_measured, todo), "measuring", total=len(todo)):
            found[name] = own
    lines = (f"{json.dumps(n)}: {json.dumps(found[n], sort_keys=True)}" for n in sorted(found))
    with replacing(FILE) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())
    click.echo(f"{len(todo)} of {len(cases)} cases measured")


if __name__ == "__main__":
    main()
