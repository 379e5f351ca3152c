"""`locate` names place and cause in wrong ports in plain framework code, and none in right ones."""

import contextlib
import copy
import doctest

import numpy as np
import ports
import pytest

import d2l_ext
from d2l_ext.porting import locate, parameters, propose

# Gluon's own recurrent layers use an old name of its arrays.
pytestmark = pytest.mark.filterwarnings("ignore:ndarray.context has been renamed")

# What each mistake is to be called, and where: after the last layer before it, in the original.
ENCODER = {
    "epsilon": ("norm1", "layer-norm epsilon"),
    "gelu": ("fc1 → dropout", "GELU form"),
    "transposed": ("W_o", "transposed kernel"),
    "no bias": ("out", "missing bias"),
    "no mask": ("W_v → W_o", "padding not masked"),
    "polarity": ("W_v → W_o", "mask polarity"),
    "softmax axis": ("W_v → W_o", "softmax axis"),
    "no scale": ("W_v → W_o", "attention scale 1 / sqrt(d)"),
    "no sqrt": ("embedding → W_q", "embedding scale sqrt(d)"),
    "position": ("embedding → W_q", "position offset"),
    "dropout": ("dropout", "dropout left on"),
    "mean": ("norm2 → out", "padding not masked"),
}
RECURRENT = {
    "gru gates": ("gru", "GRU gate order"),
    "lstm gates": ("lstm", "LSTM gate order"),
    "forget bias": ("lstm", "LSTM forget bias"),
    "recurrent transposed": ("gru", "transposed kernel"),
    "no hidden bias": ("gru", "missing recurrent bias"),
    "layout": ("gru", "batch first or time first"),
}
# These can be made in Keras only; its recurrent layers know one layout only.
KERAS = {
    "reset": ("gru", "GRU reset gate"),
    "float32": ("embedding", "float32 for float64"),
}
# In each framework that takes long to start or run, `make test` tries these; the rest is slow.
FAST = {
    "jax": {"epsilon", "gelu", "polarity", "no bias", "no sqrt"},
    "nnx": {"epsilon", "gelu", "transposed", "gru gates", "no hidden bias"},
    "tensorflow": {"reset", "float32", "epsilon", "no mask", "gru gates", "forget bias"},
}


def cases():
    for framework in (*d2l_ext.COLUMNS, "nnx"):  # "jax" is Linen
        for model, known in (("Encoder", ENCODER), ("Recurrent", RECURRENT)):
            mistakes = dict(known)
            if framework == "tensorflow":
                mistakes.pop("layout", None)
                name = "reset" if model == "Recurrent" else "float32"
                mistakes[name] = KERAS[name]
            for mistake, (place, cause) in {None: (None, None), **mistakes}.items():
                fast = framework not in FAST or mistake in FAST[framework]
                if (framework, mistake) in (("mxnet", "gelu"), ("mxnet", "dropout")):
                    place = "fc1 → fc2"  # there, dropout is a function
                yield pytest.param(
                    *(framework, model, mistake, place, cause),
                    marks=[] if fast else pytest.mark.slow,
                    id=f"{framework}-{mistake or f'{model}-right'}".replace(" ", "_"),
                )


def located(framework, model, mistake=None, **options):
    column = "jax" if framework == "nnx" else framework
    if column not in d2l_ext.installed():
        pytest.skip(f"{column} is not installed")
    d2l_ext.backend(column)  # for MXNet, a line before it is imported; for JAX, float64
    a, weights = ports.original(model)
    if framework == "nnx" and model == "Recurrent":  # its GRU has no hidden bias at all
        weights["gru.bias_hh_l0"][2 * ports.SIZE :] = 0  # in the model, too
    b, call = ports.PORTS[framework](model, weights, mistake)
    inputs = (ports.TOKENS, ports.LENS) if model == "Encoder" else (ports.TOKENS,)
    mode = contextlib.nullcontext()
    if (framework, mistake) == ("mxnet", "dropout"):
        from mxnet import autograd

        mode = autograd.train_mode()
    # Wrong ports have right gradients elsewhere: `test_backward` has what is wrong with gradients.
    with mode:
        return locate(a, b, *inputs, options_b=call, backward=mistake is None, **options)


