"""The common interface: what code that must not know the framework relies on."""

import inspect
import math

import numpy as np
import pytest

import d2l_ext
from d2l_ext import interface, randomness
from d2l_ext.nested import leaves, nest

SRC = np.array([[3, 1, 4, 1, 5, 2], [2, 6, 5, 0, 0, 0]])
TGT = np.array([[1, 2, 3], [4, 5, 6]])
LENS = np.array([6, 3])
BATCH = (SRC, TGT, LENS, np.array([[2, 3, 7], [5, 7, 7]]))


def translator(be, dropout=0.3, **options):
    api = be.api
    module = api.EncoderDecoder(
        api.Seq2SeqEncoder(7, 3, 4, 2, dropout), api.Seq2SeqAttentionDecoder(8, 5, 4, 2, dropout)
    )
    return be.model(module, SRC, TGT, LENS, **options)


@pytest.fixture(scope="module")
def model(any_backend):
    return translator(any_backend, dtype="float64")


@pytest.mark.parametrize(
    "x",
    [
        np.float32([[1.5, -2]]),
        np.float64([1, np.nan, np.inf]),
        np.array([3, -1], np.int64),
        np.array([7], np.int32),
        np.array([True, False]),
        np.array(2.5),
    ],
)
def test_arrays_go_there_and_back(any_backend, x):
    again = any_backend.numpy(any_backend.array(x))
    assert again.dtype == x.dtype
    np.testing.assert_array_equal(again, x)


def test_arrays_nest(any_backend):
    value = (np.ones(2), [None, np.zeros(1)])
    again = any_backend.numpy(any_backend.array(value))
    assert type(again) is tuple and type(again[1]) is list and again[1][0] is None
    np.testing.assert_array_equal(again[1][1], [0])


def test_an_array_is_a_copy(any_backend):
    x = np.zeros(3)
    y = any_backend.array(x)
    x[0] = 1
    assert any_backend.numpy(y)[0] == 0


def test_the_start_is_the_same_everywhere(model):
    """Names, shapes and values; and equal in both precisions."""
    shapes = {
        "encoder.embedding.weight": (7, 3),
        "encoder.rnn.rnn.weight_ih_l0": (12, 3),
        "encoder.rnn.rnn.weight_hh_l0": (12, 4),
        "encoder.rnn.rnn.bias_ih_l0": (12,),
        "encoder.rnn.rnn.bias_hh_l0": (12,),
        "encoder.rnn.rnn.weight_ih_l1": (12, 4),
        "encoder.rnn.rnn.weight_hh_l1": (12, 4),
        "encoder.rnn.rnn.bias_ih_l1": (12,),
        "encoder.rnn.rnn.bias_hh_l1": (12,),
        "decoder.attention.W_k.weight": (4, 4),
        "decoder.attention.W_q.weight": (4, 4),
        "decoder.attention.w_v.weight": (1, 4),
        "decoder.embedding.weight": (8, 5),
        "decoder.rnn.weight_ih_l0": (12, 9),
        "decoder.rnn.weight_hh_l0": (12, 4),
        "decoder.rnn.bias_ih_l0": (12,),
        "decoder.rnn.bias_hh_l0": (12,),
        "decoder.rnn.weight_ih_l1": (12, 4),
        "decoder.rnn.weight_hh_l1": (12, 4),
        "decoder.rnn.bias_ih_l1": (12,),
        "decoder.rnn.bias_hh_l1": (12,),
        "decoder.dense.weight": (8, 4),
        "decoder.dense.bias": (8,),
    }
    assert model.shapes() == shapes
    drawn = randomness.initial_parameters(shapes, 0)
    for name, value in model.parameters().items():
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, drawn[name], err_msg=name)


