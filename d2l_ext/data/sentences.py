"""Sentences to tokens and back, as the vocabulary has them: subwords, or words as in D2L."""

from collections.abc import Sequence

from d2l_ext.data.subwords import Subwords
from d2l_ext.data.text import EOS, detokenize, preprocess, tokenize
from d2l_ext.data.vocabulary import Vocab


def cut(sentence: str, vocab: Vocab | None = None) -> list[str]:
    """Cut a sentence into tokens and append ``<eos>``.

    Args:
        sentence: a string.
        vocab: `Subwords`, which keep everything; with any other, or None, the tokens are the words
            of `preprocess` and `tokenize`.

    Raises:
        ValueError: a sentence without a word, or of words with a tab or a line end.
    """
    if not isinstance(vocab, Subwords):
        return tokenize(preprocess(sentence))
    if not sentence.strip():
        raise ValueError(f"sentence: got {sentence!r}, must have at least one word")
    return [*vocab.split(sentence), EOS]


def join(tokens: Sequence[str], vocab: Vocab) -> str:
    """Put the tokens of a sentence, without ``<eos>``, together as plain text."""
    return vocab.join(tokens) if isinstance(vocab, Subwords) else detokenize(tokens)


def labels(tokens: Sequence[str], vocab: Vocab) -> list[str]:
    """Return tokens as figures show them."""
    return [vocab.label(t) for t in tokens] if isinstance(vocab, Subwords) else list(tokens)


def unknown(sentence: str, vocab: Vocab) -> list[str]:
    """Return the tokens of a sentence that a vocabulary does not have."""
    return [token for token in cut(sentence, vocab) if token not in vocab]