@pytest.mark.parametrize(("framework", "model", "mistake", "place", "cause"), list(cases()))
def test_ports(framework, model, mistake, place, cause):
    found = located(framework, model, mistake)
    if mistake is None:
        assert found.differences == [], str(found)
        assert (found.place, found.cause) == (None, None)
        assert str(found).startswith(f"no difference in {len(found.rows)} places")
        return
    assert found.place == place, str(found)
    # One mistake may show a second difference: an inverted mask leaves a row without a key.
    assert cause in found.cause, str(found)
    assert len(found.differences) == (2 if mistake == "epsilon" else 1), str(found)
    assert found.error > 1e4 * found.budget
    if model == "Encoder":
        assert found.unmapped == (["out.bias"] if mistake == "no bias" else [], [])


def test_two_mistakes_are_both_found_each_at_its_place():
    d2l_ext.backend("torch")
    a, weights = ports.original("Encoder")
    b, _ = ports.torch_port("Encoder", weights, "gelu")
    b.norm2.eps = 1e-12
    b.W_q.weight.data[:] = b.W_q.weight.data.T.clone()
    found = locate(a, b, ports.TOKENS, ports.LENS)
    assert [(d.place, d.cause) for d in found.differences] == [
        ("W_q", "transposed kernel"),
        ("fc1 → dropout", "GELU form"),
        ("norm2", "layer-norm epsilon"),
    ]
    wrong = {name for (name, _), error in found.parameters.items() if error}
    assert wrong == {"W_q.weight"}


def test_the_original_may_be_the_one_with_other_habits():
    """PyTorch code that was ported from Keras, with Keras's gates."""
    d2l_ext.backend("tensorflow")
    _, weights = ports.original("Recurrent")
    a, _ = ports.tensorflow_port("Recurrent", weights)
    b, _ = ports.torch_port("Recurrent", weights, "gru gates")
    found = locate(a, b, ports.TOKENS)
    assert (found.place.startswith("gru"), found.cause) == (True, "GRU gate order")


def test_float32_tells_a_mistake_from_rounding():
    d2l_ext.backend("torch")
    for mistake in (None, "gelu", "no mask"):
        a, weights = ports.original("Encoder")
        b, _ = ports.torch_port("Encoder", weights, mistake)
        a.float(), b.float()
        positions = ports.positions
        ports.positions = lambda start=0, full=positions: full(start).astype("float32")
        try:
            found = locate(a, b, ports.TOKENS, ports.LENS)
        finally:
            ports.positions = positions
        assert found.cause == (mistake and ENCODER[mistake][1]), str(found)


def test_a_cause_that_is_not_known_is_unknown_but_has_its_place():
    import torch

    def model(function):
        return torch.nn.Sequential(torch.nn.Linear(3, 3), function, torch.nn.Linear(3, 2)).double()

    class Cosine(torch.nn.Module):
        def forward(self, x):
            return torch.cos(x)

    a, b = model(torch.nn.Tanh()), model(Cosine())
    b.load_state_dict(a.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 3))
    found = locate(a, b, x)
    assert (found.place, found.cause) == ("1", "unknown")

    b = model(torch.nn.Tanh())
    b.load_state_dict(a.state_dict())
    with torch.no_grad():
        b[2].weight[1, 1] += 1e-9
    found = locate(a, b, x)
    assert (found.place, found.cause) == ("2", "other parameter values")
    assert found.explanation.startswith("2.weight (error")


def test_activations_inside_dense_layers_come_after_them():
    keras = pytest.importorskip("keras")
    import torch

    a = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LeakyReLU(), torch.nn.Linear(4, 2))
    a.double()
    x = keras.Input((3,), dtype="float64")
    hidden = keras.layers.Dense(4, activation="leaky_relu", dtype="float64")
    out = keras.layers.Dense(2, dtype="float64")
    b = keras.Model(x, out(hidden(x)))
    for layer, linear in ((hidden, a[0]), (out, a[2])):
        layer.set_weights([linear.weight.detach().numpy().T, linear.bias.detach().numpy()])
    found = locate(a, b, np.random.default_rng(0).standard_normal((5, 3)))
    assert found.cause == "activation"
    assert "A leaky ReLU (0.01), B leaky ReLU (0.2)" in found.explanation
    assert hidden.activation is not None


