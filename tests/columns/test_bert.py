"""BERT in every column: D2L's own classes beside ours, and what must not change the outputs."""

import numpy as np
import pytest
from grid import CALLS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

VOCAB, SIZE, BLOCKS, HEADS, MAX_LEN = 11, 12, 2, 3, 8
BATCH, STEPS, PREDS = 3, 6, 4
BERT = (VOCAB, SIZE, 10, HEADS, BLOCKS, 0.3, MAX_LEN)
LENS = np.array([6, 4, 1])
POSITIONS = np.array([[5, 0, 5, 2], [1, 1, 1, 1], [0, 3, 2, 4]])  # some twice: gradients add up
# With one shape for all, JAX compiles each model once.
ROWS = arrays(int, BATCH, elements=st.integers(0, BATCH - 1))
PICKED = arrays(int, (BATCH, PREDS), elements=st.integers(0, STEPS - 1))


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def texts(seed=0):
    """Tokens and segments."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, VOCAB, (BATCH, STEPS)), rng.integers(0, 2, (BATCH, STEPS))


TOKENS, SEGMENTS = texts()
INPUTS = TOKENS, SEGMENTS, LENS, POSITIONS


def ready(be, module, *inputs):
    """A model whose parameters are all random: biases and scales count too."""
    model = be.model(module, *inputs, dtype="float64")
    shapes, rng = sorted(model.shapes().items()), np.random.default_rng(1)
    model.load_parameters({name: 0.5 * rng.standard_normal(shape) for name, shape in shapes})
    return model


_models = {}


def made(be, name):
    """A model of a class, the same one each time, with the parameters that it had at first."""
    if (be.name, name) not in _models:
        arguments, inputs = CLASSES[name][1:]
        model = ready(be, getattr(be.api, name)(*arguments), *inputs)
        _models[be.name, name] = model, model.parameters()
    model, parameters = _models[be.name, name]
    model.load_parameters(parameters)
    return model


# D2L's class, the arguments of both, inputs.
CLASSES = {
    "BERTEncoder": ("BERTEncoder", BERT, INPUTS[:3]),
    "MaskLM": ("MaskLM", (VOCAB, 9), (draw(0, BATCH, STEPS, SIZE), POSITIONS)),
    "BERTMaskLM": ("BERTModel", BERT, INPUTS),
}


def d2ls(d2l_torch, name, parameters, cotangent):
    """What D2L's class makes of the same weights: output, and gradients by name and of inputs."""
    import torch

    theirs, arguments, inputs = CLASSES[name]
    peer = getattr(d2l_torch, theirs)(*arguments).double().eval()
    found = peer.load_state_dict(
        {k: torch.from_numpy(v) for k, v in parameters.items()}, strict=False
    )
    # Their model asks besides whether one text follows another, of which ours has nothing.
    assert found.unexpected_keys == []
    assert {key.partition(".")[0] for key in found.missing_keys} <= {"hidden", "nsp"}
    arrays = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    output = peer(*arrays)
    output = output[1] if theirs == "BERTModel" else output
    output.backward(torch.from_numpy(cotangent))
    return output.detach(), dict(peer.named_parameters()), [x.grad for x in arrays]


@pytest.mark.parametrize("name", CLASSES)
def test_d2ls_classes_with_the_same_weights_compute_the_same(any_backend, d2l_torch, name):
    """Outputs and gradients; those of the positions that no text has are zero."""
    model, inputs = made(any_backend, name), CLASSES[name][2]
    cotangent = draw(2, *model(*inputs).shape)
    output, gradients, of_inputs = model.vjp(inputs, cotangent)
    wanted, by_name, by_input = d2ls(d2l_torch, name, model.parameters(), cotangent)
    np.testing.assert_allclose(output, wanted, rtol=1e-10, atol=1e-11)
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, by_name[key].grad, rtol=1e-9, atol=1e-10, err_msg=key)
    for gradient, wanted in zip(of_inputs, by_input, strict=True):
        assert (gradient is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-10)


