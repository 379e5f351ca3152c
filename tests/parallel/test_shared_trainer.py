"""Several trainers that share their batches do what one does; planted bugs are reported.

The trainers are in one process, and their sums are added here. What an engine adds is tested with
the engines.
"""

import functools
import operator
import signal

import numpy as np
import pytest
from member import LR, MAX_NORM, batches, translator
from shared import frameworks

from d2l_ext import randomness
from d2l_ext.parallel import shares, trainer
from d2l_ext.parallel.group import GroupError
from d2l_ext.parallel.trainer import HEAD

STEPS = 3  # each batch once


class Member:
    """What a trainer asks its group for."""

    def __init__(self, rank, size):
        self.rank, self.shares, self.num_shares = rank, [rank], size
        self.devices = [None]  # JAX's own


def make(be, size, dtype="float64", pad=0):
    """Return trainers of as many members, or one without a group."""
    groups = [Member(rank, size) for rank in range(size)] if size else [None]
    data = batches()
    models = [
        be.model(translator(be.api), *(x[:1] for x in data[0][:-1]), dtype=dtype) for _ in groups
    ]
    eager = False if False in be._trainer.compiles else None  # XLA would compile for each member
    return [
        be.trainer(m, LR, MAX_NORM, pad, eager, group=g)
        for m, g in zip(models, groups, strict=True)
    ]


def together(trainers, given):
    """Do one step of all, given the batch of each; return the losses."""
    sums = [x for one, batch in zip(trainers, given, strict=True) for x in one.sums(batch)]
    total = functools.reduce(operator.add, sums)
    return [one.apply(total, batch) for one, batch in zip(trainers, given, strict=True)]


def check(be, size, dtype="float64", tolerance=1e-12, pad=0):
    """Train alone and together; compare losses, gradients and parameters."""
    (alone,), members = make(be, 0, dtype, pad), make(be, size, dtype, pad)
    for step in range(STEPS):
        batch = batches()[step % len(batches())]
        loss = alone.step(batch)
        losses = together(members, [batch] * size)
        assert len(set(losses)) == 1
        assert losses[0] == pytest.approx(loss, rel=tolerance, abs=0)
    assert_same([alone.model.parameters(), *(m.model.parameters() for m in members)], tolerance)
    assert_same([alone.state()["m"], *(m.state()["m"] for m in members)], tolerance)
    for kind in "mv":  # bit for bit: no member may drift away
        assert_same([m.state()[kind] for m in members], 0)


def assert_same(found, tolerance):
    for name, wanted in found[0].items():
        for other in found[1:]:
            error = np.abs(other[name] - wanted).max()
            assert error <= tolerance * max(np.abs(x).max() for x in found[0].values()), name


