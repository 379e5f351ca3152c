"""How good a translation is."""

import collections
import math


def bleu(pred_seq: str, label_seq: str, k: int) -> float:
    r"""D2L's BLEU of one predicted sentence against one reference, from 0 to 1.

    Both are strings of tokens separated by single spaces. With :math:`p_n` the share of the
    prediction's n-grams that the reference has too (each used at most as often as it occurs
    there),

    .. math:: \exp(\min(0, 1 - \mathrm{len}_{label} / \mathrm{len}_{pred}))
              \prod_{n=1}^{k} p_n^{1/2^n}.

    The value is that of ``d2l.bleu``, with two of its habits. A prediction shorter than `k`
    tokens has no k-grams, so the product stops at its length: for short predictions a perfect
    score says less. And it is a score of a sentence with weights of D2L's own, not the corpus BLEU
    of the literature; for that there is sacrebleu.

    An empty prediction scores 0.0, also against an empty reference, to which ``d2l.bleu`` gives 1.

    Raises:
        ValueError: k is less than 1.
    """
    if k < 1:
        raise ValueError(f"k: got {k}, must be at least 1")
    if not pred_seq:
        return 0.0
    pred_tokens, label_tokens = pred_seq.split(" "), label_seq.split(" ")
    score = math.exp(min(0, 1 - len(label_tokens) / len(pred_tokens)))
    for n in range(1, min(k, len(pred_tokens)) + 1):
        pred_ngrams, label_ngrams = _ngrams(pred_tokens, n), _ngrams(label_tokens, n)
        # Counter's & keeps the smaller of two counts, which is the clipped number of matches.
        matches = (pred_ngrams & label_ngrams).total()
        score *= math.pow(matches / pred_ngrams.total(), math.pow(0.5, n))
    return score


def _ngrams(tokens: list[str], n: int) -> collections.Counter[tuple[str, ...]]:
    return collections.Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
