"""Decoding, once for every model: greedy, sampling and beam search.

The framework computes the next tokens' log-probabilities and hands over the best few of each row
(`Model.decoding`). Everything else, the choice of a token, random numbers, hypotheses, happens
here, in NumPy, so that it is the same whatever framework computes. All three ways stop when every
sentence has reached `<eos>`, at the latest after `max_steps` tokens, and prefer the lower id where
two tokens are equally likely.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from d2l_ext.interface import Decoding, Model
from d2l_ext.nested import Nested
from d2l_ext.training.choosing import MOST_LIKELY, Choice, drawn

WIDEST = 10_000  # hypotheses of a beam, far beyond what helps
# One sentence: tokens without `<eos>`, log-probabilities and margins (steps,), weights or None.
Chosen: TypeAlias = tuple[list[int], np.ndarray, np.ndarray, np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """A translation that a beam search found.

    Attributes:
        tokens: ids, without `<eos>`.
        score: what hypotheses are compared by, the log-probability over the length's penalty.
        log_prob: the log-probability, with `<eos>`.
    """

    tokens: list[int]
    score: float
    log_prob: float


@dataclasses.dataclass
class Decoded:
    """Decoded sentences; each attribute is a list with one entry per sentence.

    Attributes:
        tokens: a list of ids, without `<eos>`.
        token_log_probs: log-probabilities (steps,) of these tokens and, if it was reached, `<eos>`.
        margins: (steps,), how much of a logit was missing for another choice, see the functions.
        attention_weights: over the source, (steps, num_keys), for a Transformer (num_blks,
            num_heads, steps, num_keys), or None if they were not kept.
        hypotheses: of a beam search its best ones, the chosen one first; else None.
    """

    tokens: list[list[int]]
    token_log_probs: list[np.ndarray]
    margins: list[np.ndarray]
    attention_weights: list[np.ndarray] | None
    hypotheses: list[list[Hypothesis]] | None = None

    @property
    def log_probs(self) -> Float[np.ndarray, " batch"]:
        """The sentences' log-probabilities (batch,)."""
        return np.array([steps.sum(dtype=np.float64) for steps in self.token_log_probs])


def greedy(
    model: Model,
    src: Int[np.ndarray, "batch num_steps"],
    valid_lens: Int[np.ndarray, " batch"] | None = None,
    *,
    bos: int,
    eos: int,
    max_steps: int,
    keep_weights: bool = False,
) -> Decoded:
    """Take the most likely token at every step.

    Args:
        model: a `Model` of an `EncoderDecoder`.
        src: source ids (batch, num_steps).
        valid_lens: their lengths (batch,), or None.
        bos, eos: ids of the target's `<bos>` and `<eos>`.
        max_steps: most tokens that a translation may have, `<eos>` included.
        keep_weights: whether attention weights are returned.

    Returns:
        `Decoded`; the margin of a step is the best logit minus the second.
    """
    decoding = model.decoding(src, valid_lens, keep_weights=keep_weights)
    return follow(decoding, np.full(len(src), bos), MOST_LIKELY, eos, max_steps)


def sample(
    model: Model,
    src: Int[np.ndarray, "batch num_steps"],
    valid_lens: Int[np.ndarray, " batch"] | None = None,
    *,
    bos: int,
    eos: int,
    max_steps: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    sentences: Sequence[int] | None = None,
    keep_weights: bool = False,
) -> Decoded:
    """Draw every token from the model's distribution, softmax(logits / temperature).

    Args:
        model, src, valid_lens, bos, eos, max_steps, keep_weights: as in `greedy`.
        temperature, top_k, top_p, seed: as in `choosing.drawn`.
        sentences: the sentences' numbers (batch,), by default from 0.

    Returns:
        `Decoded`; log-probabilities are the model's own, at temperature 1. The margin of a step is
        the distance of the random number from the nearest probability at which the choice changes.
    """
    sentences = range(len(src)) if sentences is None else sentences
    choice = drawn(temperature, top_k, top_p, seed, sentences)
    decoding = model.decoding(src, valid_lens, keep_weights=keep_weights)
    return follow(decoding, np.full(len(src), bos), choice, eos, max_steps)


