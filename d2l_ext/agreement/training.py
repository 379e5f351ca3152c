"""The training run: every framework trains the same model, and all do it several times.

Training amplifies rounding, so what agreement can be expected after n steps is measured: each
backend starts again from parameters moved by one rounding unit, a few times, and the budget is 8
times the largest change that this makes, in that backend or, if that is more, in the median of all:
a difference has two ends. Where the budget exceeds 1 %, values say nothing any more, and the
translations are compared alone.
"""

import collections
import dataclasses

import numpy as np

from d2l_ext import randomness, reference
from d2l_ext.agreement.budget import FACTOR, LEAST, unit
from d2l_ext.agreement.errors import error
from d2l_ext.config import build
from d2l_ext.data.text import preprocess, tokenize
from d2l_ext.reference.backend import BACKEND, ReferenceModel
from d2l_ext.training.loop import fit

DRAWS = 5  # starts from parameters moved by a rounding unit
MEANINGLESS = 0.01  # a budget beyond which values are not compared


@dataclasses.dataclass
class Plan:
    """What is trained.

    Attributes:
        data: a `TranslationData`.
        target: description of the model, as in `Job`.
        epochs, lr, max_norm, seed: of the training.
        sentences: source sentences that are translated afterwards.
        references: their translations in the data.
    """

    data: object
    target: dict
    epochs: int
    lr: float
    max_norm: float
    seed: int
    sentences: list
    references: list

    def __post_init__(self):
        batch = next(iter(self.data.batches(self.seed, 0)))
        self.example = batch[:-1]
        self._module = build(reference, self.target)
        model = ReferenceModel(BACKEND, self._module, self.example, self.seed, "float64")
        self._model = model
        self.parameters = randomness.initial_parameters(model.shapes(), self.seed)
        self.src, _, self.valid_lens, _ = self.data.build(self.sentences, self.references)

    @property
    def num_steps(self):
        """Training steps of a run."""
        return self.epochs * self.data.num_batches

    def label(self, number):
        """Return a sentence's translation in the data, as its tokens with spaces between."""
        return " ".join(tokenize(preprocess(self.references[number]))[:-1])

    def source_tokens(self, number):
        """Return the tokens of a sentence, with `<eos>`, as far as the model sees them."""
        return tokenize(preprocess(self.sentences[number]))[: self.data.num_steps]

    def masks(self, inputs, step):
        """Draw the dropout masks of a step."""
        return randomness.dropout_masks(self._model.dropout_layers(*inputs), self.seed, step)

    def start(self, dtype, draw=None):
        """Return the initial parameters; moved by a rounding unit, this way or that, for a draw."""
        params = {name: p.astype(dtype) for name, p in self.parameters.items()}
        if draw is None:
            return params
        return {name: self._moved(name, p, draw) for name, p in params.items()}

    def _moved(self, name, p, draw):
        up = randomness.generator(self.seed, "moved", draw, name).random(p.shape) < 0.5
        away = np.where(up, np.inf, -np.inf).astype(p.dtype)
        return np.where(p == 0, p, np.nextafter(p, away))


@dataclasses.dataclass
class Run:
    """What one training run gave.

    Attributes:
        losses: before each step.
        parameters: at the end, ``{name: array}``.
        tokens: of each sentence's translation.
        margins: of each token's logit over the second best, per sentence.
        weights: attention weights, per sentence (steps, num_keys).
    """

    losses: np.ndarray
    parameters: dict
    tokens: list
    margins: list
    weights: list | None


class RemoteTrainer:
    """A worker's trainer, as `fit` wants it; the masks are drawn here."""

    def __init__(self, worker, plan):
        self._worker, self._plan = worker, plan
        self.num_steps, self.pad = 0, plan.data.pad
        self.lr, self.max_norm = plan.lr, plan.max_norm

    def step(self, batch, dropout=None):
        """Do one step; return the loss."""
        masks = self._plan.masks(batch[:-1], self.num_steps)
        loss = self._worker.ask("step", batch, masks)
        self.num_steps += 1
        return loss


def train(worker, plan, dtype, on_step=None):
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
    return [_run(worker, plan, dtype, draw, on_step) for draw in (None, *range(DRAWS))]