def test_two_products_may_be_computed_in_another_order():
    torch = pytest.importorskip("torch")

    class Gated(torch.nn.Module):
        def __init__(self, names, function):
            super().__init__()
            for name in ("gate", "up", "down"):
                setattr(self, name, torch.nn.Linear(5, 5))
            self.names, self.function = names, function

        def forward(self, X):
            products = {name: getattr(self, name)(X) for name in self.names}
            return self.down(self.function(products["gate"]) * products["up"])

    torch.manual_seed(0)
    a = Gated(("up", "gate"), torch.nn.functional.silu).double()
    X = np.random.default_rng(0).standard_normal((2, 5))
    for function, causes in ((a.function, []), (torch.nn.functional.gelu, ["activation"])):
        b = Gated(("gate", "up"), function).double()
        b.load_state_dict(a.state_dict())
        assert [one.cause for one in locate(a, b, X).differences] == causes


def test_a_table_that_is_used_twice_and_in_the_port_has_a_copy():
    torch = pytest.importorskip("torch")

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.out = torch.nn.Embedding(7, 5), torch.nn.Linear(5, 5)
            self.second = self.first

        def forward(self, tokens):
            return self.out(self.first(tokens)) + self.second(tokens.flip(0))

    torch.manual_seed(0)
    a, tokens = Twice().double(), np.arange(6)
    b = copy.deepcopy(a)
    b.second = copy.deepcopy(a.first)
    assert not locate(a, b, tokens, backward=False).differences
    with torch.no_grad():
        b.second.weight += 1
    (found,) = locate(a, b, tokens, backward=False).differences
    assert found.cause == "other parameter values", found
    assert "second.weight" in found.explanation


def test_attention_without_parameters():
    import torch

    class Pool(torch.nn.Module):
        def __init__(self, scaled):
            super().__init__()
            self.scaled = scaled

        def forward(self, q, k, v, lens):
            scores = q @ k.transpose(1, 2) / (q.shape[-1] ** 0.5 if self.scaled else 1)
            mask = torch.arange(k.shape[1]) >= lens[:, None, None]
            return scores.masked_fill(mask, -torch.inf).softmax(-1) @ v

    draw = np.random.default_rng(0).standard_normal
    q, k, v = draw((2, 3, 4)), draw((2, 5, 4)), draw((2, 5, 6))
    found = locate(Pool(True), Pool(False), q, k, v, np.array([2, 5]))
    assert (found.place, found.cause) == ("the model", "attention scale 1 / sqrt(d)")


def test_a_gate_that_nnx_has_no_bias_for():
    d2l_ext.backend("jax")
    a, weights = ports.original("Recurrent")
    b, _ = ports.nnx_port("Recurrent", weights)
    assert locate(a, b, ports.TOKENS).place == "gru"