def follow(
    decoding: Decoding,
    first: Int[np.ndarray, "batch ..."],
    choice: Choice,
    eos: int | None,
    max_steps: int,
) -> Decoded:
    """Feed each row's chosen token back until all have ended.

    Args:
        decoding: a `Decoding`.
        first: what is fed at first, ids (batch,) or (batch, num_steps).
        choice: how tokens are chosen.
        eos: the id that ends a row; None for none.
        max_steps: most tokens of a row.

    Returns:
        `Decoded`, with what has been chosen alone.
    """
    k = _at_most(choice.k, decoding, max_steps)
    batch, tokens = len(first), first
    rows, ended = np.arange(batch), np.zeros(batch, bool)
    paths = _Paths(batch)
    for step in range(max_steps):
        log_probs, ids = decoding.step(tokens, k)
        place, margins = choice.choose(step, log_probs, ids)
        chosen = ids[rows, place]
        tokens = chosen if eos is None else np.where(ended, eos, chosen)
        paths.append(tokens, log_probs[rows, place], margins, decoding.attention_weights)
        ended |= False if eos is None else tokens == eos
        if ended.all():
            break
    return _joined([paths.path(row, eos) for row in range(batch)])


def _at_most(k: int | None, decoding: Decoding, max_steps: int) -> int:
    """Limit k to the size of the vocabulary (None is all of it)."""
    if max_steps < 1:
        raise ValueError(f"max_steps: got {max_steps}, must be at least 1")
    return decoding.vocab_size if k is None else min(k, decoding.vocab_size)


class _Paths:
    """What was chosen so far, row by row."""

    def __init__(self, rows: int):
        self._tokens = np.empty((rows, 0), int)
        self._log_probs = np.empty((rows, 0))
        self._margins = np.empty((rows, 0))
        self._weights: np.ndarray | None = None  # (rows, ..., steps, num_keys)

    def append(
        self,
        tokens: Int[np.ndarray, " rows"],
        log_probs: Float[np.ndarray, " rows"],
        margins: Float[np.ndarray, " rows"],
        weights: Nested,
    ) -> None:
        """Add a step: arrays (rows,), and the attention weights as the decoder gives them."""
        self._tokens = np.column_stack((self._tokens, tokens))
        self._log_probs = np.column_stack((self._log_probs, log_probs))
        self._margins = np.column_stack((self._margins, margins))
        if weights is not None:
            weights = _over_source(weights, len(tokens))
            before = [] if self._weights is None else [self._weights]
            self._weights = np.concatenate([*before, weights], axis=-2)

    def take_rows(self, rows: Int[np.ndarray, " rows"]) -> None:
        """Go on with these rows."""
        self._tokens, self._log_probs = self._tokens[rows], self._log_probs[rows]
        self._margins = self._margins[rows]
        self._weights = None if self._weights is None else self._weights[rows]

    def path(self, row: int, eos: int | None) -> Chosen:
        """Return (tokens, log-probabilities, margins, weights) of a row, up to its `<eos>`."""
        tokens: list[int] = self._tokens[row].tolist()
        steps = tokens.index(eos) + 1 if eos in tokens else len(tokens)
        return (
            [token for token in tokens[:steps] if token != eos],
            self._log_probs[row, :steps],
            self._margins[row, :steps],
            None if self._weights is None else self._weights[row][..., :steps, :],
        )


def _over_source(weights: Nested, rows: int) -> Float[np.ndarray, "rows *blocks_heads 1 num_keys"]:
    """Return one step's weights over the source, (rows, ..., 1, num_keys).

    Recurrent decoders give a list of one (rows, 1, num_keys). Transformer decoders give two lists,
    self-attention and attention over the source, of (rows * num_heads, 1, num_keys) per block.
    """
    if not isinstance(weights[0], (list, tuple)):
        return weights[0]
    blocks = np.stack(weights[1], axis=1)  # (rows * num_heads, num_blks, 1, num_keys)
    return blocks.reshape(rows, -1, *blocks.shape[1:]).swapaxes(1, 2)


def _joined(paths: Sequence[Chosen]) -> Decoded:
    tokens, log_probs, margins, weights = (list(column) for column in zip(*paths, strict=True))
    return Decoded(tokens, log_probs, margins, None if weights[0] is None else weights)


