"""Encoders, decoders and the masked loss, in every column."""

import numpy as np
import pytest

from d2l_ext.nested import leaves

pytest_plugins = ["d2l_peer"]

SRC = np.array([[3, 1, 4, 1, 5, 2], [2, 6, 5, 0, 0, 0]])
TGT = np.array([[1, 2, 3], [4, 5, 6]])
LENS = np.array([6, 3])
ENCODERS = ("Seq2SeqEncoder", "LSTMEncoder", "BidirectionalEncoder")
PAIRS = [
    ("Seq2SeqEncoder", "Seq2SeqDecoder", {}),
    ("LSTMEncoder", "LSTMDecoder", {}),
    ("Seq2SeqEncoder", "Seq2SeqAttentionDecoder", {}),
    ("BidirectionalEncoder", "Seq2SeqAttentionDecoder", {}),
    ("LSTMEncoder", "LSTMAttentionDecoder", {}),
    ("Seq2SeqEncoder", "LuongDecoder", {}),
    ("Seq2SeqEncoder", "LuongDecoder", {"attention": "dot"}),
    ("BidirectionalEncoder", "LuongDecoder", {"attention": "additive"}),
]


def translator(be, encoder, decoder, options=None, **model):
    api = be.api
    module = api.EncoderDecoder(
        getattr(api, encoder)(7, 3, 4, 2, 0.3), getattr(api, decoder)(8, 5, 4, 2, 0.3, **options)
    )
    return be.model(module, SRC, TGT, LENS, dtype="float64", **model)


@pytest.fixture(scope="module", params=PAIRS, ids=lambda p: "-".join(map(str, p)))
def model(request, any_backend):
    """A float64 model of each pair of encoder and decoder in each column."""
    return translator(any_backend, *request.param)


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_of_the_source_changes_nothing(any_backend, name):
    module = getattr(any_backend.api, name)(7, 3, 4, 2)
    model = any_backend.model(module, SRC, LENS, dtype="float64")
    outputs, state = model(SRC, LENS)
    assert outputs.shape == (6, 2, 4)
    assert all(s.shape == (2, 2, 4) for s in leaves(state))
    assert (outputs[3:, 1] == 0).all()
    other = SRC.copy()
    other[1, 3:] = 6
    for a, b in zip(leaves(model(other, LENS)), leaves((outputs, state)), strict=True):
        np.testing.assert_array_equal(a, b)
    alone = model(SRC[1:, :3])  # without any padding
    np.testing.assert_allclose(alone[0][:, 0], outputs[:3, 1], rtol=1e-13, atol=1e-15)
    for a, b in zip(leaves(alone[1]), leaves(state), strict=True):
        np.testing.assert_allclose(a[:, 0], b[:, 1], rtol=1e-13, atol=1e-15)


def test_padding_never_matters_to_the_logits(model):
    logits = model(SRC, TGT, LENS)
    assert logits.shape == (2, 3, 8)
    other = SRC.copy()
    other[1, 3:] = 6
    np.testing.assert_array_equal(model(other, TGT, LENS), logits)
    np.testing.assert_allclose(model(SRC[1:, :3], TGT[1:])[0], logits[1], rtol=1e-12, atol=1e-14)


def test_step_by_step_equals_all_at_once(model):
    wanted = model(SRC, TGT, LENS)
    shifted = wanted - wanted.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    decoding = model.decoding(SRC, LENS)
    for t in range(3):
        values, ids = decoding.step(TGT[:, t], k=8)
        assert (np.diff(values) <= 0).all()
        np.testing.assert_array_equal(np.sort(ids), np.tile(np.arange(8), (2, 1)))
        np.testing.assert_allclose(
            values, np.take_along_axis(log_probs[:, t], ids, -1), rtol=1e-12, atol=1e-14
        )


def test_reordered_rows_continue_as_themselves(model):
    decoding, wanted = model.decoding(SRC, LENS), model.decoding(SRC, LENS)
    for d in (decoding, wanted):
        d.step(TGT[:, 0])
    decoding.reorder([1, 0, 1])
    values, ids = decoding.step(TGT[[1, 0, 1], 1], k=3)
    values_wanted, ids_wanted = wanted.step(TGT[:, 1], k=3)
    np.testing.assert_array_equal(ids, ids_wanted[[1, 0, 1]])
    np.testing.assert_allclose(values, values_wanted[[1, 0, 1]], rtol=1e-12)


def test_teacher_forcing_with_all_coins_true_is_the_plain_call(model):
    coins = np.array([True, True, True])
    np.testing.assert_allclose(
        model(SRC, TGT, LENS, coins), model(SRC, TGT, LENS), rtol=1e-12, atol=1e-14
    )