def test_initial_parameters_follow_the_stated_distributions():
    drawn = randomness.initial_parameters(
        {"a.weight": (300, 200), "embedding.weight": (400, 100), "b.bias": (5,), "ln.weight": (4,)},
        seed=3,
    )
    bound = math.sqrt(6 / 500)
    assert 0.99 * bound < np.abs(drawn["a.weight"]).max() <= bound
    assert abs(drawn["a.weight"].std() - bound / math.sqrt(3)) < 1e-3
    assert abs(drawn["embedding.weight"].std() - 1) < 0.02
    assert (drawn["b.bias"] == 0).all() and (drawn["ln.weight"] == 1).all()
    other = randomness.initial_parameters({"a.weight": (300, 200)}, seed=4)
    assert (other["a.weight"] != drawn["a.weight"]).mean() > 0.99


def test_dropout_masks_keep_the_expectation_and_depend_on_the_step():
    layers = {"a": (0.25, (200, 300)), "b": (0.25, (200, 300))}
    masks = randomness.dropout_masks(layers, seed=0, step=5)
    assert set(np.unique(masks["a"])) == {0, np.float32(1 / 0.75)}
    assert abs(masks["a"].mean() - 1) < 0.01
    for other in (masks["b"], randomness.dropout_masks(layers, 0, 6)["a"]):
        assert 0.3 < (other != masks["a"]).mean() < 0.45
    np.testing.assert_array_equal(randomness.dropout_masks(layers, 0, 5)["a"], masks["a"])


def test_teacher_coins_have_the_ratio():
    coins = randomness.teacher_coins(2000, 0.3, seed=0, step=0)
    assert coins[0] and abs(coins.mean() - 0.3) < 0.04
    assert randomness.teacher_coins(50, 1.0, 0, 0).all()
    assert not randomness.teacher_coins(50, 0.0, 0, 0)[1:].any()


def test_masks_that_leave_a_layer_out_are_refused(model):
    masks = {k: np.ones(s) for k, (_, s) in model.dropout_layers(SRC, TGT, LENS).items()}
    del masks["decoder.attention.dropout"]
    with pytest.raises(ValueError, match=r"^dropout: got no mask for decoder\.attention\.dropout$"):
        model(SRC, TGT, LENS, training=True, dropout=masks)


def test_dropout_layers_are_the_same_everywhere(model):
    assert model.dropout_layers(SRC, TGT, LENS) == {
        "encoder.rnn.rnn.dropout_l1": (0.3, (6, 2, 4)),
        "decoder.attention.dropout": (0.3, (3, 2, 1, 6)),
        "decoder.rnn.dropout_l1": (0.3, (3, 2, 4)),
    }


def test_given_masks_are_used(model):
    ones = {k: np.ones(s) for k, (_, s) in model.dropout_layers(SRC, TGT, LENS).items()}
    plain = model(SRC, TGT, LENS)
    np.testing.assert_array_equal(model(SRC, TGT, LENS, training=True, dropout=ones), plain)
    for name in ones:
        half = ones | {name: ones[name] / 2}
        changed = model(SRC, TGT, LENS, training=True, dropout=half)
        assert np.abs(changed - plain).max() > 1e-6, name


def test_parameters_are_copies(model):
    model.parameters()["decoder.dense.bias"][:] = 7
    assert (model.parameters()["decoder.dense.bias"] == 0).all()


def test_loading_is_strict_and_lists_everything_that_is_wrong(model):
    before = model.parameters()
    wrong = {k: v + 1 for k, v in before.items()}
    del wrong["decoder.dense.bias"]
    wrong["decoder.dense.weight"] = np.zeros((8, 5))
    wrong["decoder.extra"] = np.zeros(1)
    with pytest.raises(ValueError) as error:
        model.load_parameters(wrong)
    for part in (
        "decoder.dense.bias is missing",
        "decoder.extra is unknown",
        "decoder.dense.weight has shape (8, 5), must be (8, 4)",
    ):
        assert part in str(error.value)
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_vjp_is_linear_in_the_cotangent_and_matches_the_call(model):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2, 3, 8))
    outputs, grads_a, inputs = model.vjp((SRC, TGT, LENS), a)
    np.testing.assert_allclose(outputs, model(SRC, TGT, LENS), rtol=1e-13)
    assert inputs == (None, None, None)
    _, grads_b, _ = model.vjp((SRC, TGT, LENS), b)
    _, grads_ab, _ = model.vjp((SRC, TGT, LENS), a + 2 * b)
    assert list(grads_ab) == list(model.shapes()) or set(grads_ab) == set(model.shapes())
    for name in grads_ab:
        wanted = grads_a[name] + 2 * grads_b[name]
        np.testing.assert_allclose(grads_ab[name], wanted, rtol=1e-10, atol=1e-12)