def test_a_cell_of_nnx_with_a_layer_for_each_gate():
    import torch
    from flax import nnx
    from jax import numpy as jnp

    d2l_ext.backend("jax")
    a = torch.nn.LSTM(3, 4, batch_first=True).double()
    a.bias_ih_l0.data[:] = 0
    cell = nnx.LSTMCell(3, 4, param_dtype="float64", rngs=nnx.Rngs(0))
    for i, gate in enumerate("ifgo"):
        rows = slice(4 * i, 4 * i + 4)
        of_input = getattr(cell, "if_" if gate == "f" else f"i{gate}")
        of_state = getattr(cell, f"h{gate}")
        of_input.kernel = nnx.Param(jnp.asarray(a.weight_ih_l0.data[rows].numpy().T))
        of_state.kernel = nnx.Param(jnp.asarray(a.weight_hh_l0.data[rows].numpy().T))
        of_state.bias = nnx.Param(jnp.asarray(a.bias_hh_l0.data[rows].numpy()))
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    own = parameters(nnx.RNN(cell), x)
    assert {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"} <= own.keys()
    assert not locate(a, nnx.RNN(cell), x).differences


OUR_MODELS = {
    "GRU": (lambda api: api.GRU(5, 4, 2), [np.ones((3, 2, 5))]),
    "encoder": (lambda api: api.Seq2SeqEncoder(7, 3, 4, 2), [ports.TOKENS % 7, ports.LENS]),
    "Transformer": (
        lambda api: api.TransformerEncoder(7, 4, 6, 2, 2, 0.1),
        [ports.TOKENS % 7, ports.LENS],
    ),
}


@pytest.mark.parametrize(
    "name", ["GRU", "Transformer", pytest.param("encoder", marks=pytest.mark.slow)]
)
def test_our_own_models(backend, name):
    build, inputs = OUR_MODELS[name]
    reference = d2l_ext.backend("reference")
    a = reference.model(build(reference.api), *inputs, dtype="float64")
    b = backend.model(build(backend.api), *inputs, dtype="float64")
    found = locate(a, b, *inputs)
    assert found.differences == [], str(found)
    assert len(found.rows) >= 4
    assert found.unmapped == ([], [])

    params = b.parameters()
    weight = next(n for n in params if n.endswith(("weight_hh_l0", "ffn.dense2.weight")))
    params[weight] = params[weight] + 1e-9
    b.load_parameters(params)
    found = locate(a, b, *inputs)
    assert found.place == weight.rpartition(".")[0], str(found)
    assert found.cause == "other parameter values"


def test_inputs_may_differ_in_layout():
    import torch

    a = torch.nn.GRU(3, 4).double()
    b = torch.nn.GRU(3, 4, batch_first=True).double()
    b.load_state_dict(a.state_dict())
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    assert not locate(a, b, x, inputs_b=[x.swapaxes(0, 1)]).differences
    assert locate(a, b, x).cause == "batch first or time first"


def test_mappings():
    import torch

    a = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).double()

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.A = torch.nn.Parameter(a[0].weight.detach().T.clone())
            self.a = torch.nn.Parameter(a[0].bias.detach().clone())
            self.last = torch.nn.Linear(4, 2).double()

        def forward(self, x):
            return self.last(x @ self.A + self.a)

    b = Own()
    b.last.load_state_dict(a[1].state_dict())
    x = np.ones((2, 3))
    own_a, own_b = parameters(a, x), parameters(b, x)
    mapping = {"0.weight": "A", "0.bias": "a", "1.weight": "last.weight", "1.bias": "last.bias"}
    assert propose(own_a, own_b) == mapping
    found = locate(a, b, x, mapping=mapping)
    assert not found.differences
    assert set(found.parameters.values()) == {0}
    turned = mapping | {"0.weight": ("A", np.transpose)}
    assert set(locate(a, b, x, mapping=turned).parameters.values()) == {0}
    with pytest.raises(ValueError, match=r"mapping: no parameter is called 2\.weight, B"):
        locate(a, b, x, mapping={"2.weight": "B"})


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="model: got list, must be a torch"):
        locate([], [], np.ones(3))


def test_models_are_left_as_they_were():
    import torch

    calls = torch.nn.Module.__call__
    a = torch.nn.Linear(2, 2).train()
    before = a.weight.clone()
    locate(a, a, np.ones((1, 2)))
    assert torch.nn.Module.__call__ is calls
    assert a.training and (a.weight == before).all() and a.weight.grad is None


def test_the_table_lists_all_places(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    found = located("torch", "Recurrent", "gru gates")
    found.table()
    text = capsys.readouterr().out
    assert "gru: GRU gate order" in text
    for row in found.rows:
        assert row.place in text


def test_the_docstring():
    for framework in ("torch", "jax"):
        if framework not in d2l_ext.installed():
            pytest.skip(f"{framework} is not installed")
    test = doctest.DocTestFinder().find(locate, "locate", globs={})[0]
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