@given(seed=st.integers(1, 999))
@settings(max_examples=4)
def test_what_follows_a_text_never_matters(any_backend, seed):
    model, real = made(any_backend, "BERTEncoder"), np.arange(STEPS) < LENS[:, None]
    before = model(TOKENS, SEGMENTS, LENS)
    others = [np.where(real, x, y) for x, y in zip(INPUTS[:2], texts(seed), strict=True)]
    after = model(*others, LENS)
    np.testing.assert_array_equal(after[real], before[real])
    changed = (others[0] != TOKENS).any(-1)
    assert (np.abs(after - before).max((1, 2)) > 1e-4)[changed].all()


def test_a_text_alone_is_as_it_is_among_longer_ones(any_backend):
    model = made(any_backend, "BERTEncoder")
    padded = model(TOKENS, SEGMENTS, LENS)
    alone = model(TOKENS[1:2, : LENS[1]], SEGMENTS[1:2, : LENS[1]])
    np.testing.assert_allclose(alone[0], padded[1, : LENS[1]], rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 999), rows=ROWS)
@settings(max_examples=4)
def test_texts_do_not_see_each_other(any_backend, seed, rows):
    """In another order, and some of them twice in the place of others."""
    model, (tokens, segments) = made(any_backend, "BERTMaskLM"), texts(seed)
    inputs = tokens, segments, LENS, POSITIONS
    selected = model(*(x[rows] for x in inputs))
    np.testing.assert_allclose(selected, model(*inputs)[rows], rtol=1e-10, atol=1e-12)


@given(seed=st.integers(1, 999))
@settings(max_examples=3)
def test_segments_matter_by_their_embedding_alone(any_backend, seed):
    model, others = made(any_backend, "BERTEncoder"), texts(seed)[1]
    change = model(TOKENS, others, LENS) - model(TOKENS, SEGMENTS, LENS)
    real = np.arange(STEPS) < LENS[:, None]
    differ = ((others != SEGMENTS) & real).any(-1)
    found = np.where(real[..., None], np.abs(change), 0).max((1, 2))
    np.testing.assert_array_equal(found > 1e-4, differ)
    equal = {"segment_embedding.weight": np.tile(draw(3, 1, SIZE), (2, 1))}
    model.load_parameters(model.parameters() | equal)
    np.testing.assert_array_equal(model(TOKENS, others, LENS), model(TOKENS, SEGMENTS, LENS))


def test_what_is_left_out_is_one_segment_and_whole_texts(any_backend):
    model = made(any_backend, "BERTEncoder")
    wanted = model(TOKENS, np.zeros_like(SEGMENTS), np.full(BATCH, STEPS))
    np.testing.assert_allclose(model(TOKENS), wanted, rtol=1e-10, atol=1e-12)


@given(order=st.permutations(range(STEPS)))
@settings(max_examples=4)
def test_only_the_position_embedding_knows_where_a_token_is(any_backend, order):
    """With its rows in the same order as the tokens, outputs are in that order; else they are not.

    Without it, the model would not tell "dog bites man" from "man bites dog".
    """
    model, lens = made(any_backend, "BERTEncoder"), np.full(BATCH, STEPS)
    before = model(TOKENS, SEGMENTS, lens)[:, order]
    moved = TOKENS[:, order], SEGMENTS[:, order], lens
    differs = np.abs(model(*moved) - before).max() > 1e-4
    assert differs == (list(order) != sorted(order))
    p = model.parameters()
    positions = p["pos_embedding"].copy()
    positions[:, :STEPS] = positions[:, order]
    model.load_parameters(p | {"pos_embedding": positions})
    np.testing.assert_allclose(model(*moved), before, rtol=1e-10, atol=1e-12)


def below(p, prefix):
    """Parameters of a part of a model, by the names that they have in it alone."""
    return {k.removeprefix(prefix): v for k, v in p.items() if k.startswith(prefix)}


