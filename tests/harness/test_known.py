"""Known differences, each given by a formula: the one that was made is the one that is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_ext.porting.arrays import relative_error
from d2l_ext.porting.known.attention import rotated
from d2l_ext.porting.known.between import ACTIVATIONS, normalized
from d2l_ext.porting.known.explain import explain
from d2l_ext.porting.known.piece import Piece
from d2l_ext.porting.known.relative import DIRECTIONS, buckets

RNG = np.random.default_rng(0)
HEADS, STEPS, SIZE = 2, 5, 4  # the size of one head


def named(a, b, *sources, kind="", context=(), parameters=()):
    """Return the cause that is found, or None."""
    own = [dict(enumerate(parameters)) if kind == "" else {"weight": parameters[0]}] * 2
    piece = Piece(kind, list(sources), list(context), own, a, b)
    return explain(piece, relative_error, 1e-12)


@pytest.mark.slow  # transformers takes long to load
@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([8, 16, 32, 64]),
    st.sampled_from(DIRECTIONS),
    st.integers(0, 2),
)
def test_buckets_are_t5_s(num_queries, num_keys, count, direction, offset):
    torch = pytest.importorskip("torch")
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = torch.arange(num_keys) - torch.arange(num_queries)[:, None] + offset
    wanted = t5.T5Attention._relative_position_bucket(
        distance, bidirectional=direction == "both directions", num_buckets=count
    )
    found = buckets((num_queries, num_keys), count, f"from {offset}", direction)
    # Where a distance lies on the edge of two buckets, float32 may take the other one.
    assert np.abs(found - wanted.numpy()).max() <= 1
    assert (found == wanted.numpy()).mean() > 0.97


@pytest.mark.parametrize(("first", "second"), [("SiLU", "GELU (erf)"), ("GELU (tanh)", "ReLU")])
def test_a_gated_network_has_another_activation_or_gates_the_other_half(first, second):
    x, y = RNG.standard_normal((2, 3, 7))
    a = ACTIVATIONS[first](x) * y
    assert named(a, ACTIVATIONS[second](x) * y, y, x).name == "activation"
    assert named(a, ACTIVATIONS[first](y) * x, y, x).name == "gate and value exchanged"
    assert named(a, np.tanh(x) * y + 1, y, x) is None


def heads(x):
    return x.reshape(*x.shape[:2], HEADS, SIZE).swapaxes(1, 2)


def attention(q, k, v, bias=0.0, scale=1.0):
    weights = normalized(heads(q) @ heads(k).swapaxes(-1, -2) * scale + bias, -1)
    return (weights @ heads(v)).swapaxes(1, 2).reshape(q.shape)


QKV = RNG.standard_normal((3, 3, STEPS, HEADS * SIZE))


@pytest.mark.parametrize("as_table", [True, False])
def test_a_position_bias_is_missing_or_one_further(as_table):
    table = RNG.standard_normal((32, HEADS))

    def bias(position, direction="both directions"):
        ids = buckets((STEPS, STEPS), 32, position, direction)
        return table[ids].transpose(2, 0, 1)[None]

    # The table is a parameter, or what it gave was seen.
    known = {"parameters": [table]} if as_table else {"context": [bias("from 0")]}
    a = attention(*QKV, bias("from 0"))
    assert named(a, attention(*QKV), *QKV, **known).name == "position bias missing"
    if as_table:
        one_further = attention(*QKV, bias("from 1"))
        assert named(a, one_further, *QKV, **known).name == "position offset"
        before = attention(*QKV, bias("from 0", "those before"))
        assert named(a, before, *QKV, **known).name == "position bias of both directions"


def test_buckets_and_the_bias_of_a_table_are_one_further():
    table = RNG.standard_normal((32, HEADS))
    ids = [buckets((STEPS, 6), 32, f"from {first}", "both directions") for first in (0, 1)]
    assert named(*ids).name == "position offset"
    biases = [np.tile(table[x].transpose(2, 0, 1), (3, 1, 1, 1)) for x in ids]
    for bias in biases:
        bias[1, ..., -2:] = -1e9  # a mask
    assert named(*biases, parameters=[table]).name == "position offset"


def test_a_mask_that_is_in_the_position_bias_is_left_out():
    bias = RNG.standard_normal((3, HEADS, STEPS, STEPS))
    bias[1, :, :, -2:] = 0  # what is left out has no number that could be seen
    masked = bias.copy()
    masked[1, :, :, -2:] = -1e9
    cause = named(attention(*QKV, masked), attention(*QKV, bias), *QKV, context=[masked])
    assert cause.name == "padding not masked"


@pytest.mark.parametrize("last", [9, 3])
def test_a_mask_that_has_padding_and_a_window_in_one_is_told_apart(last):
    steps = np.arange(STEPS)
    distance = steps[:, None] - steps
    real = np.array([True, False, True])[:, None, None, None] | (steps < 4)
    near = (distance >= 0) & (distance < last)

    def attended(allowed):
        return attention(*QKV, np.where(allowed, 0, -np.inf))

    a, context = attended(real & near), [np.where(real & near, 0, -1e9)]
    assert named(a, attended(near), *QKV, context=context).name == "padding not masked"
    other = named(a, attended(real & near & (distance < 2)), *QKV, context=context)
    assert other.name == "attention window"
    assert named(a, attended(real), *QKV, context=context).name == "causal mask"


@pytest.mark.parametrize("layout", ["halves", "pairs"])
def test_rotary_keys_are_counted_from_one(layout):
    q, k, v = map(heads, QKV)

    def attended(start):
        scores = rotated(q, layout) @ rotated(k, layout, start).swapaxes(-1, -2) / SIZE**0.5
        return (normalized(scores, -1) @ v).swapaxes(1, 2).reshape(QKV[0].shape)

    cause = named(attended(0), attended(1), *QKV)
    assert cause.name == "position offset" and "A from 0, B from 1" in cause.explanation


def test_ids_that_count_are_positions():
    table, counted, other = RNG.standard_normal((9, 3)), np.arange(5)[None], np.array([[3, 1, 4]])
    for ids, cause in ((counted, "position offset"), (other, "token ids off by one")):
        found = named(table[ids], table[ids + 1], ids, kind="embedding", parameters=[table])
        assert found.name == cause


def test_any_factor_is_a_scale_if_enough_numbers_have_it():
    x = RNG.standard_normal((3, 5))
    assert "times 0.37" in named(x, 0.37 * x).explanation
    assert named(x, 0.37 * x + 1e-6) is None
    assert named(x[0, :3], 0.37 * x[0, :3]) is None


@pytest.mark.parametrize(
    ("row", "first", "cause"),
    [(0, 1, "position offset"), (1, 0, "token types"), (None, 0, "token types")],
)
def test_words_positions_and_types_are_added_up(row, first, cause):
    words, steps, types = (RNG.standard_normal((n, 6)) for n in (9, 8, 2))
    ids = RNG.integers(2, 9, (3, 4))
    b = words[ids] + steps[first : first + 4] + (0 if row is None else types[row])
    a = words[ids] + steps[:4] + types[0]
    assert named(a, b, context=[ids], parameters=[words, steps, types]).name == cause


def test_a_table_and_a_norm_s_weight_are_no_dense_layer():
    """Layers side by side have one matrix and one vector, of which the latter does not fit."""
    x, table, weight = RNG.standard_normal((2, 3, 4)), np.eye(4)[:, :3], np.ones(4)
    assert named(x[..., :3], x[..., :3] ** 2, x, parameters=[table.T, weight]) is None
