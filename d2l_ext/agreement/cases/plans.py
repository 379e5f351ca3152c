"""What is trained: a plan, and what each of its runs gives.

Every framework trains the same model, and all do it several times: once from the common start, and
a few times from parameters moved by one rounding unit, which shows how much rounding grows on the
way; `drift` makes a budget of it.
"""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from d2l_ext import randomness, reference
from d2l_ext.config import build
from d2l_ext.data.text import preprocess, tokenize
from d2l_ext.interface import Arrays
from d2l_ext.nested import Nested
from d2l_ext.reference.backend import BACKEND, ReferenceModel

DRAWS = 3  # starts from parameters moved by a rounding unit


# Asks a worker to do something: its method and the arguments.
Ask: TypeAlias = Callable[..., Any]


@dataclasses.dataclass(kw_only=True)
class Plan:
    """What is trained.

    Attributes:
        data: what has batches.
        target: description of the model, as in `Job`.
        epochs, lr, max_norm, seed: of the training.
        draws: how many starts from moved parameters there are.
    """

    data: Any
    target: dict[str, Any]
    epochs: int
    lr: float
    max_norm: float
    seed: int
    draws: int = DRAWS

    def __post_init__(self) -> None:
        batch = next(iter(self.data.batches(self.seed, 0)))
        self.example = batch[:-1]
        self._module = build(reference, self.target)
        model = ReferenceModel(BACKEND, self._module, self.example, self.seed, "float64")
        self._model, self._lock = model, threading.Lock()
        self.parameters = model.parameters()

    @property
    def num_steps(self) -> int:
        """Training steps of a run."""
        return self.epochs * self.data.num_batches

    def masks(self, inputs: Nested, step: int) -> Arrays:
        """Draw the dropout masks of a step; several backends may ask at the same time."""
        with self._lock:  # the model notes in its layers what they are asked for
            layers = self._model.dropout_layers(*inputs)
        return randomness.dropout_masks(layers, self.seed, step)

    def start(self, dtype: str, draw: int | None = None) -> Arrays:
        """Return the initial parameters; moved by a rounding unit, this way or that, for a draw."""
        params = {name: p.astype(dtype) for name, p in self.parameters.items()}
        return params if draw is None else moved(params, self.seed, draw)

    def decode(self, ask: Ask, keep_weights: bool) -> dict[str, Any]:
        """Let a trained worker decode; return what a `Run` has of it."""
        raise NotImplementedError


@dataclasses.dataclass(kw_only=True)
class TranslationPlan(Plan):
    """A translator, trained on a `TranslationData`.

    Attributes:
        sentences: source sentences that are translated afterwards.
        references: their translations in the data.
        beam: hypotheses of a beam search that translates them, too; None for none.
    """

    sentences: list[str]
    references: list[str]
    beam: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.src, _, self.valid_lens, _ = self.data.build(self.sentences, self.references)

    def label(self, number: int) -> str:
        """Return a sentence's translation in the data, as its tokens with spaces between."""
        return " ".join(tokenize(preprocess(self.references[number]))[:-1])

    def source_tokens(self, number: int) -> list[str]:
        """Return the tokens of a sentence, with `<eos>`, as far as the model sees them."""
        return tokenize(preprocess(self.sentences[number]))[: self.data.num_steps]

    def decode(self, ask: Ask, keep_weights: bool) -> dict[str, Any]:
        """Translate the sentences, greedily and perhaps by beam search."""
        data = self.data
        ends = {"bos": data.bos, "eos": data.eos, "max_steps": data.num_steps}

        def translate(beam, **options):
            return ask("translate", self.src, self.valid_lens, beam, ends | options)

        greedy = translate(None, keep_weights=keep_weights)
        beam = None if self.beam is None else Translations.of(translate(self.beam))
        weights = greedy["attention_weights"]
        return {"greedy": Translations.of(greedy), "beam": beam, "weights": weights}


@dataclasses.dataclass(kw_only=True)
class TextPlan(Plan):
    """A language model, trained on a `LanguageData`.

    Attributes:
        prompts: ids (batch, num_steps) that are gone on with afterwards.
        num_tokens: by how many tokens.
    """

    prompts: np.ndarray
    num_tokens: int

    def decode(self, ask: Ask, keep_weights: bool) -> dict[str, Any]:
        """Go on with the prompts, with the most likely tokens."""
        return {"greedy": Translations.of(ask("generate", self.prompts, self.num_tokens))}


@dataclasses.dataclass(kw_only=True)
class ReaderPlan(Plan):
    """BERT or ViT, trained on a `MaskedData` or an `ImageData`.

    Attributes:
        questions: inputs that are answered afterwards.
    """

    questions: tuple[np.ndarray, ...]

    def decode(self, ask: Ask, keep_weights: bool) -> dict[str, Any]:
        """Name the most likely words or classes."""
        return {"greedy": Translations.of(ask("answer", self.questions))}


def moved(parameters: Arrays, seed: int, draw: int) -> Arrays:
    """Return parameters moved by a rounding unit, each number up or down; zeros stay."""

    def move(name, p):
        up = randomness.generator(seed, "moved", draw, name).random(p.shape) < 0.5
        away = np.where(up, np.inf, -np.inf).astype(p.dtype)
        return np.where(p == 0, p, np.nextafter(p, away))

    return {name: move(name, p) for name, p in parameters.items()}


@dataclasses.dataclass
class State:
    """Parameters and the optimiser's moments after a step, each ``{name: array}``."""

    parameters: Arrays
    moments: Arrays


@dataclasses.dataclass
class Translations:
    """What a way of decoding gave: per sentence its tokens, and margins as in `Decoded`."""

    tokens: list[list[int]]
    margins: list[np.ndarray]

    @classmethod
    def of(cls, decoded: Mapping[str, Any]) -> "Translations":
        """Take what is kept of a `Decoded`, given as a dictionary."""
        return cls(decoded["tokens"], decoded["margins"])


@dataclasses.dataclass
class Run:
    """What one training run gave.

    Attributes:
        losses: before each step.
        first, last: `State` after the first and after the last step.
        greedy: `Translations`.
        beam: the same by beam search, or None.
        weights: attention weights of the greedy ones, per sentence (steps, num_keys), or None.
    """

    losses: np.ndarray
    first: State
    last: State
    greedy: Translations
    beam: Translations | None = None
    weights: list[np.ndarray] | None = None
