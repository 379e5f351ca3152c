"""Masks that a framework draws itself are looked at: rate, scale, and that none is another's."""

import types

import numpy as np
import pytest

from d2l_ext.agreement.running.drawn import CALLS, oddities

RATE, SIZE = 0.3, 20
JOB = types.SimpleNamespace(
    target={"config": {"dropout": RATE}}, inputs=(), cotangent=np.ones((1, SIZE))
)


def masks(seed, rate=RATE, scale=1 / (1 - RATE)):
    return (np.random.default_rng(seed).random((CALLS, SIZE)) >= rate) * scale


class Model:
    """A model of two layers that draw these masks, or go on with those that were given."""

    def __init__(self, first, second, stays=False):
        self.calls, self.stays, self.given = iter(zip(first, second, strict=True)), stays, None

    def dropout_layers(self):
        return {"dropout1": (RATE, (1, SIZE)), "dropout2": (RATE, (1, SIZE))}

    def __call__(self, training, dropout):
        assert training and all(mask.shape == (1, SIZE) for mask in dropout.values())
        self.given = [mask[0] for mask in dropout.values()]

    def vjp(self, inputs, cotangent, training, dropout):
        assert (training, dropout) == (True, "own")
        first, second = self.given if self.stays else next(self.calls)
        return None, {"dense2.weight": np.outer(second, first), "dense2.bias": second}, None


def found(first, second, **options):
    """What is odd about two layers' masks, (calls, units)."""
    return oddities(Model(first, second, **options), JOB)


@pytest.mark.parametrize("seed", range(0, 200, 2))
def test_masks_as_they_should_be_are_not_odd(seed):
    assert found(masks(seed), masks(seed + 1)) == []


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (masks(0, 1 - RATE), masks(1), "the rate is 0.3"),
        (masks(0), masks(1, 0), "the rate is 0.3"),
        (masks(0), masks(1, scale=1), "another number than 1.429"),
        (masks(0), masks(0), "two layers"),
        (masks(0)[:1].repeat(CALLS, axis=0), masks(1), "all calls"),
        (masks(0), masks(2)[:1].repeat(CALLS, axis=0), "all calls"),
    ],
)
def test_what_is_odd_is_said(first, second, words):
    assert any(words in said for said in found(first, second))


def test_masks_that_were_given_and_stay_are_odd():
    assert any("drops 1.00" in said for said in found(masks(0), masks(1), stays=True))
