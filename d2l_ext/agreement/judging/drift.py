"""What is made of training runs: how far each framework is from the others, and what is allowed.

Training amplifies rounding, so what agreement can be expected after n steps is measured: each
backend starts again from parameters moved by one rounding unit, a few times, and the budget is 8
times the largest change that this makes, in that backend or, if that is more, in the median of all:
a difference has two ends. Where the budget exceeds 1 %, values say nothing any more, and the
translations are compared alone.
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from d2l_ext.agreement.cases.plans import Run, Translations
from d2l_ext.agreement.judging.budget import FACTOR, LEAST, unit
from d2l_ext.agreement.judging.error import error
from d2l_ext.interface import Arrays

# The runs of each backend, the first from the common start.
Runs: TypeAlias = Mapping[str, Sequence[Run]]
# By quantity and backend.
Found: TypeAlias = "dict[str, Mapping[str, Drift | TokenVerdict]]"

MEANINGLESS = 0.01  # a budget beyond which values are not compared


@dataclasses.dataclass
class Drift:
    """How far a quantity of one backend is from the others.

    Attributes:
        errors: relative difference from the median of all backends, per step or tensor.
        budgets: what is allowed, likewise.
        names: of the steps or tensors.
    """

    errors: np.ndarray
    budgets: np.ndarray
    names: list[str]

    @property
    def compared(self) -> np.ndarray:
        """Where the budget still says something."""
        return self.budgets <= MEANINGLESS

    @property
    def worst(self) -> int | None:
        """Place of the largest error over budget among those compared, or None."""
        ratios = np.where(self.compared, self.errors / self.budgets, -1.0)
        ratios[np.isnan(self.errors)] = np.inf
        return int(ratios.argmax()) if (ratios >= 0).any() else None

    @property
    def ratio(self) -> float | None:
        """The largest error over budget among those compared, or None."""
        if self.worst is None:
            return None
        ratio = float(self.errors[self.worst] / self.budgets[self.worst])
        return float("inf") if np.isnan(ratio) else ratio

    @property
    def failures(self) -> list[str]:
        """Names of what left the budget, in order."""
        bad = ~(self.errors <= self.budgets) & (self.compared | np.isnan(self.errors))
        return [name for name, wrong in zip(self.names, bad, strict=True) if wrong]

    @property
    def agrees(self) -> bool:
        """Whether nothing left the budget."""
        return not self.failures


def loss_drift(runs: Runs, dtype: str) -> dict[str, Drift]:
    """Compare the losses of every step.

    Args:
        runs: ``{backend: list of Run}``.
        dtype: "float64" or "float32".

    Returns:
        ``{backend: Drift}``.
    """

    def change(run, first):
        return np.abs(run.losses - first.losses) / np.abs(first.losses)

    losses = {name: first.losses for name, (first, *_) in runs.items()}
    middle = np.median(list(losses.values()), axis=0)
    errors = {name: np.abs(x - middle) / np.abs(middle) for name, x in losses.items()}
    # What has grown does not shrink: a loss may pass through the same value by chance.
    changes = {b: np.maximum.accumulate(x) for b, x in _largest_changes(runs, change).items()}
    return _drifts(errors, changes, [f"step {n}" for n in range(1, len(middle) + 1)], dtype)


def tensor_drift(runs: Runs, dtype: str, tensors: Callable[[Run], Arrays]) -> dict[str, Drift]:
    """Compare arrays, each as a whole; as `loss_drift`.

    Args:
        runs, dtype: as in `loss_drift`.
        tensors: ``tensors(run)`` returns the arrays ``{name: array}``.
    """

    def change(run, first):
        one, other = tensors(run), tensors(first)
        return np.array([error(one[n], other[n])[0] for n in names])

    found = {name: tensors(first) for name, (first, *_) in runs.items()}
    names = list(next(iter(found.values())))
    middle = {n: np.median([arrays[n] for arrays in found.values()], axis=0) for n in names}
    errors = {b: np.array([error(x[n], middle[n])[0] for n in names]) for b, x in found.items()}
    return _drifts(errors, _largest_changes(runs, change), names, dtype)


def _largest_changes(runs: Runs, change: Callable[[Run, Run], np.ndarray]) -> dict[str, np.ndarray]:
    """Return, per backend, the largest change that a moved start makes."""
    return {
        name: np.max([change(run, first) for run in moved], axis=0)
        for name, (first, *moved) in runs.items()
    }


def _drifts(
    errors: Mapping[str, np.ndarray],
    changes: Mapping[str, np.ndarray],
    names: list[str],
    dtype: str,
) -> dict[str, Drift]:
    usual = np.median(list(changes.values()), axis=0)
    least = LEAST[dtype] * unit(dtype)
    return {
        b: Drift(errors[b], np.maximum(FACTOR * np.maximum(changes[b], usual), least), names)
        for b in errors
    }


@dataclasses.dataclass
class TokenVerdict:
    """The translations of one backend beside those of most.

    Attributes:
        different: numbers of the sentences that are translated differently.
        ties: those of them where the choice was a tie: its margin is within the budget.
        margin_budget: 8 times the largest change of a margin over the moved starts.
    """

    different: list[int]
    ties: list[int]
    margin_budget: float

    @property
    def agrees(self) -> bool:
        """Whether all differences are ties."""
        return len(self.ties) == len(self.different)

    def __str__(self) -> str:
        if not self.different:
            return "the same"
        ties = f", {len(self.ties)} ties" if self.ties else ""
        return f"{len(self.different)} other{ties}"


def compare_tokens(runs: Runs, dtype: str, how: str = "greedy") -> dict[str, TokenVerdict]:
    """Compare the translations, sentence by sentence.

    Args:
        runs, dtype: as in `loss_drift`.
        how: "greedy", where the margin of the first different token tells a tie, or "beam", where
            the smallest margin of the search does: any of its choices may be what differs.

    Returns:
        ``{backend: TokenVerdict}``.
    """
    done = {name: [getattr(run, how) for run in some] for name, some in runs.items()}
    most = [
        collections.Counter(map(tuple, sentences)).most_common(1)[0][0]
        for sentences in zip(*(first.tokens for first, *_ in done.values()), strict=True)
    ]
    found = {}
    for name, (first, *moved) in done.items():
        allowed = FACTOR * max(unit(dtype), *(_margin_change(first, run) for run in moved))
        different = [i for i, tokens in enumerate(most) if tuple(first.tokens[i]) != tokens]

        def margin(i, first=first):
            margins = first.margins[i]
            step = first_difference(first.tokens[i], most[i])
            return margins[step] if how == "greedy" else margins.min()

        ties = [i for i in different if margin(i) <= allowed]
        found[name] = TokenVerdict(different, ties, float(allowed))
    return found


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the step at which two token sequences, each followed by `<eos>`, part."""
    pairs = zip([*one, None], [*other, None], strict=False)
    return next(step for step, (a, b) in enumerate(pairs) if a != b)


