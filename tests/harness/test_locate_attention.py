"""The frameworks' own attention layers: PyTorch's Transformer encoder, and ports of their layers.

Its queries, keys and values are one matrix, and in evaluation its layers run in one operator, in
which nothing could be seen. Ports are as somebody writes them who has the other framework's layers.
"""

import copy

import numpy as np
import pytest

import d2l_ext
from d2l_ext.porting import locate, parameters

torch = pytest.importorskip("torch")

SIZE, HEADS, INNER, STEPS = 12, 2, 20, 5  # heads are even, as PyTorch's faster path wants
X = np.random.default_rng(0).standard_normal((4, STEPS, SIZE))
PADDING = np.arange(STEPS) >= np.array([[4], [3], [2], [4]])
OWN = {"src_key_padding_mask": PADDING}


def original(**options):
    """Two layers with weights that leave nothing at zero, and their state dict."""
    options = {"activation": "gelu", "norm_first": True, "batch_first": True} | options
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(SIZE, HEADS, INNER, **options)
    model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model, {k: v.numpy() for k, v in model.state_dict().items()}


def of_layer(weights, number):
    """``{layer: (weight, bias)}`` of one layer."""
    own = {k.split(".", 2)[2]: w for k, w in weights.items() if k.startswith(f"layers.{number}.")}
    names = {name: name for name in ("norm1", "norm2", "linear1", "linear2")}
    names["out"] = "self_attn.out_proj"
    found = {name: (own[f"{n}.weight"], own[f"{n}.bias"]) for name, n in names.items()}
    thirds = (np.split(own[f"self_attn.in_proj_{leaf}"], 3) for leaf in ("weight", "bias"))
    return found | dict(zip(("query", "key", "value"), zip(*thirds, strict=True), strict=True))


def torch_port(weights, pool=None):
    from torch import nn
    from torch.nn import functional as F

    pool = pool or F.scaled_dot_product_attention

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(SIZE, SIZE) for _ in range(4))

        def forward(self, x, mask):
            q, k, v = (
                layer(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
                for layer in (self.query, self.key, self.value)
            )
            return self.out(pool(q, k, v, mask).transpose(1, 2).flatten(2))

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(SIZE), nn.LayerNorm(SIZE)
            self.attention = Attention()
            self.linear1, self.linear2 = nn.Linear(SIZE, INNER), nn.Linear(INNER, SIZE)

        def forward(self, x, mask):
            x = x + self.attention(self.norm1(x), mask)
            return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Layer(), Layer()])

        def forward(self, x, mask=None):
            for layer in self.layers:
                x = layer(x, None if mask is None else mask[:, None, None])
            return x

    port = Encoder().double()
    for number, layer in enumerate(port.layers):
        for name, values in of_layer(weights, number).items():
            own = getattr(layer if hasattr(layer, name) else layer.attention, name)
            for parameter, value in zip((own.weight, own.bias), values, strict=True):
                parameter.data[:] = torch.from_numpy(value)
    return port


def nnx_port(weights, **attention):
    from flax import nnx

    options = {"param_dtype": "float64", "rngs": nnx.Rngs(0)}

    class Layer(nnx.Module):
        def __init__(self):
            self.norm1, self.norm2 = (nnx.LayerNorm(SIZE, epsilon=1e-5, **options) for _ in "12")
            self.attention = nnx.MultiHeadAttention(
                HEADS, SIZE, decode=False, **attention, **options
            )
            self.linear1, self.linear2 = (
                nnx.Linear(*sizes, **options) for sizes in ((SIZE, INNER), (INNER, SIZE))
            )

        def __call__(self, x, mask):
            x = x + self.attention(self.norm1(x), mask=mask)
            return x + self.linear2(nnx.gelu(self.linear1(self.norm2(x)), approximate=False))

    class Encoder(nnx.Module):
        def __init__(self):
            self.layers = nnx.List([Layer(), Layer()])

        def __call__(self, x, mask=None):
            for layer in self.layers:
                x = layer(x, None if mask is None else mask[:, None, None])
            return x

    port = Encoder()
    for number, layer in enumerate(port.layers):
        for name, (weight, bias) in of_layer(weights, number).items():
            own = getattr(layer if hasattr(layer, name) else layer.attention, name)
            kernel = own.scale if name.startswith("norm") else own.kernel
            kernel[...] = weight.T.reshape(kernel.shape)
            own.bias[...] = bias.reshape(own.bias.shape)
    return port