def test_a_cotangent_of_none_is_zero_and_unused_parameters_get_zeros(any_backend):
    be, X = any_backend, np.random.default_rng(0).standard_normal((5, 2, 3))
    model = be.model(be.api.GRU(3, 4, 2), X, dtype="float64")
    (outputs, state), grads, (X_grad,) = model.vjp((X,), (None, np.ones((2, 2, 4))))
    assert outputs.shape == (5, 2, 4) and state.shape == (2, 2, 4) and X_grad.shape == X.shape
    (_, _), grads_last, _ = model.vjp(
        (X,), (np.eye(5)[4][:, None, None] * np.ones((5, 2, 4)), None)
    )
    one_layer = np.zeros((2, 2, 4))
    one_layer[0] = 1
    _, grads_first, _ = model.vjp((X,), (None, one_layer))
    assert (grads_first["rnn.weight_ih_l1"] == 0).all()
    for name in grads:
        np.testing.assert_allclose(
            grads[name], grads_first[name] + grads_last[name], rtol=1e-10, atol=1e-13
        )


def test_vjp_of_a_function(any_backend):
    be = any_backend
    x, y, n = np.array([[1.0, 2]]), np.array([[3.0, 5]]), np.array([4])
    (product, none), (gx, gy, gn) = be.vjp(
        lambda x, y, n: (x * y, None), (x, y, n), (np.array([[1.0, 10]]), None)
    )
    np.testing.assert_array_equal(product, [[3, 10]])
    np.testing.assert_array_equal(gx, [[3, 50]])
    np.testing.assert_array_equal(gy, [[1, 20]])
    assert none is None and gn is None


def test_a_model_keeps_its_dtype(any_backend):
    for dtype in ("float32", "float64"):
        model = translator(any_backend, dtype=dtype)
        outputs, grads, _ = model.vjp((SRC, TGT, LENS), np.ones((2, 3, 8)))
        arrays = [outputs, model(SRC, TGT, LENS), model.attention_weights, *grads.values()]
        assert {str(a.dtype) for a in arrays} == {dtype}


def test_half_precisions_work_where_the_framework_has_them(any_backend):
    be = any_backend
    wanted = translator(be, dtype="float32")(SRC, TGT, LENS)
    for dtype in ("bfloat16", "float16"):
        if dtype in be.dtypes:
            have = translator(be, dtype=dtype)(SRC, TGT, LENS)
            assert np.abs(have.astype(np.float32) - wanted).max() < 0.05
        else:
            with pytest.raises(ValueError, match=rf"dtype \({be.name}\): got '{dtype}', must be"):
                translator(be, dtype=dtype)


def test_the_columns_that_have_half_precision_say_so():
    for name in d2l_ext.installed():
        assert ("float16" in d2l_ext.backend(name).dtypes) == (name != "mxnet")


