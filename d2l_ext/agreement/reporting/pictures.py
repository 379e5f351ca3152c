"""The pictures of a report: the losses, and the attention of one translation."""

import dataclasses

import numpy as np

from d2l_ext import plotting


@dataclasses.dataclass(frozen=True)
class PictureFile:
    """A picture that was drawn: the name of its file, and what it shows in words."""

    name: str
    description: str


def draw(report, folder):
    """Draw all pictures of a report into a folder; return them as a list of `PictureFile`."""
    return [
        picture
        for dtype, training in report.training.items()
        if training is not None
        for picture in (_losses(training, dtype, folder), _attention(report, dtype, folder))
        if picture is not None
    ]


def _losses(training, dtype, folder):
    losses = {b: first.losses for b, (first, *_) in training["runs"].items()}
    picture = PictureFile(f"losses-{dtype}.png", f"training loss, {dtype}")
    plotting.loss_curves(
        losses,
        reference=next(iter(losses)),
        title=picture.description,
        path=folder / picture.name,
    )
    return picture


def _attention(report, dtype, folder):
    """Draw the attention of every backend in one translation, or return None."""
    training = report.training[dtype]
    number = _shown_sentence(report.plan, training)
    if number is None:
        return None
    firsts = {b: runs[0] for b, runs in training["runs"].items()}
    source = report.plan.source_tokens(number)
    weights = [first.weights[number][..., : len(source)] for first in firsts.values()]
    some = next(iter(firsts.values()))
    target = report.plan.data.tgt_vocab.to_tokens(some.greedy.tokens[number])
    target += ["<eos>"] * (len(weights[0]) - len(target))
    picture = PictureFile(f"attention-{dtype}.png", f"attention, {dtype}")
    plotting.attention_grid(
        np.stack(weights)[None],
        source,
        target,
        column_names=list(firsts),
        title=picture.description,
        path=folder / picture.name,
    )
    return picture


def _shown_sentence(plan, training):
    """Return the longest translation that all have in common, or None."""
    firsts = [runs[0] for runs in training["runs"].values()]
    if any(first.weights is None for first in firsts):
        return None
    different = {n for t in training["tokens"].values() for n in t.different}
    numbers = [n for n in range(len(plan.sentences)) if n not in different]
    return max(numbers, key=lambda n: len(firsts[0].greedy.tokens[n]), default=None)
