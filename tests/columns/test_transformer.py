"""The Transformer in every column."""

import numpy as np
import pytest
import torch_peer
from hypothesis import given, settings
from hypothesis import strategies as st

SRC = np.array([[3, 1, 4, 1, 5, 2], [2, 6, 5, 0, 0, 0]])
TGT = np.array([[1, 2, 3, 7], [4, 5, 6, 0]])
LENS = np.array([6, 3])
OPTIONS = [
    {},
    dict(norm="pre", activation="gelu", use_bias=True, max_len=20),
]


@pytest.fixture(scope="module", params=OPTIONS, ids=["post-relu", "pre-gelu"])
def model(request, any_backend):
    """A float64 Transformer in each column."""
    api = any_backend.api
    module = api.EncoderDecoder(
        api.TransformerEncoder(7, 8, 10, 2, 2, 0.3, **request.param),
        api.TransformerDecoder(8, 8, 10, 2, 3, 0.3, **request.param),
    )
    return any_backend.model(module, SRC, TGT, LENS, dtype="float64")


def test_padding_never_matters(model):
    logits = model(SRC, TGT, LENS)
    assert logits.shape == (2, 4, 8)
    other = SRC.copy()
    other[1, 3:] = 6
    np.testing.assert_array_equal(model(other, TGT, LENS), logits)
    np.testing.assert_allclose(model(SRC[1:, :3], TGT[1:])[0], logits[1], rtol=1e-11, atol=1e-13)


@given(last=st.integers(0, 7), training=st.booleans())
@settings(max_examples=6)
def test_outputs_do_not_depend_on_later_tokens(model, last, training):
    """Also in evaluation, where three of D2L's tabs forget the causal mask."""
    other = TGT.copy()
    other[:, 3] = last
    np.testing.assert_array_equal(
        model(SRC, other, LENS, training=training)[:, :3],
        model(SRC, TGT, LENS, training=training)[:, :3],
    )


def test_cached_decoding_equals_full_decoding(model):
    logits = model(SRC, TGT, LENS)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    decoding = model.decoding(SRC, LENS)
    for t in range(4):
        values, ids = decoding.step(TGT[:, t], k=8)
        np.testing.assert_allclose(
            values, np.take_along_axis(log_probs[:, t], ids, -1), rtol=1e-11, atol=1e-13
        )


def test_long_cached_decoding_equals_full_decoding(any_backend):
    """Far beyond any first guess of the cache's size."""
    api = any_backend.api
    module = api.EncoderDecoder(
        api.TransformerEncoder(7, 4, 5, 2, 1, 0), api.TransformerDecoder(8, 4, 5, 2, 1, 0)
    )
    model = any_backend.model(module, SRC, TGT, LENS, dtype="float64")
    tokens = np.random.default_rng(0).integers(0, 8, (2, 70))
    logits = model(SRC, tokens, LENS)
    decoding = model.decoding(SRC, LENS)
    for t in range(70):
        values, ids = decoding.step(tokens[:, t], k=2)
        two = np.take_along_axis(logits[:, t], ids, -1)
        np.testing.assert_allclose(values[:, 0] - values[:, 1], two[:, 0] - two[:, 1], atol=1e-12)


def test_reordered_rows_continue_as_themselves(model):
    decoding, wanted = model.decoding(SRC, LENS), model.decoding(SRC, LENS)
    for t in range(2):
        for d in (decoding, wanted):
            d.step(TGT[:, t])
    decoding.reorder([1, 0, 1])
    values, ids = decoding.step(TGT[[1, 0, 1], 2], k=3)
    values_wanted, ids_wanted = wanted.step(TGT[:, 2], k=3)
    np.testing.assert_array_equal(ids, ids_wanted[[1, 0, 1]])
    np.testing.assert_allclose(values, values_wanted[[1, 0, 1]], rtol=1e-12)


def test_free_running_is_fed_its_own_tokens(model):
    logits = model(SRC, TGT, LENS, np.array([True, False, True, False]))
    fed = TGT.copy()
    fed[:, 1], fed[:, 3] = logits[:, 0].argmax(-1), logits[:, 2].argmax(-1)
    np.testing.assert_allclose(model(SRC, fed, LENS), logits, rtol=1e-11, atol=1e-13)


def test_attention_weights_of_every_block(model):
    model(SRC, TGT, LENS)
    own, cross = model.attention_weights
    assert own.shape == (3, 4, 4, 4) and cross.shape == (3, 4, 4, 6)  # (blocks, batch * heads, ...)
    np.testing.assert_allclose(own.sum(-1), 1, rtol=1e-14)
    assert (np.triu(own, 1) == 0).all()
    assert (cross[:, 2:, :, 3:] == 0).all()