def adam(model, batch, lr, max_norm, pad, steps):
    """The trainer's formula in NumPy, on the model's own gradients."""
    *inputs, labels = batch
    real = labels != pad
    m = v = None
    losses = []
    for t in range(1, steps + 1):
        logits = model(*inputs)
        exps = np.exp(logits - logits.max(-1, keepdims=True))
        probs = exps / exps.sum(-1, keepdims=True)
        picked = np.take_along_axis(probs, labels[..., None], -1)[..., 0]
        losses.append(-(np.log(picked) * real).sum() / real.sum())
        cotangent = (probs - np.eye(8)[labels]) * real[..., None] / real.sum()
        _, g, _ = model.vjp(inputs, cotangent)
        norm = math.sqrt(sum((x * x).sum() for x in g.values()))
        scale = min(1, max_norm / norm)
        m = m or {k: 0 * x for k, x in g.items()}
        v = v or {k: 0 * x for k, x in g.items()}
        params = model.parameters()
        for k, x in g.items():
            m[k] = 0.9 * m[k] + 0.1 * scale * x
            v[k] = 0.999 * v[k] + 0.001 * (scale * x) ** 2
            step = m[k] / (1 - 0.9**t) / (np.sqrt(v[k] / (1 - 0.999**t)) + 1e-8)
            params[k] = params[k] - lr * step
        model.load_parameters(params)
    return losses


@pytest.mark.parametrize("max_norm", [0.05, 1e3])
def test_a_trainer_does_the_stated_formula(any_backend, max_norm):
    ours = translator(any_backend, dropout=0, dtype="float64", seed=1)
    trainer = any_backend.trainer(ours, 0.01, max_norm, pad=7)
    losses = [trainer.step(BATCH) for _ in range(5)]
    wanted = translator(any_backend, dropout=0, dtype="float64", seed=1)
    np.testing.assert_allclose(losses, adam(wanted, BATCH, 0.01, max_norm, 7, 5), rtol=1e-11)
    # Where a gradient is rounding, Adam makes a full step of it: compare what is above that.
    for name, value in ours.parameters().items():
        np.testing.assert_allclose(value, wanted.parameters()[name], atol=1e-8, err_msg=name)
    np.testing.assert_allclose(
        trainer.loss(BATCH), any_backend.trainer(wanted, 0.01, pad=7).loss(BATCH), rtol=1e-9
    )


def test_pad_decides_which_labels_count(any_backend):
    model = translator(any_backend, dropout=0, dtype="float64")
    other = (*BATCH[:3], np.where(BATCH[3] == 7, 6, BATCH[3]))
    with_pad, without = any_backend.trainer(model, 0.1, pad=7), any_backend.trainer(model, 0.1)
    assert abs(without.loss(BATCH) - with_pad.loss(BATCH)) > 1e-3
    assert abs(without.loss(BATCH) - without.loss(other)) > 1e-3
    all_pad = (*BATCH[:3], np.full((2, 3), 7))
    assert with_pad.loss(all_pad) == 0


def test_training_resumes_from_its_state(any_backend):
    """Three steps, stop, three more: the same as six, bit for bit, with dropout."""
    whole = translator(any_backend)
    trainer = any_backend.trainer(whole, 0.01, 1.0, pad=7)
    wanted = [trainer.step(BATCH) for _ in range(6)]

    first = translator(any_backend)
    half = any_backend.trainer(first, 0.01, 1.0, pad=7)
    losses = [half.step(BATCH) for _ in range(3)]
    second = translator(any_backend, seed=0)
    second.load_parameters(first.parameters())
    rest = any_backend.trainer(second, 0.01, 1.0, pad=7)
    rest.load_state(half.state())
    assert rest.num_steps == 3
    losses += [rest.step(BATCH) for _ in range(3)]
    assert losses == wanted
    for name, value in second.parameters().items():
        np.testing.assert_array_equal(value, whole.parameters()[name])


def test_a_trainer_state_is_checked(any_backend):
    trainer = any_backend.trainer(translator(any_backend), 0.01)
    state = trainer.state()
    state["v"] = {k: v for k, v in state["v"].items() if k != "decoder.dense.bias"}
    with pytest.raises(ValueError, match=r"decoder\.dense\.bias is missing"):
        trainer.load_state(state)