@pytest.mark.parametrize("be", [*frameworks("jax", "tensorflow"), "reference"], indirect=True)
def test_shares_make_the_step_of_the_batch(be):
    check(be, 3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_of_other_sizes_too(be, size):
    check(be, size)


@pytest.mark.slow
def test_in_float32_too(be):
    check(be, 3, "float32", 1e-4)


@pytest.mark.slow
def test_without_padding_every_label_counts(be):
    check(be, 3, pad=None)


def test_the_gradient_is_clipped():
    """Or the other tests would not see who clips what."""
    be = pytest.importorskip("d2l_ext.torch.backend").BACKEND
    (alone,) = make(be, 0)
    alone.step(batches()[0])
    norm = np.sqrt(sum((m**2).sum() for m in alone.state()["m"].values())) / 0.1
    assert norm == pytest.approx(MAX_NORM)


def test_a_batch_of_padding_alone_changes_nothing_but_the_count():
    be = pytest.importorskip("d2l_ext.torch.backend").BACKEND
    src, tgt_in, lens, labels = batches()[0]
    members = make(be, 2)
    before = members[0].model.parameters()
    assert together(members, [(src, tgt_in, lens, labels * 0)] * 2) == [0, 0]
    assert members[1].num_steps == 1
    assert_same([before, members[1].model.parameters()], 0)


def test_all_know_of_a_signal_after_the_same_step():
    be = pytest.importorskip("d2l_ext.torch.backend").BACKEND
    members = make(be, 2)
    members[1].signal = lambda: signal.SIGTERM
    together(members, [batches()[2]] * 2)
    assert [m.asked for m in members] == [signal.SIGTERM] * 2
    members[1].signal = lambda: None
    together(members, [batches()[2]] * 2)
    assert [m.asked for m in members] == [None] * 2


def test_half_precision_is_refused():
    be = pytest.importorskip("d2l_ext.torch.backend").BACKEND
    with pytest.raises(ValueError, match=r"dtype \(of a shared run\): got 'bfloat16'"):
        make(be, 2, "bfloat16")


def test_the_frameworks_own_masks_are_refused():
    be = pytest.importorskip("d2l_ext.torch.backend").BACKEND
    with pytest.raises(ValueError, match="dropout: got 'own', must be masks or None"):
        make(be, 2)[0].sums(batches()[0], dropout="own")


# Planted bugs.

torch_first = pytest.mark.parametrize("be", frameworks("mxnet", "jax", "tensorflow"), indirect=True)


def means_of_means(monkeypatch):
    monkeypatch.setattr(trainer.SharedTrainer, "_real", lambda self, labels: 1)
    monkeypatch.setattr(
        trainer.SharedTrainer, "_compare", lambda self, head, batch: head.__setitem__(1, 2)
    )


def clipping_per_worker(monkeypatch):
    sums = trainer.SharedTrainer.sums

    def clipped(self, batch, dropout=None):
        (vector,) = sums(self, batch, dropout)
        vector = np.array(self.model.backend.numpy(vector))
        norm = np.linalg.norm(vector[HEAD:]) / max(vector[1], 1)
        vector[HEAD:] *= min(1, MAX_NORM / max(norm, 1e-9))
        return [self.model.backend.array(vector)]

    monkeypatch.setattr(trainer.SharedTrainer, "sums", clipped)


def the_same_masks(monkeypatch):
    def first(masks, whole, part, rows, num_rows):
        rows = slice(0, rows.stop - rows.start)
        return shares.cut_masks(masks, whole, part, rows, num_rows)

    monkeypatch.setattr(trainer, "cut_masks", first)


def another_start(monkeypatch):
    monkeypatch.setattr(
        "d2l_ext.randomness.initial_parameters",
        functools.partial(_moved, randomness.initial_parameters, iter("abcd")),
    )


def _moved(initial, calls, shapes, seed, tied=()):
    return initial(shapes, seed + (next(calls) == "c"), tied)  # the second member's


@pytest.mark.parametrize(
    "bug",
    [means_of_means, clipping_per_worker, the_same_masks, another_start],
    ids=lambda f: f.__name__,
)
@torch_first
def test_planted_bugs_are_reported(monkeypatch, be, bug):
    check(be, 2)
    bug(monkeypatch)
    with pytest.raises(AssertionError):
        check(be, 2)


@torch_first
def test_a_lost_row_is_reported(monkeypatch, be):
    def least(rows, number, size):
        return slice(number * (rows // size), (number + 1) * (rows // size))

    monkeypatch.setattr(trainer, "rows_of", least)
    with pytest.raises(GroupError, match=r"have \d+ real tokens, but its batch has \d+"):
        together(make(be, 2), [batches()[0]] * 2)


@torch_first
def test_a_lost_batch_is_reported(be):
    with pytest.raises(GroupError, match="different batches in step 1"):
        together(make(be, 2), [batches()[0], batches()[1]])


@torch_first
def test_a_worker_a_step_behind_is_reported(be):
    members = make(be, 2)
    members[1].num_steps = 1
    with pytest.raises(GroupError, match="different batches in step 1"):
        together(members, [batches()[0]] * 2)
