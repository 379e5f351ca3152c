"""GRU and LSTM: the common parametrisation, and padding that changes no state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = dict(num_inputs=3, num_hiddens=4, num_layers=2)


@pytest.fixture(scope="module", params=["GRU", "LSTM"])
def pair(request, any_backend):
    """A float64 model of each class in each column, and torch's own layer with its weights."""
    torch = pytest.importorskip("torch")
    X = np.zeros((6, 2, 3))
    model = any_backend.model(getattr(any_backend.api, request.param)(**SIZES), X, dtype="float64")
    rng = np.random.default_rng(0)
    model.load_parameters({k: rng.standard_normal(v) for k, v in model.shapes().items()})
    peer = getattr(torch.nn, request.param)(3, 4, 2).double()
    peer.load_state_dict(
        {k.removeprefix("rnn."): torch.from_numpy(v) for k, v in model.parameters().items()}
    )
    return model, peer


def states_of(model, value):
    return value if isinstance(value, (tuple, list)) else (value,)


@given(seed=st.integers(0, 99))
@settings(max_examples=4)
def test_equals_torchs_own_on_padded_batches(pair, seed):
    import torch

    model, peer = pair
    rng = np.random.default_rng(seed)
    X, lens = rng.standard_normal((6, 2, 3)), rng.integers(1, 7, 2)
    outputs, states = model(X, None, lens)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(X), lens, enforce_sorted=False
    )
    wanted, finals = peer(packed)
    wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(wanted, total_length=6)
    np.testing.assert_allclose(outputs, wanted.detach().numpy(), rtol=1e-12, atol=1e-14)
    for have, final in zip(states_of(model, states), states_of(model, finals), strict=True):
        np.testing.assert_allclose(have, final.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_equals_torchs_own_from_an_initial_state(pair):
    import torch

    model, peer = pair
    rng = np.random.default_rng(1)
    X, n = rng.standard_normal((6, 2, 3)), len(states_of(model, model(np.zeros((6, 2, 3)))[1]))
    start = tuple(rng.standard_normal((2, 2, 4)) for _ in range(n))
    start = start if n > 1 else start[0]
    outputs, _ = model(X, start)
    tensors = tuple(map(torch.from_numpy, states_of(model, start)))
    wanted, _ = peer(torch.from_numpy(X), tensors if n > 1 else tensors[0])
    np.testing.assert_allclose(outputs, wanted.detach().numpy(), rtol=1e-12, atol=1e-14)


@given(seed=st.integers(0, 99), junk=st.sampled_from([0.0, 1e3, -1e30]))
@settings(max_examples=4)
def test_padding_changes_nothing(pair, seed, junk):
    model, _ = pair
    rng = np.random.default_rng(seed)
    X, lens = rng.standard_normal((6, 2, 3)), np.array([3, 0])
    outputs, states = model(X, None, lens)
    assert (outputs[3:, 0] == 0).all() and (outputs[:, 1] == 0).all()
    X[3:, 0], X[:, 1] = junk, junk
    again, same = model(X, None, lens)
    np.testing.assert_array_equal(again, outputs)
    for a, b in zip(states_of(model, states), states_of(model, same), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a[:, 1] == 0).all()  # a sequence of length 0 keeps its initial state


def test_the_final_state_is_the_last_real_output(pair):
    model, _ = pair
    X = np.random.default_rng(2).standard_normal((6, 2, 3))
    outputs, states = model(X, None, np.array([2, 5]))
    top = states_of(model, states)[0][-1]
    np.testing.assert_array_equal(top, [outputs[1, 0], outputs[4, 1]])


BAD = [
    ((6, 3), None, None, r"inputs: got shape \(6, 3\), must be \(num_steps, batch, num_inputs\)"),
    ((6, 2, 4), None, None, r"inputs: got shape \(6, 2, 4\), must have size 3 on axis 2"),
    ((6, 2, 3), (2, 3, 4), None, r"H_c: got shape \(2, 3, 4\), must be \(2, 2, 4\)"),
    ((6, 2, 3), None, [7, 1], "valid_lens: got 7, must be between 0 and 6"),
    ((6, 2, 3), None, [1, 2, 3], r"valid_lens: got shape \(3,\), must be \(2,\)"),
]


@pytest.mark.parametrize(("shape", "state", "lens", "message"), BAD)
def test_bad_inputs_are_the_same_error_everywhere(any_backend, shape, state, lens, message):
    model = any_backend.model(any_backend.api.GRU(**SIZES), np.zeros((6, 2, 3)))
    state = None if state is None else np.zeros(state)
    with pytest.raises(ValueError, match=message):
        model(np.zeros(shape), state, None if lens is None else np.array(lens))


def backward_steps(tensor):
    """Yield the names of the steps of PyTorch's backward pass, each once."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            yield node.name()


@pytest.mark.parametrize("decoder", ["Seq2SeqAttentionDecoder", "LSTMAttentionDecoder"])
def test_torchs_backward_pass_writes_no_zeros_around_a_step(decoder):
    """An index's gradient is as large as what it was taken from: all steps, at every step."""
    torch = pytest.importorskip("torch")
    from d2l_ext import torch as api

    encoder = "LSTMEncoder" if decoder.startswith("LSTM") else "Seq2SeqEncoder"
    sizes = 11, 4, 4, 2, 0.5
    parts = getattr(api, encoder)(*sizes), getattr(api, decoder)(*sizes)
    model = api.EncoderDecoder(*parts)
    ids, lens = torch.ones(2, 3, dtype=torch.int64), torch.tensor([2, 3])
    logits = model(ids, ids, lens)
    assert {"SelectBackward0", "SliceBackward0"}.isdisjoint(backward_steps(logits))
    assert logits.is_contiguous()  # the loss takes them as they are