def beam_search(
    model: Model,
    src: Int[np.ndarray, "batch num_steps"],
    valid_lens: Int[np.ndarray, " batch"] | None = None,
    *,
    bos: int,
    eos: int,
    max_steps: int,
    beam: int = 4,
    length_penalty: float = 0.6,
    n_best: int = 1,
    keep_weights: bool = False,
) -> Decoded:
    r"""Keep the `beam` most likely beginnings of each sentence, and return the best translation.

    A beginning that reaches `<eos>` is a complete translation and keeps its place in the beam. The
    search for a sentence ends when its beam has only complete translations, when none of the others
    can still win, or after `max_steps` tokens. Complete translations, and what is unfinished after
    `max_steps`, are compared by (Wu et al., 2016)

    .. math:: \log P(Y \mid X) / ((5 + |Y|) / 6)^\alpha,

    where :math:`|Y|` counts the tokens with `<eos>` and alpha is `length_penalty`. With a beam of 1
    this is `greedy`; with one as wide as the space it is exhaustive search.

    Args:
        model, src, valid_lens, bos, eos, max_steps, keep_weights: as in `greedy`.
        beam: number of hypotheses per sentence.
        length_penalty: alpha, at least 0; 0 compares log-probabilities.
        n_best: how many of its hypotheses the search returns, at most `beam`. The search goes on
            until none of the open ones can be among them; fewer are returned where there are not so
            many.

    Returns:
        `Decoded`. The margin of a step is by how much log-probability the worst hypothesis that was
        kept was better than the best one that was not, and there is one margin more: by how much
        the best score was better than the second.
    """
    _check_beam(beam, length_penalty, n_best)
    decoding = model.decoding(src, valid_lens, keep_weights=keep_weights)
    k = _at_most(beam + 1, decoding, max_steps)
    search = _Search(len(src), beam, eos, max_steps, length_penalty, n_best)
    decoding.reorder(np.repeat(np.arange(len(src)), beam))
    tokens = np.full(len(src) * beam, bos)
    while not search.is_over:
        log_probs, ids = decoding.step(tokens, k)
        rows, tokens = search.advance(log_probs, ids, decoding.attention_weights)
        decoding.reorder(rows)
    return _ranked(search.best(), n_best)


def _check_beam(beam: int, length_penalty: float, n_best: int) -> None:
    if not 1 <= beam <= WIDEST:
        raise ValueError(f"beam: got {beam}, must be between 1 and {WIDEST}")
    if not 0 <= length_penalty < np.inf:
        raise ValueError(f"length_penalty: got {length_penalty}, must be at least 0")
    if not 1 <= n_best <= beam:
        raise ValueError(f"n_best: got {n_best}, must be between 1 and the beam, {beam}")


def _ranked(
    found: Sequence[tuple[list[tuple[float, Chosen]], list[float]]], n_best: int
) -> Decoded:
    """Return the best path of each sentence, and the best few hypotheses."""
    decoded = _joined([_path(hypotheses, margins) for hypotheses, margins in found])
    decoded.hypotheses = [
        [_hypothesis(*scored) for scored in ranked[:n_best]] for ranked, _ in found
    ]
    return decoded


def _hypothesis(score: float, path: Chosen) -> Hypothesis:
    return Hypothesis(path[0], float(score), float(path[1].sum(dtype=np.float64)))


def _path(ranked: list[tuple[float, Chosen]], margins: list[float]) -> Chosen:
    """Return the first of ranked hypotheses, with the margins of its search."""
    tokens, log_probs, _, weights = ranked[0][1]
    scores = np.array([[score for score, _ in ranked]])
    final = _differences(scores, np.array([1]))
    return tokens, log_probs, np.array([*margins, *final]), weights