def _run(worker, plan, dtype, draw, on_step):
    worker.ask("start", plan.start(dtype, draw))
    trainer = RemoteTrainer(worker, plan)
    tick = None if on_step is None else lambda *_: on_step()
    history = fit(trainer, plan.data, plan.epochs, plan.seed, progress=False, on_step=tick)
    data = plan.data
    options = {"bos": data.bos, "eos": data.eos, "max_steps": data.num_steps}
    options["keep_weights"] = draw is None
    decoded = worker.ask("translate", plan.src, plan.valid_lens, options)
    return Run(
        np.array(history.losses),
        worker.ask("parameters"),
        decoded["tokens"],
        decoded["margins"],
        decoded["attention_weights"],
    )


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
    names: list

    @property
    def compared(self):
        """Where the budget still says something."""
        return self.budgets <= MEANINGLESS

    @property
    def worst(self):
        """Place of the largest error over budget among those compared, or None."""
        ratios = np.where(self.compared, self.errors / self.budgets, -1.0)
        ratios[np.isnan(self.errors)] = np.inf
        return int(ratios.argmax()) if (ratios >= 0).any() else None

    @property
    def failures(self):
        """Names of what left the budget, in order."""
        bad = ~(self.errors <= self.budgets) & (self.compared | np.isnan(self.errors))
        return [name for name, wrong in zip(self.names, bad, strict=True) if wrong]

    @property
    def agrees(self):
        """Whether nothing left the budget."""
        return not self.failures


def loss_drift(runs, dtype):
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


def parameter_drift(runs, dtype):
    """Compare the parameters at the end; as `loss_drift`, per tensor."""

    def change(run, first):
        return np.array([error(run.parameters[n], first.parameters[n])[0] for n in names])

    ends = {name: first.parameters for name, (first, *_) in runs.items()}
    names = list(next(iter(ends.values())))
    middle = {n: np.median([end[n] for end in ends.values()], axis=0) for n in names}
    errors = {b: np.array([error(end[n], middle[n])[0] for n in names]) for b, end in ends.items()}
    return _drifts(errors, _largest_changes(runs, change), names, dtype)


def _largest_changes(runs, change):
    """Return, per backend, the largest change that a moved start makes."""
    return {
        name: np.max([change(run, first) for run in moved], axis=0)
        for name, (first, *moved) in runs.items()
    }


def _drifts(errors, changes, names, dtype):
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
        ties: those of them where the first different token was a tie: its margin is within the
            budget.
        margin_budget: 8 times the largest change of a margin over the moved starts.
    """

    different: list
    ties: list
    margin_budget: float

    @property
    def agrees(self):
        """Whether all differences are ties."""
        return len(self.ties) == len(self.different)


def compare_tokens(runs, dtype):
    """Compare the translations, sentence by sentence; returns ``{backend: TokenVerdict}``."""
    firsts = {name: first for name, (first, *_) in runs.items()}
    most = [
        collections.Counter(map(tuple, sentences)).most_common(1)[0][0]
        for sentences in zip(*(run.tokens for run in firsts.values()), strict=True)
    ]
    found = {}
    for name, (first, *moved) in runs.items():
        allowed = FACTOR * max(unit(dtype), *(_margin_change(first, run) for run in moved))
        different = [i for i, tokens in enumerate(most) if tuple(first.tokens[i]) != tokens]
        ties = [
            i
            for i in different
            if first.margins[i][_first_difference(first.tokens[i], most[i])] <= allowed
        ]
        found[name] = TokenVerdict(different, ties, float(allowed))
    return found


def _first_difference(one, other):
    """Return the step at which two token sequences, each followed by `<eos>`, part."""
    pairs = zip([*one, None], [*other, None], strict=False)
    return next(step for step, (a, b) in enumerate(pairs) if a != b)


def _margin_change(first, run):
    """Return the largest change of a margin, up to where the translations part."""
    largest = 0.0
    for a, b, p, q in zip(first.tokens, run.tokens, first.margins, run.margins, strict=True):
        same = min(len(p), len(q)) if a == b else _first_difference(a, b)
        largest = max(largest, np.abs(p[:same] - q[:same]).max(initial=0))
    return largest
