"""Batches of sentences of similar length, so that little is padded and few shapes occur."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64


def bucketed_batches(
    examples: Sequence[tuple[Sequence[int], Sequence[int]]],
    batch_size: int,
    seed: int,
    epoch: int,
    buckets: Sequence[int],
    *,
    src_pad: int,
    tgt_pad: int,
    bos: int,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield (src, tgt_in, src_valid_len, tgt_out) for examples of different lengths.

    An example goes into the smallest bucket that is at least as large as both its lengths, and a
    batch holds examples of one bucket only, padded to its size: arrays (n, bucket), int64, and
    lengths (n,). So a framework that compiles for each shape compiles for at most two shapes per
    bucket: a full batch and the smaller last one.

    Every example occurs once an epoch. The order, within buckets and of the batches, is drawn
    from (seed, epoch).

    Args:
        examples: (source indices, target indices), each ending with ``<eos>``.
        batch_size: the largest n.
        seed, epoch: of the order.
        buckets: sizes.
        src_pad, tgt_pad, bos: the indices of those tokens.

    Raises:
        ValueError: a sentence that is longer than the largest bucket, or has no token.
    """
    rng = np.random.default_rng([seed, epoch])
    chunks = []
    for size, members in _fill(examples, sorted(buckets)).items():
        members = rng.permutation(members)
        chunks += [
            (size, members[start : start + batch_size])
            for start in range(0, len(members), batch_size)
        ]
    for place in rng.permutation(len(chunks)):
        size, members = chunks[place]
        src = _padded([examples[i][0] for i in members], size, src_pad)
        tgt_out = _padded([examples[i][1] for i in members], size, tgt_pad)
        first = np.full((len(members), 1), bos, dtype=np.int64)  # (n, 1)
        tgt_in = np.concatenate([first, tgt_out[:, :-1]], axis=1)  # (n, bucket)
        src_valid_len = np.array([len(examples[i][0]) for i in members], dtype=np.int64)  # (n,)
        yield src, tgt_in, src_valid_len, tgt_out


def _fill(
    examples: Sequence[tuple[Sequence[int], Sequence[int]]], sizes: Sequence[int]
) -> dict[int, list[int]]:
    """{bucket size: list of the indices of its examples}, for buckets that have any."""
    filled = {size: [] for size in sizes}
    for index, (source, target) in enumerate(examples):
        length = max(len(source), len(target))
        if min(len(source), len(target)) == 0:
            raise ValueError(
                f"examples: got no token on a side of example {index}, must have some on both"
            )
        fitting = [size for size in sizes if size >= length]
        if not fitting:
            raise ValueError(
                f"buckets: got {sizes}, must reach the longest sentence:"
                f" example {index} has {length} tokens"
            )
        filled[fitting[0]].append(index)
    return {size: members for size, members in filled.items() if members}


def _padded(sequences: Sequence[Sequence[int]], size: int, pad: int) -> Int64[np.ndarray, "n size"]:
    """int64 array (n, size): each sequence, then `pad`."""
    rows = np.full((len(sequences), size), pad, dtype=np.int64)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return rows