def test_dropout_acts_in_training_only(model):
    plain = model(SRC, TGT, LENS)
    np.testing.assert_array_equal(model(SRC, TGT, LENS), plain)
    assert np.abs(model(SRC, TGT, LENS, training=True) - plain).max() > 1e-3


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_equals_torchs_own(any_backend, norm, activation):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, lens = rng.standard_normal((2, 5, 8)), np.array([5, 3])
    module = any_backend.api.TransformerEncoderBlock(8, 10, 2, 0.1, True, norm, activation)
    model = any_backend.model(module, X, lens, dtype="float64")
    model.load_parameters({k: rng.standard_normal(v) for k, v in model.shapes().items()})
    names = {"linear1": "ffn.dense1", "linear2": "ffn.dense2"}
    names |= {"norm1": "addnorm1.ln", "norm2": "addnorm2.ln"}
    options = {"activation": activation, "norm_first": norm == "pre"}
    peer = torch_peer.encoder_layer(model.parameters(), names, 2, **options)
    padding = torch.arange(5) >= torch.from_numpy(lens)[:, None]
    wanted = peer(torch.from_numpy(X), src_key_padding_mask=padding).detach()
    np.testing.assert_allclose(model(X, lens), wanted, rtol=1e-10, atol=1e-10)


def test_d2l_encoder_weights_give_d2l_outputs(any_backend, d2l_torch):
    import torch

    peer = d2l_torch.TransformerEncoder(7, 8, 10, 2, 2, 0.1).double().eval()
    with torch.no_grad():
        # D2L's table of positions is float32; ours is rounded from float64.
        wanted = peer(torch.from_numpy(SRC), torch.from_numpy(LENS)).numpy()
    module = any_backend.api.TransformerEncoder(7, 8, 10, 2, 2, 0.1)
    model = any_backend.model(module, SRC, LENS, dtype="float64")
    model.load_parameters({k: v.numpy() for k, v in peer.state_dict().items()})
    have = model(SRC, LENS)
    np.testing.assert_allclose(have[0], wanted[0], rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(have[1, :3], wanted[1, :3], rtol=2e-6, atol=2e-6)


def test_several_steps_go_into_reserved_room():
    torch = pytest.importorskip("torch")
    from d2l_ext.torch import TransformerDecoder

    decoder = TransformerDecoder(7, 8, 10, 2, 2, 0.0).double().eval()
    memory, X = torch.randn(2, 4, 8).double(), torch.randint(0, 7, (2, 6))
    with torch.no_grad():
        state = decoder.init_state(memory, torch.tensor([4, 2]))
        whole, _ = decoder(X, state)
        for start, end in ((0, 2), (2, 3), (3, 6)):
            state = decoder.reserve(state, end - start, least=3)
            logits, state = decoder(X[:, start:end], state)
            torch.testing.assert_close(logits, whole[:, start:end], rtol=1e-11, atol=1e-13)


def test_a_decoder_block_takes_d2ls_state(any_backend):
    rng = np.random.default_rng(0)
    X, memory = rng.standard_normal((2, 3, 8)), rng.standard_normal((2, 5, 8))
    module = any_backend.api.TransformerDecoderBlock(8, 10, 2, 0.1, 0)
    model = any_backend.model(module, X, [memory, np.array([5, 3]), [None]], dtype="float64")
    output, state = model(X, [memory, np.array([5, 3]), [None]])
    assert output.shape == (2, 3, 8)
    np.testing.assert_array_equal(state[0], memory)
    first, _ = model(X[:, :1], [memory, np.array([5, 3]), [None]])
    np.testing.assert_allclose(first, output[:, :1], rtol=1e-11, atol=1e-13)


def test_a_decoder_block_goes_on_from_d2ls_state(any_backend):
    rng = np.random.default_rng(0)
    X, memory, lens = rng.standard_normal((2, 5, 8)), rng.standard_normal((2, 5, 8)), [5, 3]
    module = any_backend.api.TransformerDecoderBlock(8, 10, 2, 0.1, 0)
    model = any_backend.model(module, X, [memory, np.array(lens), [None]], dtype="float64")
    output, _ = model(X, [memory, np.array(lens), [None]])
    caches = [None]
    for start, end in ((0, 2), (2, 3), (3, 5)):  # several steps, one, several
        part, state = model(X[:, start:end], [memory, np.array(lens), caches])
        np.testing.assert_allclose(part, output[:, start:end], rtol=1e-11, atol=1e-13)
        caches = state[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(norm="both"), "norm: got 'both', must be one of 'post', 'pre'"),
        (dict(activation="tanh"), "activation: got 'tanh', must be one of 'relu', 'gelu'"),
    ],
)
def test_bad_options_are_the_same_error_everywhere(any_backend, options, message):
    with pytest.raises(ValueError, match=message):
        module = any_backend.api.TransformerEncoder(7, 8, 10, 2, 1, 0, **options)
        any_backend.model(module, SRC, LENS)


def test_sequences_longer_than_the_positions_are_an_error(any_backend):
    module = any_backend.api.TransformerEncoder(7, 8, 10, 2, 1, 0, max_len=5)
    with pytest.raises(ValueError, match="X: got 6 steps from position 0"):
        any_backend.model(module, SRC, LENS)


pytest_plugins = ["d2l_peer"]