def test_without_teacher_forcing_the_model_is_fed_its_own_tokens(model):
    coins = np.array([True, False, True])
    logits = model(SRC, TGT, LENS, coins)
    fed = TGT.copy()
    fed[:, 1] = logits[:, 0].argmax(-1)
    np.testing.assert_allclose(model(SRC, fed, LENS), logits, rtol=1e-12, atol=1e-14)


def test_attention_weights_have_the_documented_shape(model):
    model(SRC, TGT, LENS)
    weights = model.attention_weights
    if type(model.module).__name__ == "EncoderDecoder" and weights is None:
        assert type(model.module.decoder).__name__ in ("Seq2SeqDecoder", "LSTMDecoder")
        return
    assert weights.shape == (3, 2, 1, 6)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-14)
    assert (weights[:, 1, :, 3:] == 0).all()


def test_dropout_acts_in_training_only(model):
    plain = model(SRC, TGT, LENS)
    np.testing.assert_array_equal(model(SRC, TGT, LENS), plain)
    dropped = model(SRC, TGT, LENS, training=True)
    assert np.abs(dropped - plain).max() > 1e-3
    np.testing.assert_array_equal(model(SRC, TGT, LENS, training=True), dropped)  # same masks
    if model.backend.name != "reference":  # the reference has no generator of its own
        own = model(SRC, TGT, LENS, training=True, dropout="own")
        assert np.abs(own - plain).max() > 1e-4