def _margin_change(first: Translations, run: Translations) -> float:
    """Return the largest change of a margin, up to where the translations part."""
    sentences = zip(first.tokens, run.tokens, first.margins, run.margins, strict=True)
    return max((margin_change(*sentence) for sentence in sentences), default=0.0)


def margin_change(a: Sequence[int], b: Sequence[int], p: np.ndarray, q: np.ndarray) -> float:
    """Return the largest change of a margin, up to where two translations part.

    Args:
        a, b: their tokens.
        p, q: their margins (steps,), infinite where there was no other choice.
    """
    same = min(len(p), len(q))
    if a != b:
        same = min(same, first_difference(a, b))
    p, q = p[:same], q[:same]
    finite = np.isfinite(p) & np.isfinite(q)
    return float(np.abs(p[finite] - q[finite]).max(initial=0))


def compare_runs(runs: Runs, dtype: str) -> Found:
    """Compare everything that is kept of the runs of one model.

    Args:
        runs: ``{backend: list of Run}``.
        dtype: "float64" or "float32".

    Returns:
        ``{quantity: {backend: Drift or TokenVerdict}}``, in the order of time.
    """
    losses = loss_drift(runs, dtype)

    def state(tensors):
        return tensor_drift(runs, dtype, tensors)

    found: Found = {
        "loss of step 1": {b: _part(drift, slice(0, 1)) for b, drift in losses.items()},
        "moments after 1 step": state(lambda run: run.first.moments),
        "parameters after 1 step": state(lambda run: run.first.parameters),
        "loss of later steps": {b: _part(drift, slice(1, None)) for b, drift in losses.items()},
        "moments at the end": state(lambda run: run.last.moments),
        "parameters at the end": state(lambda run: run.last.parameters),
    }
    for how in ("greedy", "beam"):
        if all(getattr(run, how) is not None for some in runs.values() for run in some):
            found[f"{how} tokens"] = compare_tokens(runs, dtype, how)
    return found


def _part(drift: Drift, steps: slice) -> Drift:
    return Drift(drift.errors[steps], drift.budgets[steps], drift.names[steps])


def departure(found: Found, backend: str) -> str | None:
    """Name the first quantity of `compare_runs` that left its budget, and where; or return None."""
    for quantity, by_backend in found.items():
        verdict = by_backend[backend]
        if verdict.agrees:
            continue
        if isinstance(verdict, TokenVerdict):
            return f"{quantity}: {verdict}"
        name = verdict.failures[0]
        place = verdict.names.index(name)
        error, allowed = verdict.errors[place], verdict.budgets[place]
        return f"{quantity}: {name}: {error:.1e} of {allowed:.1e}"
    return None