class _Search:
    """The hypotheses of a beam search: rows are sentences times beams, empty places score -inf."""

    def __init__(self, batch: int, beam: int, eos: int, max_steps: int, alpha: float, n_best: int):
        self._beam, self._eos, self._max_steps, self._alpha = beam, eos, max_steps, alpha
        self._n_best = n_best
        self._scores = np.full((batch, beam), -np.inf)  # log-probability of the open hypotheses
        self._scores[:, 0] = 0
        self._complete: list[list[tuple[float, Chosen]]] = [[] for _ in range(batch)]
        self._margins: list[np.ndarray] = []  # per step (batch,), NaN where a search is over
        self._paths = _Paths(batch * beam)
        self._step = 0

    @property
    def is_over(self) -> bool:
        """Whether no sentence has an open hypothesis."""
        return not np.isfinite(self._scores).any()

    def advance(
        self,
        log_probs: Float[np.ndarray, "rows k"],
        ids: Int[np.ndarray, "rows k"],
        weights: Nested,
    ) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
        """Choose among all continuations; return the rows to go on with and the tokens to feed."""
        batch, beam, k = len(self._scores), self._beam, ids.shape[1]
        self._step += 1
        candidates = self._scores[:, :, None] + log_probs.reshape(batch, beam, k)
        candidates = candidates.reshape(batch, beam * k)
        best = np.argsort(-candidates, axis=1, kind="stable")
        scores = np.take_along_axis(candidates, best, axis=1)  # (batch, beam * k), descending

        places = best[:, :beam] + beam * k * np.arange(batch)[:, None]  # into log_probs and ids
        places = places.ravel()
        rows, tokens = places // k, ids.ravel()[places]
        self._paths.take_rows(rows)
        weights = _chosen(weights, rows)
        self._paths.append(tokens, log_probs.ravel()[places], np.zeros(len(rows)), weights)
        self._scores = scores[:, :beam].copy()
        self._close(scores, tokens.reshape(batch, beam))
        return rows, np.where(np.isfinite(self._scores.ravel()), tokens, self._eos)

    def _close(
        self,
        scores: Float[np.ndarray, "batch candidates"],
        tokens: Int[np.ndarray, "batch beam"],
    ) -> None:
        """Take the complete hypotheses out of the open ones."""
        places = self._beam - np.array([len(complete) for complete in self._complete])
        self._scores[np.arange(self._beam) >= places[:, None]] = -np.inf
        is_open = np.isfinite(self._scores).any(axis=1)
        self._margins.append(np.where(is_open, _differences(scores, places), np.nan))
        last = (tokens == self._eos) | (self._step == self._max_steps)
        for sentence, place in np.argwhere(last & np.isfinite(self._scores)):
            score = self._scores[sentence, place] / self._penalty(self._step)
            path = self._paths.path(sentence * self._beam + place, self._eos)
            self._complete[sentence].append((score, path))
            self._scores[sentence, place] = -np.inf
        # Log-probabilities only fall, so that no score can exceed this one.
        limits = self._scores.max(axis=1) / self._penalty(self._max_steps)
        for sentence in np.flatnonzero(np.isfinite(limits)):
            found = sorted(score for score, _ in self._complete[sentence])
            if len(found) >= self._n_best and found[-self._n_best] > limits[sentence]:
                self._scores[sentence] = -np.inf

    def _penalty(self, length: int) -> float:
        return ((5 + length) / 6) ** self._alpha

    def best(self) -> list[tuple[list[tuple[float, Chosen]], list[float]]]:
        """Return each sentence's hypotheses, the best first, and the margins of its search."""
        margins = np.stack(self._margins, axis=1)
        return [
            (sorted(complete, key=lambda scored: -scored[0]), row[~np.isnan(row)].tolist())
            for complete, row in zip(self._complete, margins, strict=True)
        ]


def _differences(
    descending: Float[np.ndarray, "rows n"], places: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Return, row by row, by how much the entry before a place is larger than the entry at it."""
    rows = np.arange(len(descending))
    descending = np.column_stack((descending, np.full(len(rows), -np.inf)))  # one place more
    above, at = descending[rows, places - 1], descending[rows, places]
    return np.subtract(above, at, where=np.isfinite(at), out=np.full(len(rows), np.inf))


def _chosen(weights: Nested, rows: Int[np.ndarray, " rows"]) -> list[np.ndarray] | None:
    """Return a step's attention weights over the source of the chosen rows, one per row."""
    return None if weights is None else [_over_source(weights, len(rows))[rows]]