def test_a_decoder_alone_takes_its_state_as_arrays(any_backend):
    be = any_backend
    whole = translator(be, "Seq2SeqEncoder", "Seq2SeqAttentionDecoder", {})
    encoder = be.model(be.api.Seq2SeqEncoder(7, 3, 4, 2), SRC, LENS, dtype="float64")
    encoder.load_parameters(part(whole, "encoder"))
    outputs = encoder(SRC, LENS)
    start = [np.swapaxes(outputs[0], 0, 1), outputs[1], LENS]  # D2L's three entries
    decoder = be.model(be.api.Seq2SeqAttentionDecoder(8, 5, 4, 2), TGT, start, dtype="float64")
    decoder.load_parameters(part(whole, "decoder"))
    state = decoder.call("init_state", outputs, LENS)
    logits, after = decoder(TGT, state)
    np.testing.assert_allclose(decoder(TGT, start)[0], logits, rtol=1e-13)
    np.testing.assert_allclose(logits, whole(SRC, TGT, LENS), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(after[2], LENS)


def part(model, name):
    prefix = name + "."
    found = {k: v for k, v in model.parameters().items() if k.startswith(prefix)}
    return {k.removeprefix(prefix): v for k, v in found.items()}


def test_masked_loss_is_the_mean_over_real_tokens(any_backend):
    rng = np.random.default_rng(0)
    Y_hat, Y = rng.standard_normal((2, 3, 5)), np.array([[1, 2, 4], [3, 4, 4]])
    be = any_backend
    exps = np.exp(Y_hat)
    losses = -np.log(np.take_along_axis(exps / exps.sum(-1, keepdims=True), Y[..., None], -1))
    for pad, wanted in [
        (None, losses.mean()),
        (4, losses[..., 0][Y != 4].mean()),
        (0, losses.mean()),
    ]:
        loss = be.numpy(be.api.masked_loss(*be.array((Y_hat, Y)), pad))
        assert loss.shape == ()
        np.testing.assert_allclose(loss, wanted, rtol=1e-13)


def test_masked_loss_of_padding_alone_is_zero(any_backend):
    be, Y = any_backend, np.full((2, 3), 4)
    Y_hat = np.random.default_rng(0).standard_normal((2, 3, 5))
    loss, (gradient, _) = be.vjp(
        lambda y_hat, y: be.api.masked_loss(y_hat, y, 4), (Y_hat, Y), np.array(1.0)
    )
    assert loss == 0 and (gradient == 0).all()


def test_masked_loss_of_extreme_logits_is_finite(any_backend):
    be = any_backend
    Y_hat = np.array([[[1e4, -1e4, 0.0]]], np.float32)
    loss = be.api.masked_loss(*be.array((Y_hat, np.array([[1]]))))
    np.testing.assert_allclose(be.numpy(loss), 2e4, rtol=1e-6)


BAD = [
    ((SRC - 1, TGT, LENS), "X: got token -1, must be between 0 and 6"),
    ((SRC, TGT + 3, LENS), "dec_X: got token 9, must be between 0 and 7"),
    ((SRC[0], TGT, LENS), r"X: got shape \(6,\), must be \(batch, num_steps\)"),
    ((SRC, TGT[:1], LENS), "dec_X: got batch size 1, must be that of enc_X, 2"),
    ((SRC * 1.0, TGT, LENS), "X: got dtype float64, must be an integer dtype"),
    ((SRC, TGT, LENS + 1), "valid_lens: got 7, must be between 0 and 6"),
    ((SRC, TGT, LENS - 4), "valid_lens: got -1, must be between 0 and 6"),
    ((SRC, TGT, LENS / 4), "valid_lens: got 1.5, must be a whole number"),
    ((SRC, TGT, LENS > 3), "valid_lens: got dtype bool, must be an integer dtype"),
    ((SRC, TGT, LENS, np.array([True])), r"teacher_forcing: got shape \(1,\), must be \(3,\)"),
]


@pytest.mark.parametrize(("inputs", "message"), BAD)
def test_bad_inputs_are_the_same_error_everywhere(any_backend, inputs, message):
    model = _checked(any_backend)
    with pytest.raises(ValueError, match=message):
        model(*inputs)
    with pytest.raises(ValueError, match=message):
        model.vjp(inputs, np.zeros((2, 3, 8)))


_models = {}


def _checked(be):
    if be.name not in _models:
        _models[be.name] = translator(be, "Seq2SeqEncoder", "Seq2SeqAttentionDecoder", {})
    return _models[be.name]


def test_bad_inputs_of_a_trainer_are_the_same_error_and_change_nothing(backend):
    model = translator(backend, "Seq2SeqEncoder", "Seq2SeqAttentionDecoder", {})
    trainer, before = backend.trainer(model, 0.01, 1.0, pad=0), model.parameters()
    for batch, message in [
        ((SRC, TGT, LENS + 1, TGT), "valid_lens: got 7"),
        ((SRC + 4, TGT, LENS, TGT), "X: got token 10"),
        ((SRC, TGT, LENS, TGT + 5), "Y: got token 11, must be between 0 and 7"),
        ((SRC, TGT, LENS, TGT[:, :2]), r"Y: got shape \(2, 2\), must be \(2, 3\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            trainer.step(batch)
    assert trainer.num_steps == 0
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_d2l_encoder_weights_give_d2l_outputs(any_backend, d2l_torch):
    import torch

    peer = d2l_torch.Seq2SeqEncoder(7, 3, 4, 2).double()
    model = any_backend.model(any_backend.api.Seq2SeqEncoder(7, 3, 4, 2), SRC, dtype="float64")
    model.load_parameters({k: v.numpy() for k, v in peer.state_dict().items()})
    with torch.no_grad():
        wanted = peer(torch.from_numpy(SRC))
    for have, want in zip(model(SRC), wanted, strict=True):
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["DotProductAttention", "AdditiveAttention"])
def test_d2l_attention_weights_give_d2l_outputs(any_backend, d2l_torch, name):
    import torch

    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(shape) for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 6)))
    lens = np.array([2, 5])
    arguments = {"num_hiddens": 7} if name == "AdditiveAttention" else {}
    peer = getattr(d2l_torch, name)(dropout=0.1, **arguments).double().eval()
    with torch.no_grad():
        wanted = peer(*map(torch.from_numpy, (q, k, v, lens))).numpy()
    module = getattr(any_backend.api, name)(dropout=0.1, **arguments)
    model = any_backend.model(module, q, k, v, lens, dtype="float64")
    model.load_parameters({k: v.numpy() for k, v in peer.state_dict().items()})
    np.testing.assert_allclose(model(q, k, v, lens), wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model.attention_weights, peer.attention_weights.numpy(), rtol=1e-12)


def test_d2l_trainer_trains_our_decoder_unchanged(d2l_torch):
    """`d2l.Seq2Seq` and `d2l.Trainer`, as in the book, around our torch encoder and decoder."""
    import torch

    from d2l_ext import torch as ours

    class Data(d2l_torch.DataModule):
        def __init__(self):
            super().__init__()
            self.batch_size, self.num_workers = 2, 0
            self.arrays = [torch.from_numpy(x) for x in (SRC, TGT, LENS, np.roll(TGT, -1, 1))]

        def get_dataloader(self, train):
            return self.get_tensorloader(self.arrays, train)

    torch.manual_seed(0)
    model = d2l_torch.Seq2Seq(
        ours.Seq2SeqEncoder(7, 8, 16, 2, 0.1),
        ours.Seq2SeqAttentionDecoder(8, 8, 16, 2, 0.1),
        tgt_pad=0,
        lr=0.02,
    )
    losses = []
    model.plot = lambda key, value, train: losses.append(value.item()) if train else None
    d2l_torch.Trainer(max_epochs=60, gradient_clip_val=1).fit(model, Data())
    assert losses[-1] < 0.2 < 1.5 < losses[0]
    assert len(model.decoder.attention_weights) == 3
