"""The vocabulary: a two-way table between tokens and their indices."""

import collections
import operator
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

UNK = "<unk>"


class Vocab:
    """Tokens with the indices that D2L 1.0's ``Vocab`` gives them: in sorted order.

    Args:
        tokens: a list of tokens or a list of lists of tokens.
        min_freq: a token is kept if it occurs so often.
        reserved_tokens: are always kept, as is ``<unk>``, which stands for every other token.

    Attributes:
        idx_to_token: the list of kept tokens.
        token_to_idx: its inverse.
        token_freqs: (token, count) of all tokens seen, the most frequent first.
    """

    def __init__(
        self, tokens: Sequence[Any] = (), min_freq: int = 0, reserved_tokens: Sequence[str] = ()
    ):
        counter = collections.Counter(_flatten(tokens))
        self.token_freqs = sorted(counter.items(), key=operator.itemgetter(1), reverse=True)
        kept = (token for token, count in self.token_freqs if count >= min_freq)
        self._index(sorted({UNK, *reserved_tokens, *kept}))

    def _index(self, idx_to_token: list[str]) -> None:
        self.idx_to_token = idx_to_token
        self.token_to_idx = {token: index for index, token in enumerate(idx_to_token)}

    def __len__(self) -> int:
        return len(self.idx_to_token)

    # Without the next two, Python would fall back on __getitem__(0), (1), ... and never end,
    # since every unknown "token" has an index.
    def __iter__(self) -> Iterator[str]:
        return iter(self.idx_to_token)

    def __contains__(self, token: object) -> bool:
        return token in self.token_to_idx

    @overload
    def __getitem__(self, tokens: str) -> int: ...

    @overload
    def __getitem__(self, tokens: list[Any] | tuple[Any, ...]) -> list[Any]: ...

    def __getitem__(self, tokens: Any) -> Any:
        """The index of a token, or the list of indices of a list of tokens (nested lists too)."""
        if isinstance(tokens, list | tuple):
            return [self[token] for token in tokens]
        index = self.token_to_idx.get(tokens)
        return self.unk if index is None else index

    @overload
    def to_tokens(self, indices: int) -> str: ...

    @overload
    def to_tokens(self, indices: Sequence[int] | np.ndarray) -> list[str]: ...

    def to_tokens(self, indices: Any) -> Any:
        """Return the token of an index, or the list of tokens of a list or 1-D array of indices.

        A list always gives a list, also with one element or none, where D2L's method fails.

        Raises:
            IndexError: an index outside ``0 .. len(self) - 1``.
        """
        if getattr(indices, "ndim", 0) > 0 or isinstance(indices, list | tuple):
            return [self.to_tokens(index) for index in indices]
        index = operator.index(indices)
        if not 0 <= index < len(self):
            raise IndexError(f"indices: got {index}, must be from 0 to {len(self) - 1}")
        return self.idx_to_token[index]

    @property
    def unk(self) -> int:
        """The index of the unknown token."""
        return self.token_to_idx[UNK]

    def to_list(self) -> list[str]:
        """All tokens by index: a list of strings that JSON can hold; see `from_tokens_list`."""
        return list(self.idx_to_token)

    @classmethod
    def from_tokens_list(cls, tokens: Sequence[str]) -> "Vocab":
        """Return the vocabulary whose `to_list` was `tokens`; indices are places in the list.

        Counts are not stored, so `token_freqs` is empty.

        Raises:
            ValueError: a token is not a string or occurs twice, or ``<unk>`` is missing.
        """
        tokens = list(tokens)
        _check_tokens_list(tokens)
        vocab = cls()
        vocab._index(tokens)
        return vocab


def _flatten(tokens: Sequence[Any]) -> Sequence[str]:
    if tokens and isinstance(tokens[0], list | tuple):
        return [token for line in tokens for token in line]
    return tokens


def _check_tokens_list(tokens: list[str]) -> None:
    wrong = [token for token in tokens if not isinstance(token, str)]
    if wrong:
        raise ValueError(f"tokens: got {wrong[0]!r}, must be strings")
    repeated = [token for token, count in collections.Counter(tokens).items() if count > 1]
    if repeated:
        raise ValueError(f"tokens: got {repeated[0]!r} more than once, must be distinct")
    if UNK not in tokens:
        raise ValueError(f"tokens: got {len(tokens)} without {UNK!r}, must contain it")
