"""Text from a language model: token by token, or with a small model that drafts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from d2l_ext import checks, randomness
from d2l_ext.interface import Model
from d2l_ext.training.choosing import MOST_LIKELY, draw, drawn, probabilities
from d2l_ext.training.decoding import Decoded, follow


def generate(
    model: Model,
    prompts: Int[np.ndarray, "batch num_steps"],
    max_steps: int,
    *,
    eos: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    rows: Sequence[int] | None = None,
) -> Decoded:
    """Go on with texts.

    Args:
        model: a `Model` of a language model.
        prompts: what is there already, all of one length, at least one token.
        max_steps: how many tokens to add.
        eos: the id of a token that ends a text; None for none.
        temperature: 0 takes the most likely token, otherwise as in `choosing.drawn`.
        top_k, top_p, seed: as in `choosing.drawn`.
        rows: the rows' numbers (batch,), on which random numbers depend; by default from 0.

    Returns:
        `Decoded`, of what has been added.

    Raises:
        ValueError: an empty prompt, or a number out of range.
    """
    prompts = _prompts(prompts)
    rows = range(len(prompts)) if rows is None else rows
    choice = MOST_LIKELY if temperature == 0 else drawn(temperature, top_k, top_p, seed, rows)
    decoding = model.decoding(np.array(len(prompts)))
    return follow(decoding, prompts, choice, eos, max_steps)


def speculate(
    model: Model,
    draft: Model,
    prompt: Int[np.ndarray, " num_steps"],
    max_steps: int,
    *,
    num_drafted: int = 4,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[list[int], float]:
    """Go on with a text as `generate`, with a small model that drafts (Leviathan et al., 2023).

    The draft proposes some tokens, one after the other; the model scores them all in one call. With
    p the model's probabilities and q the draft's, token x is accepted with the probability
    min(1, p(x) / q(x)); in place of the first that is not, one is drawn from max(p - q, 0). So each
    token has the model's own distribution, whatever the draft. At temperature 0 the tokens are the
    model's most likely ones, as if it had been alone.

    Args:
        model, draft: `Model` of language models with the same vocabulary.
        prompt: what is there already, at least one token.
        max_steps: how many tokens to add.
        num_drafted: how many tokens are proposed at a time.
        temperature: as in `generate`.
        seed: of the random numbers; they are not those of `generate`.

    Returns:
        The tokens that have been added, and which share of the proposed ones was accepted.
    """
    checks.positive("num_drafted", num_drafted)
    if model.module.config["vocab_size"] != draft.module.config["vocab_size"]:
        raise ValueError("draft: got a model with another vocabulary, must have the same")
    tokens = [int(token) for token in _prompts(prompt[None])[0]]
    large, small = (_Text(m, temperature, num_drafted + 2) for m in (model, draft))
    end, proposed, accepted = len(tokens) + max_steps, 0, 0
    while len(tokens) < end:
        rng = randomness.generator(seed, "speculate", len(tokens))
        ahead, q = list(tokens), []
        for _ in range(min(num_drafted, end - len(tokens) - 1)):
            q.append(small.after(ahead)[-1])
            ahead.append(_choose(q[-1], rng))
        p = large.after(ahead, len(q) + 1)
        kept, token = _verdict(ahead[len(tokens) :], p, q, rng)
        tokens = [*ahead[: len(tokens) + kept], token]
        proposed, accepted = proposed + len(q), accepted + kept
    return tokens[-max_steps:], accepted / max(proposed, 1)


def _verdict(
    drafted: list[int],
    p: Float[np.ndarray, "num_steps vocab"],
    q: list[Float[np.ndarray, " vocab"]],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Return how many drafted tokens are kept, and the token that follows them."""
    for place, token in enumerate(drafted):
        if rng.random() * q[place][token] >= p[place][token]:
            return place, _choose(np.maximum(p[place] - q[place], 0), rng)
    return len(drafted), _choose(p[-1], rng)


def _choose(p: Float[np.ndarray, " vocab"], rng: np.random.Generator) -> int:
    """Draw a token from probabilities, which need not sum to 1."""
    place, _ = draw(p[None], np.arange(len(p))[None], np.array([rng.random()]))
    return int(place[0])


class _Text:
    """A text that a model reads, as far as it has been read.

    Tokens that were tried and not kept leave no trace: then it goes on from a state before them,
    one of the last ``num_states``.
    """

    def __init__(self, model: Model, temperature: float, num_states: int):
        self._decoding, self._temperature = model.decoding(np.array(1)), temperature
        self._num_states = num_states
        self._past: list[tuple[list[int], Any]] = [([], self._decoding.state)]

    def after(self, tokens: list[int], last: int = 1) -> Float[np.ndarray, "last vocab"]:
        """Return the probabilities of what follows each of the last tokens of a text."""
        while not _begins(tokens[:-last], self._past[-1][0]):
            self._past.pop()
        read, self._decoding.state = self._past[-1]
        scores = self._decoding.score(np.array([tokens[len(read) :]]))[0, -last:]
        self._past = [*self._past, (list(tokens), self._decoding.state)][-self._num_states :]
        if self._temperature == 0:
            return np.eye(scores.shape[-1])[scores.argmax(axis=-1)]
        return probabilities(scores / self._temperature)


def _begins(tokens: list[int], with_those: list[int]) -> bool:
    return tokens[: len(with_those)] == with_those


def _prompts(prompts: Int[np.ndarray, "batch num_steps"]) -> Int[np.ndarray, "batch num_steps"]:
    prompts = np.asarray(prompts)
    if prompts.ndim != 2 or prompts.shape[1] < 1:
        raise ValueError(
            f"prompts: got shape {prompts.shape}, must be (batch, num_steps) with at least one step"
        )
    return prompts