def linen_port(weights):
    from flax import linen as nn

    options = {"param_dtype": "float64"}

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x, mask=None):
            mask = None if mask is None else mask[:, None, None]
            for i in range(2):
                y = nn.LayerNorm(1e-5, name=f"norm1_{i}", **options)(x)
                attention = nn.MultiHeadDotProductAttention(HEADS, name=f"heads_{i}", **options)
                x = x + attention(y, mask=mask)
                y = nn.LayerNorm(1e-5, name=f"norm2_{i}", **options)(x)
                y = nn.gelu(nn.Dense(INNER, name=f"linear1_{i}", **options)(y), approximate=False)
                x = x + nn.Dense(SIZE, name=f"linear2_{i}", **options)(y)
            return x

    tree = {}
    for i in range(2):
        own = of_layer(weights, i)
        for name in ("norm1", "norm2"):
            tree[f"{name}_{i}"] = dict(zip(("scale", "bias"), own[name], strict=True))
        for name in ("linear1", "linear2"):
            tree[f"{name}_{i}"] = {"kernel": own[name][0].T, "bias": own[name][1]}
        heads = tree[f"heads_{i}"] = {}
        for name in ("query", "key", "value"):
            weight, bias = own[name]
            kernel = weight.T.reshape(SIZE, HEADS, -1)
            heads[name] = {"kernel": kernel, "bias": bias.reshape(HEADS, -1)}
        weight, bias = own["out"]
        heads["out"] = {"kernel": weight.T.reshape(HEADS, -1, SIZE), "bias": bias}
    return Encoder(), {"params": tree}