def test_the_learning_rate_may_change_between_steps(any_backend):
    model = translator(any_backend, dtype="float64")
    trainer = any_backend.trainer(model, 0.01)
    trainer.step(BATCH)
    before = model.parameters()
    trainer.lr = 1e-30
    trainer.step(BATCH)
    for name, value in model.parameters().items():
        np.testing.assert_allclose(value, before[name], rtol=0, atol=1e-25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(lr=0), "lr: got 0, must be a positive number"),
        (dict(lr=math.nan), "lr: got nan"),
        (dict(lr=0.1, max_norm=-1), "max_norm: got -1, must be a positive number or None"),
    ],
)
def test_bad_options_of_a_trainer_are_errors(any_backend, options, message):
    with pytest.raises(ValueError, match=message):
        any_backend.trainer(translator(any_backend), **options)


def test_every_trainer_takes_or_refuses_to_compile(any_backend, monkeypatch):
    """Both give the same step; what a framework cannot do is refused before anything is done."""
    if any_backend.name == "torch":  # whose compiler takes half a minute
        monkeypatch.setattr("torch.compile", lambda function: function)
    compiles, losses = any_backend._trainer.compiles, []
    for wanted in (None, *compiles):
        trainer = any_backend.trainer(translator(any_backend, dtype="float64"), 1, compile=wanted)
        assert trainer.compile == (compiles[0] if wanted is None else wanted)
        with any_backend.eagerly(False):
            losses.append([trainer.step(BATCH) for _ in range(2)])
    np.testing.assert_allclose(losses[1:], [losses[0]] * (len(losses) - 1), rtol=1e-12)
    for refused in {True, False} - {*compiles}:
        with pytest.raises(ValueError, match=rf"compile \({any_backend.name}\): got {refused}"):
            any_backend.trainer(translator(any_backend), 0.1, compile=refused)


def test_the_docstrings_say_what_every_hook_does():
    for cls in (interface.Backend, interface.Model, interface.Trainer, interface.Decoding):
        for name in cls.__abstractmethods__:
            assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"
            assert "return" in getattr(cls, name).__annotations__, f"{cls.__name__}.{name}"
            assert not inspect.getsource(getattr(cls, name)).rstrip().endswith("...")


def test_pytorchs_random_state_is_the_users():
    """Masks are drawn in NumPy, and finding out their shapes spends none of the user's numbers."""
    torch = pytest.importorskip("torch")
    be = d2l_ext.backend("torch")
    module = be.api.EncoderDecoder(
        be.api.Seq2SeqEncoder(7, 3, 4, 2, 0.3), be.api.Seq2SeqAttentionDecoder(8, 5, 4, 2, 0.3)
    )
    before = torch.get_rng_state()
    model = be.model(module, SRC, TGT, LENS)
    model(SRC, TGT, LENS, training=True)
    be.trainer(model, 0.01).step(BATCH)
    assert torch.equal(torch.get_rng_state(), before)
    model(SRC, TGT, LENS, training=True, dropout="own")
    assert not torch.equal(torch.get_rng_state(), before)


def test_decoding_returns_two_arrays(any_backend):
    decoding = translator(any_backend).decoding(SRC, LENS)
    found = decoding.step(np.array([1, 2]), k=3)
    assert isinstance(found, tuple) and [x.shape for x in found] == [(2, 3), (2, 3)]


def test_training_agrees_with_torch_with_dropout(any_backend):
    """Twenty steps: losses within rounding of each other, in float64."""
    torch = pytest.importorskip("torch") and d2l_ext.backend("torch")
    runs = []
    for be in (torch, any_backend):
        trainer = be.trainer(translator(be, dtype="float64"), 0.01, 1.0, pad=7)
        runs.append([trainer.step(BATCH) for _ in range(20)])
    assert runs[0][0] - runs[0][-1] > 0.05
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-11)


def test_attention_weights_are_not_kept_by_training(any_backend):
    model = translator(any_backend)
    model(SRC, TGT, LENS)
    kept = model.attention_weights.copy()
    any_backend.trainer(model, 0.01).step(BATCH)
    np.testing.assert_array_equal(model.attention_weights, kept)


def test_nest_and_leaves():
    assert nest(lambda x, y: x + y, (1, [2, None]), (3, [4, 5])) == (4, [6, None])
    assert leaves((1, [2, None, (3,)])) == [1, 2, 3]
