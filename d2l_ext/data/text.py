"""Text to tokens, with the meaning that D2L 1.0 gives them in its machine translation section.

The rules are those of ``MTFraEng._preprocess`` and ``MTFraEng._tokenize``, for one sentence
instead of a whole file: a sentence is lower-cased, its punctuation is set apart, and it is split
on spaces. Nothing else is done: ``j'ai`` is one token.
"""

import re
from collections.abc import Iterable

EOS = "<eos>"

_NON_BREAKING = str.maketrans({"\u202f": " ", "\xa0": " "})
_GLUED_PUNCTUATION = re.compile(r"(?<=[^ ])([,.!?])")
_SPACED_PUNCTUATION = re.compile(r" ([,.!?])")


def preprocess(text: str) -> str:
    """Lower-case `text` and put a space before each ``,.!?`` that has none.

    Non-breaking spaces (French has them before ``!`` and ``?``) become plain ones. Tabs and line
    ends are kept, so that a sentence, a line and a file can all be given.
    """
    return _GLUED_PUNCTUATION.sub(r" \1", text.translate(_NON_BREAKING).lower())


def tokenize(sentence: str) -> list[str]:
    """Split a preprocessed sentence on spaces and append ``<eos>``; several spaces count as one.

    Raises:
        ValueError: an empty sentence, which would have nothing to translate, or one with a tab or a
            line end, which is a line of a file, not a sentence.
    """
    if "\t" in sentence or "\n" in sentence:
        raise ValueError(f"sentence: got {sentence!r}, must have no tab and no line end")
    tokens = [token for token in sentence.split(" ") if token]
    if not tokens:
        raise ValueError(f"sentence: got {sentence!r}, must have at least one word")
    return [*tokens, EOS]


def detokenize(tokens: Iterable[str]) -> str:
    """Join tokens with spaces, but for the spaces that `preprocess` put before ``,.!?``."""
    return _SPACED_PUNCTUATION.sub(r"\1", " ".join(tokens))
