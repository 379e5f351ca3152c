"""A step with a cache, and tables that are read by other ids for the same rows."""

import copy

import numpy as np
import pytest

from d2l_ext.porting import locate

torch = pytest.importorskip("torch")
nn = torch.nn
RNG = np.random.default_rng(0)


def rotated(x, start):
    """Turn each half with the other, (batch, heads, steps, size)."""
    half = x.shape[-1] // 2
    steps = start + torch.arange(x.shape[-2], dtype=x.dtype)[:, None]
    angles = steps * 10000 ** -(torch.arange(half, dtype=x.dtype) / half)
    one, two = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)


class Step(nn.Module):
    """Attention of some steps, after those whose keys and values are given; `late` is planted."""

    def __init__(self, size=8, heads=2):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(size, size) for _ in range(4))
        self.heads, self.late = heads, 0

    def forward(self, X, cache):
        keys, values = cache[-1] if isinstance(cache, list) else cache
        past = keys.shape[2] + self.late
        q, k, v = (
            W(X).unflatten(-1, (self.heads, -1)).transpose(1, 2) for W in (self.q, self.k, self.v)
        )
        k = torch.cat([keys, rotated(k, past)], 2)
        v = torch.cat([values, v], 2)
        if isinstance(cache, list):
            cache.append((k, v))
        scores = rotated(q, past) @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def models():
    torch.manual_seed(0)
    model = Step().double()
    return model, copy.deepcopy(model)


def given(steps=1, *, filled=False):
    """Return one step, and keys and values of five before it."""
    past = tuple(torch.from_numpy(RNG.standard_normal((3, 2, 5, 4))) for _ in range(2))
    options = {"cache": [past] if filled else past}
    inputs = RNG.standard_normal((3, steps, 8))
    return inputs, {"options_a": options, "options_b": copy.deepcopy(options)}


@pytest.mark.parametrize("late", [-1, 1])
def test_a_position_that_is_wrong_after_a_cache_is_named(late):
    model, port = models()
    X, options = given()
    assert locate(model, port, X, **options).differences == []
    port.late = late
    (found,) = locate(model, port, X, **options, backward=False).differences
    assert (found.place, found.cause) == ("v → o", "position offset"), found
    assert f"A from 0, B from {late}" in found.explanation


def test_a_cache_that_a_call_fills_is_the_same_in_every_run():
    X, options = given(filled=True)
    found = locate(*models(), X, **options)
    assert found.differences == [], found
    assert [len(options[name]["cache"]) for name in options] == [1, 1]


class Positions(nn.Module):
    """A table of positions, whose offset is added before the layer or inside."""

    def __init__(self, inside, offset=2):
        super().__init__()
        self.table = _Shifted(9, 4, offset) if inside else nn.Embedding(9, 4)
        self.offset, self.last = 0 if inside else offset, nn.Linear(4, 4)

    def forward(self, X):
        return self.last(X + self.table(torch.arange(X.shape[1]) + self.offset))


class _Shifted(nn.Embedding):
    def __init__(self, rows, size, offset):
        super().__init__(rows, size)
        self.offset = offset

    def forward(self, ids):
        return super().forward(ids + self.offset)


@pytest.mark.parametrize("offset", [2, 1])
def test_ids_may_be_others_if_the_rows_are_right(offset):
    torch.manual_seed(0)
    model, port = Positions(inside=False).double(), Positions(inside=True, offset=offset).double()
    port.load_state_dict(model.state_dict())
    found = locate(model, port, RNG.standard_normal((3, 5, 4)), backward=False).differences
    if offset == 2:
        assert found == []
    else:
        assert found and "table" in found[0].place, found