def keras_port(weights):
    import keras
    from keras import layers

    options = {"dtype": "float64"}

    class Encoder(keras.Model):
        def __init__(self):
            super().__init__(**options)
            self.norms = [layers.LayerNormalization(epsilon=1e-5, **options) for _ in range(4)]
            self.heads = [
                layers.MultiHeadAttention(HEADS, SIZE // HEADS, **options) for _ in range(2)
            ]
            self.first = [layers.Dense(INNER, "gelu", **options) for _ in range(2)]
            self.second = [layers.Dense(SIZE, **options) for _ in range(2)]

        def call(self, x, mask=None):
            for i in range(2):
                y = self.norms[2 * i](x)
                mask_of_all = None if mask is None else mask[:, None]
                x = x + self.heads[i](y, y, attention_mask=mask_of_all)
                x = x + self.second[i](self.first[i](self.norms[2 * i + 1](x)))
            return x

    port = Encoder()
    port(X)
    for i in range(2):
        own = of_layer(weights, i)
        heads = port.heads[i]
        places = {
            port.norms[2 * i]: "norm1",
            port.norms[2 * i + 1]: "norm2",
            port.first[i]: "linear1",
            port.second[i]: "linear2",
            heads.query_dense: "query",
            heads.key_dense: "key",
            heads.value_dense: "value",
            heads.output_dense: "out",
        }
        for layer, name in places.items():
            for variable, value in zip(layer.weights, own[name], strict=True):
                variable.assign(value.T.reshape(variable.shape))
    return port


PORTS = {"torch": torch_port, "nnx": nnx_port, "linen": linen_port, "tensorflow": keras_port}


@pytest.fixture(
    params=["torch", "nnx", "tensorflow", pytest.param("linen", marks=pytest.mark.slow)]
)
def made(request):
    """The original, a right port of another framework, and the original's weights."""
    column = "jax" if request.param in ("nnx", "linen") else request.param
    if column not in d2l_ext.installed():
        pytest.skip(f"{column} is not installed")
    d2l_ext.backend(column)
    model, weights = original()
    return model, PORTS[request.param](weights)


def test_nothing_is_found_in_a_right_port_with_padding_and_gradients(made):
    model, port = made
    found = locate(model, port, X, options_a=OWN, inputs_b=[X, ~PADDING])
    assert found.differences == [], str(found)
    assert found.unmapped == ([], [])
    assert {row.kind for row in found.rows} >= {"norm", "attention", "linear"}
    assert any(row.gradient is not None for row in found.rows if row.kind == "attention")


@pytest.mark.parametrize(
    "made",
    ["torch", *(pytest.param(name, marks=pytest.mark.slow) for name in PORTS if name != "torch")],
    indirect=True,
)
def test_what_a_mask_means_and_whether_it_is_used_are_told_apart(made):
    model, port = made
    for own, cause, sides in (
        ([PADDING], "mask polarity", "A True is left out, B True attends"),
        ([], "padding not masked", "A used, B not used"),
    ):
        inputs = {"options_a": OWN, "inputs_b": [X, *own]}
        found = locate(model, port, X, **inputs, backward=False)
        assert found.place == "layers.0.self_attn", str(found)
        assert cause in found.cause and sides in found.explanation, str(found)
        assert [one.place for one in found.differences] == [
            "layers.0.self_attn",
            "layers.1.self_attn",
        ]


def test_a_detached_key_is_found_where_the_softmax_is_in_float32():
    """JAX's is, whatever its inputs: values differ by more than float64's rounding, too."""
    pytest.importorskip("flax")
    d2l_ext.backend("jax")
    from flax import nnx
    from jax.lax import stop_gradient

    def attend(q, k, v, **options):
        return nnx.dot_product_attention(q, stop_gradient(k), v, **options)

    model, weights = original()
    found = locate(model, nnx_port(weights, attention_fn=attend), X)
    assert [one.cause for one in found.differences] == ["gradient stopped"] * 2, str(found)
    assert [one.place for one in found.limits] == ["layers.0.self_attn", "layers.1.self_attn"]
    right = locate(model, nnx_port(weights), X)
    assert right.differences == []
    assert [one.place for one in right.limits] == ["layers.0.self_attn", "layers.1.self_attn"]


def test_a_scale_and_a_detached_key_are_named():
    from torch.nn import functional as F

    model, weights = original()
    plain = F.scaled_dot_product_attention
    for pool, causes, words in (
        (lambda q, *rest: plain(q, *rest, scale=1.0), {"attention scale 1 / sqrt(d)"}, "none"),
        (lambda q, k, *rest: plain(q, k.detach(), *rest), {"gradient stopped"}, "key.weight"),
    ):
        found = locate(model, torch_port(weights, pool), X)
        assert {one.cause for one in found.differences} == causes, str(found)
        assert found.place == "layers.0.self_attn"
        assert words in found.explanation


def test_weights_of_another_projection_are_named():
    """Queries for keys: each is a matrix of the right shape."""
    model, weights = original()
    wrong = dict(weights)
    whole = weights["layers.1.self_attn.in_proj_weight"]
    wrong["layers.1.self_attn.in_proj_weight"] = np.roll(whole, SIZE, axis=0)
    found = locate(model, torch_port(wrong), X, backward=False)
    assert (found.place, found.cause) == ("layers.1.self_attn", "other parameter values")
    assert "query.weight" in found.explanation


@pytest.mark.parametrize("batch_first", [False, True])
def test_queries_keys_and_values_of_their_own_sizes(batch_first):
    """Then they have a matrix each; and time may come first."""
    torch.manual_seed(0)
    options = {"kdim": 7, "vdim": 9, "batch_first": batch_first}
    model = torch.nn.MultiheadAttention(SIZE, HEADS, **options).double().eval()
    port = copy.deepcopy(model)
    draw = np.random.default_rng(0).standard_normal
    inputs = [draw((3, n, size)) for n, size in ((5, SIZE), (4, 7), (4, 9))]
    inputs = inputs if batch_first else [x.swapaxes(0, 1) for x in inputs]
    own = parameters(model, *inputs)
    assert own["query.weight"].shape == (SIZE, SIZE) and own["key.weight"].shape == (SIZE, 7)
    assert {name.partition(".")[0] for name in own} == {"query", "key", "value", "out"}
    assert len(own) == 8
    assert not locate(model, port, *inputs).differences
    keep = np.arange(4) < np.array([[4], [2], [3]])
    found = locate(model, port, *inputs, options_a={"key_padding_mask": ~keep}, backward=False)
    assert found.cause == "padding not masked", str(found)


def test_the_faster_path_is_switched_off_only_while_one_looks():
    model, weights = original()
    assert torch.backends.mha.get_fastpath_enabled()
    assert len(locate(model, torch_port(weights), X, backward=False).rows) == 26
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_layer_that_is_given_one_array_three_times_has_one_gradient():
    """The port is given it once, and by that one is its gradient."""

    class Once(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            own = isinstance(self.inner, torch.nn.MultiheadAttention)
            return self.inner(x, x, x)[0] if own else self.inner(x, None)

    model, weights = original()
    a = Once(model.layers[0].self_attn)
    b = Once(torch_port(weights).layers[0].attention)
    found = locate(a, b, X)
    assert found.differences == [], str(found)
    inside = [row for row in found.rows if row.place.endswith("→ inner")]
    assert inside and inside[0].gradient is not None