@given(seed=st.integers(0, 999), positions=PICKED)
@example(seed=0, positions=np.full((BATCH, PREDS), 2))
@settings(max_examples=4)
def test_predictions_are_picked_from_those_of_all_steps(any_backend, seed, positions):
    """So repeated positions have equal logits, and logits are in the order of the positions."""
    X, model = draw(seed, BATCH, STEPS, SIZE), made(any_backend, "MaskLM")
    parts = np.array([[0, 1, 2, 3], [2, 3, 4, 5]])  # as many at once as everywhere
    first, last = (model(X, np.tile(part, (BATCH, 1))) for part in parts)
    everywhere = np.concatenate([first[:, :2], last], axis=1)
    wanted = np.take_along_axis(everywhere, positions[..., None], axis=1)
    np.testing.assert_allclose(model(X, positions), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32"])
def test_positions_may_be_of_any_integers(any_backend, dtype):
    """PyTorch takes uint8 for a mask where it is an index."""
    positions = np.array([[0, 1, 5, 0], [2, 2, 1, 0], [3, 4, 4, 1]])
    X, model = draw(0, BATCH, STEPS, SIZE), made(any_backend, "MaskLM")
    np.testing.assert_array_equal(model(X, positions.astype(dtype)), model(X, positions))


def test_the_whole_is_an_encoder_and_predictions(any_backend):
    """With the same options, none of which is the default."""
    api, options = any_backend.api, ("gelu", True, 0.1)
    whole = ready(any_backend, api.BERTMaskLM(*BERT, *options), *INPUTS)
    logits, p = whole(*INPUTS), whole.parameters()
    encoder = any_backend.model(api.BERTEncoder(*BERT, *options), *INPUTS[:3], dtype="float64")
    encoder.load_parameters(below(p, "encoder."))
    X = encoder(*INPUTS[:3])
    mlm = any_backend.model(api.MaskLM(VOCAB, SIZE, "gelu", 0.1), X, POSITIONS, dtype="float64")
    mlm.load_parameters(below(p, "mlm."))
    np.testing.assert_allclose(logits, mlm(X, POSITIONS), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(whole.attention_weights, encoder.attention_weights, rtol=1e-11)


def test_weights_of_every_block(any_backend):
    model = made(any_backend, "BERTEncoder")
    model(*INPUTS[:3])
    weights = model.attention_weights
    assert weights.shape == (BLOCKS, BATCH * HEADS, STEPS, STEPS)
    of_texts = weights.reshape(BLOCKS, BATCH, HEADS, STEPS, STEPS)
    for i, length in enumerate(LENS):
        np.testing.assert_allclose(of_texts[:, i, ..., :length].sum(-1), 1, rtol=1e-13)
        assert (of_texts[:, i, ..., :length] > 0).all()
        assert (of_texts[:, i, ..., length:] == 0).all()


def without_blocks(be, **options):
    """An encoder that is its embeddings, with the common start."""
    module = be.api.BERTEncoder(*BERT[:4], 0, *BERT[5:], **options)
    return be.model(module, TOKENS, SEGMENTS, dtype="float64")


def embedded(p):
    X = p["token_embedding.weight"][TOKENS] + p["segment_embedding.weight"][SEGMENTS]
    return X + p["pos_embedding"][:, :STEPS]


def test_three_embeddings_are_added_up(any_backend):
    model = without_blocks(any_backend)
    output = model(TOKENS, SEGMENTS, training=True)
    np.testing.assert_allclose(output, embedded(model.parameters()), rtol=1e-12, atol=1e-13)
    assert model.dropout_layers(TOKENS, SEGMENTS) == {}


def test_a_normalised_embedding_has_mean_zero_and_variance_one(any_backend):
    """But for epsilon, at the common start; then with a scale, and with dropout behind it."""
    inputs, eps = (TOKENS, SEGMENTS), 0.25
    model = without_blocks(any_backend, norm_embedding=True, eps=eps)
    output, variance = model(*inputs), embedded(model.parameters()).var(-1)
    np.testing.assert_allclose(output.mean(-1), 0, atol=1e-13)
    np.testing.assert_allclose(output.var(-1), variance / (variance + eps), rtol=1e-11)
    scale, shift = draw(4, 2, SIZE)
    model.load_parameters(model.parameters() | {"ln.weight": scale, "ln.bias": shift})
    mask = model.masks(inputs)["dropout"]
    wanted = mask * (output * scale + shift)
    assert mask.shape == output.shape
    np.testing.assert_allclose(model(*inputs, training=True), wanted, rtol=1e-10, atol=1e-12)


class ComputedError(Exception):
    """Raised in the place of the first thing that costs time."""


@pytest.fixture
def uncomputable(any_backend, monkeypatch):
    """The backend, whose blocks cannot be called."""
    be = any_backend

    def call(*args, **kwargs):
        raise ComputedError

    for name in CLASSES:
        made(be, name)
    monkeypatch.setattr(be.api.TransformerEncoderBlock, CALLS[be.name], call)
    return be


# Which of the inputs is bad, and how.
BAD = {
    "tokens: got token 11, must be between 0 and 10": (0, TOKENS + 1),
    "tokens: got token -1, must be between 0 and 10": (0, TOKENS - 1),
    "tokens: got dtype float64, must be an integer dtype": (0, TOKENS * 1.0),
    "tokens: got shape (6,), must be (batch, num_steps)": (0, TOKENS[0]),
    "tokens: got 12 steps, must be at most max_len=8": (0, np.tile(TOKENS, 2)),
    "segments: got shape (3, 5), must be that of tokens, (3, 6)": (1, SEGMENTS[:, 1:]),
    "segments: got token 2, must be between 0 and 1": (1, SEGMENTS + 1),
    "valid_lens: got 7, must be between 0 and 6": (2, LENS + 1),
    "valid_lens: got shape (2,), must be (3,)": (2, LENS[:2]),
    "pred_positions: got position 6, must be between 0 and 5": (3, POSITIONS + 1),
    "pred_positions: got position -1, must be between 0 and 5": (3, POSITIONS - 1),
    "pred_positions: got batch size 2, must be that of the tokens, 3": (3, POSITIONS[:2]),
    "pred_positions: got shape (4,), must be (batch, num_preds)": (3, POSITIONS[0]),
    "pred_positions: got dtype float64, must be an integer dtype": (3, POSITIONS * 1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_inputs_are_the_same_error_everywhere_before_anything_is_computed(
    uncomputable, message
):
    which, bad = BAD[message]
    inputs = *INPUTS[:which], bad, *INPUTS[which + 1 :]
    for name, count in (("BERTMaskLM", 4), ("BERTEncoder", 3)):
        if which < count:
            with pytest.raises(ValueError) as error:
                made(uncomputable, name)(*inputs[:count])
            assert str(error.value) == message


def test_good_inputs_are_computed(uncomputable):
    """Or the test above would hold of checks that come too late."""
    if uncomputable.name == "jax":
        pytest.skip("compiled before, JAX does not call the class again")
    with pytest.raises(ComputedError):
        made(uncomputable, "BERTMaskLM")(*INPUTS)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (TOKENS, "X: got shape (3, 6), must be (batch, num_steps, size)"),
        (np.ones((3, 6, 12), int), "X: got dtype int64, must be a floating dtype"),
        (draw(0, 3, 5, 12), "pred_positions: got position 5, must be between 0 and 4"),
    ],
)
def test_predictions_of_what_is_not_there_are_the_same_error_everywhere(any_backend, X, message):
    with pytest.raises(ValueError) as error:
        made(any_backend, "MaskLM")(X, POSITIONS)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("MaskLM", (VOCAB, SIZE, "tanh"), "activation: got 'tanh', must be one of 'relu', 'gelu'"),
        ("BERTEncoder", (*BERT, "tanh"), "activation: got 'tanh', must be one of 'relu', 'gelu'"),
        ("BERTEncoder", (11, 12, 10, 5, 2, 0), "num_hiddens: got 12, must be a positive multiple"),
        ("BERTMaskLM", (11, 12, 10, 3, 2, 1), "dropout: got 1, must be at least 0 and less than 1"),
    ],
)
def test_bad_options_are_the_same_error_everywhere(any_backend, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        any_backend.model(getattr(any_backend.api, name)(*arguments), *CLASSES[name][2])


pytest_plugins = ["d2l_peer"]
