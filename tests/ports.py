"""A model and its ports, in plain code of each framework: right, or with one mistake.

`Encoder` is a small Transformer encoder and `Recurrent` a GRU and an LSTM. Nothing here uses
d2l_ext. PyTorch's are the originals; weights are its state dict, as NumPy.
"""

import math

import numpy as np

VOCAB, SIZE, HEADS, STEPS, BATCH = 11, 6, 2, 5, 3
TOKENS = np.random.default_rng(0).integers(1, VOCAB, (BATCH, STEPS))
LENS = np.array([5, 3, 2])
EPSILON = {"torch": 1e-3, "mxnet": 1e-12, "jax": 1e-6, "tensorflow": 1e-3}


def positions(start=0):
    angles = (start + np.arange(STEPS))[:, None] / 10000 ** (np.arange(0, SIZE, 2) / SIZE)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(STEPS, SIZE)


def allowed(lens, mistake, xp):
    """The mask of the keys (batch, 1, 1, steps), True attends, with the mistake if it is there."""
    real = xp.arange(STEPS) < lens[:, None, None, None]
    if mistake == "no mask":
        return real | True
    return ~real if mistake == "polarity" else real


def scale(mistake):
    return 1 if mistake == "no scale" else 1 / math.sqrt(SIZE // HEADS)


def torch_models():
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Encoder(nn.Module):
        def __init__(self, mistake=None):
            super().__init__()
            self.mistake = mistake
            eps = EPSILON["torch"] if mistake == "epsilon" else 1e-5
            self.embedding = nn.Embedding(VOCAB, SIZE)
            self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(SIZE, SIZE) for _ in range(4))
            self.norm1, self.norm2 = nn.LayerNorm(SIZE, eps), nn.LayerNorm(SIZE, eps)
            self.fc1, self.fc2 = nn.Linear(SIZE, 10), nn.Linear(10, SIZE)
            self.dropout = nn.Dropout(0.3)
            self.out = nn.Linear(SIZE, 4, bias=mistake != "no bias")

        def forward(self, tokens, lens):
            mistake = self.mistake
            X = self.embedding(tokens) * (1 if mistake == "no sqrt" else math.sqrt(SIZE))
            X = X + torch.from_numpy(positions(mistake == "position"))

            def split(Y):
                return Y.reshape(BATCH, STEPS, HEADS, -1).transpose(1, 2)

            q, k, v = split(self.W_q(X)), split(self.W_k(X)), split(self.W_v(X))
            scores = q @ k.transpose(2, 3) * scale(mistake)
            scores = scores.masked_fill(~allowed(lens, mistake, torch), -torch.inf)
            weights = scores.softmax(2 if mistake == "softmax axis" else 3)
            if mistake == "softmax axis":
                weights = weights.nan_to_num()
            Y = (weights @ v).transpose(1, 2).reshape(BATCH, STEPS, SIZE)
            X = self.norm1(X + self.W_o(Y))
            Y = F.gelu(self.fc1(X), approximate="tanh" if mistake == "gelu" else "none")
            X = self.norm2(X + self.fc2(self.dropout(Y)))
            real = (torch.arange(STEPS) < lens[:, None])[:, :, None]
            if mistake == "mean":
                return self.out(X.mean(1))
            return self.out((X * real).sum(1) / lens[:, None])

    class Recurrent(nn.Module):
        def __init__(self, mistake=None):
            super().__init__()
            self.mistake = mistake
            self.embedding = nn.Embedding(VOCAB, SIZE)
            self.gru = nn.GRU(SIZE, SIZE, batch_first=mistake == "layout")
            self.lstm = nn.LSTM(SIZE, SIZE)
            self.out = nn.Linear(SIZE, 4)

        def forward(self, tokens):
            X, _ = self.gru(self.embedding(tokens.T))
            X, _ = self.lstm(X)
            return self.out(X).transpose(0, 1)

    return Encoder, Recurrent


def original(name):
    """The model that is right, with weights that leave nothing at zero, and those weights."""
    import torch

    model = dict(zip(("Encoder", "Recurrent"), torch_models(), strict=True))[name]().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model.eval(), {k: v.numpy() for k, v in model.state_dict().items()}


def rows(array, order):
    """The gates of a recurrent weight in another order."""
    return np.concatenate([np.split(array, len(order))[i] for i in order])


def wrong_weights(w, mistake):
    """Mistakes in copying, for those frameworks whose layouts are PyTorch's."""
    w = dict(w)
    for layer, order in (("gru", (1, 0, 2)), ("lstm", (0, 1, 3, 2))):
        if mistake == f"{layer} gates":
            w |= {k: rows(v, order) for k, v in w.items() if k.startswith(layer + ".")}
    if mistake == "transposed":
        w["W_o.weight"] = w["W_o.weight"].T
    if mistake == "recurrent transposed":
        blocks = np.split(w["gru.weight_hh_l0"], 3)
        w["gru.weight_hh_l0"] = np.concatenate([block.T for block in blocks])
    if mistake == "forget bias":
        ones = np.zeros(4 * SIZE)
        ones[SIZE : 2 * SIZE] = 1
        w["lstm.bias_ih_l0"] = w["lstm.bias_ih_l0"] + ones
    if mistake == "no hidden bias":
        w["gru.bias_hh_l0"] = np.zeros(3 * SIZE)
    if mistake == "no bias":
        w.pop("out.bias", None)
    return w


def torch_port(name, w, mistake=None):
    import torch

    model = dict(zip(("Encoder", "Recurrent"), torch_models(), strict=True))[name](mistake).double()
    w = wrong_weights(w, mistake)
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in w.items()})
    return model.train(mistake == "dropout"), {}


def mxnet_port(name, w, mistake=None):
    from mxnet import np as xp
    from mxnet import npx
    from mxnet.gluon import nn, rnn

    class Encoder(nn.Block):
        def __init__(self):
            super().__init__()
            eps = EPSILON["mxnet"] if mistake == "epsilon" else 1e-5
            self.tokens = nn.Embedding(VOCAB, SIZE)
            self.query, self.key, self.value, self.merge = (
                nn.Dense(SIZE, flatten=False, in_units=SIZE) for _ in range(4)
            )
            self.norm1 = nn.LayerNorm(epsilon=eps, in_channels=SIZE)
            self.norm2 = nn.LayerNorm(epsilon=eps, in_channels=SIZE)
            self.fc1 = nn.Dense(10, flatten=False, in_units=SIZE)
            self.fc2 = nn.Dense(SIZE, flatten=False, in_units=10)
            self.out = nn.Dense(4, in_units=SIZE, use_bias=mistake != "no bias")

        def forward(self, tokens, lens):
            X = self.tokens(tokens) * (1 if mistake == "no sqrt" else math.sqrt(SIZE))
            X = X + xp.array(positions(mistake == "position"), dtype="float64")

            def split(Y):
                return Y.reshape(BATCH, STEPS, HEADS, -1).transpose(0, 2, 1, 3)

            q, k, v = split(self.query(X)), split(self.key(X)), split(self.value(X))
            scores = xp.matmul(q, k.transpose(0, 1, 3, 2)) * scale(mistake)
            keep = allowed(lens.asnumpy(), mistake, np)
            scores = scores + xp.array(np.where(keep, 0, -1e30), dtype="float64")
            weights = npx.softmax(scores, axis=2 if mistake == "softmax axis" else 3)
            if mistake == "softmax axis":
                weights = weights * xp.array(keep, dtype="float64")
            Y = xp.matmul(weights, v).transpose(0, 2, 1, 3).reshape(BATCH, STEPS, SIZE)
            X = self.norm1(X + self.merge(Y))
            Y = self.fc1(X)
            if mistake == "gelu":
                Y = 0.5 * Y * (1 + xp.tanh(math.sqrt(2 / math.pi) * (Y + 0.044715 * Y**3)))
            else:
                Y = 0.5 * Y * (1 + npx.erf(Y / math.sqrt(2)))
            X = self.norm2(X + self.fc2(npx.dropout(Y, p=0.3)))
            if mistake == "mean":
                return self.out(X.mean(axis=1))
            real = xp.array(np.arange(STEPS) < lens.asnumpy()[:, None], dtype="float64")
            total = (X * real[:, :, None]).sum(axis=1)
            return self.out(total / lens[:, None].astype("float64"))

    class Recurrent(nn.Block):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(VOCAB, SIZE)
            layout = "NTC" if mistake == "layout" else "TNC"
            self.gru = rnn.GRU(SIZE, layout=layout, input_size=SIZE)
            self.lstm = rnn.LSTM(SIZE, input_size=SIZE)
            self.out = nn.Dense(4, flatten=False, in_units=SIZE)

        def forward(self, tokens):
            X = self.lstm(self.gru(self.tokens(tokens.T)))
            return self.out(X).transpose(1, 0, 2)

    model = {"Encoder": Encoder, "Recurrent": Recurrent}[name]()
    model.initialize()
    model.cast("float64")
    names = {"embedding": "tokens", "W_q": "query", "W_k": "key", "W_v": "value", "W_o": "merge"}
    for key, value in wrong_weights(w, mistake).items():
        owner, leaf = key.split(".")
        if owner in ("gru", "lstm"):
            what, side, _ = leaf.split("_")
            leaf = f"l0_{side[0]}2h_{what}"
        if owner.startswith("norm"):
            leaf = {"weight": "gamma", "bias": "beta"}[leaf]
        parameter = getattr(getattr(model, names.get(owner, owner)), leaf)
        parameter.set_data(xp.array(value, dtype="float64"))
    return model, {}


def jax_port(name, w, mistake=None):
    import jax
    from flax import linen as nn
    from jax import numpy as jnp

    dense = {"param_dtype": "float64"}

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, tokens, lens, deterministic=True):
            eps = EPSILON["jax"] if mistake == "epsilon" else 1e-5
            X = nn.Embed(VOCAB, SIZE, **dense)(tokens)
            X = X * (1 if mistake == "no sqrt" else math.sqrt(SIZE))
            X = X + positions(mistake == "position")

            def split(Y):
                return Y.reshape(BATCH, STEPS, HEADS, -1).swapaxes(1, 2)

            q, k, v = (split(nn.Dense(SIZE, **dense)(X)) for _ in range(3))
            scores = q @ k.swapaxes(2, 3) * scale(mistake)
            keep = allowed(lens, mistake, jnp)
            axis = 2 if mistake == "softmax axis" else 3
            weights = jnp.nan_to_num(nn.softmax(jnp.where(keep, scores, -jnp.inf), axis=axis))
            Y = (weights @ v).swapaxes(1, 2).reshape(BATCH, STEPS, SIZE)
            X = nn.LayerNorm(eps, **dense)(X + nn.Dense(SIZE, **dense)(Y))
            Y = nn.gelu(nn.Dense(10, **dense)(X), approximate=mistake == "gelu")
            Y = nn.Dropout(0.3)(Y, deterministic=deterministic)
            X = nn.LayerNorm(eps, **dense)(X + nn.Dense(SIZE, **dense)(Y))
            real = jnp.arange(STEPS) < lens[:, None]
            pooled = X.mean(1) if mistake == "mean" else X.mean(1, where=real[:, :, None])
            return nn.Dense(4, use_bias=mistake != "no bias", **dense)(pooled)

    class Recurrent(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            X = nn.Embed(VOCAB, SIZE, **dense)(tokens)
            X = nn.RNN(nn.GRUCell(SIZE, **dense), time_major=mistake == "layout")(X)
            X = nn.RNN(nn.OptimizedLSTMCell(SIZE, **dense))(X)
            return nn.Dense(4, **dense)(X)

    def gates(w, layer, names):
        parts = {k: np.split(w[f"{layer}.{k}_l0"], len(names)) for k in ("weight_ih", "weight_hh")}
        bias_ih, bias_hh = (np.split(w[f"{layer}.bias_{s}_l0"], len(names)) for s in ("ih", "hh"))
        tree = {}
        for i, gate in enumerate(names):
            tree["i" + gate] = {"kernel": parts["weight_ih"][i].T}
            tree["h" + gate] = {"kernel": parts["weight_hh"][i].T}
            if layer == "lstm":
                tree["h" + gate]["bias"] = bias_ih[i] + bias_hh[i]
            else:
                lost = mistake == "no hidden bias" or gate == "n"
                tree["i" + gate]["bias"] = bias_ih[i] + (0 if lost else bias_hh[i])
        if layer == "gru":
            tree["hn"]["bias"] = bias_hh[2]
        return tree

    def linear(name):
        bias = {"bias": wrong[f"{name}.bias"]} if f"{name}.bias" in wrong else {}
        return {"kernel": wrong[f"{name}.weight"].T, **bias}

    keep_bias = mistake == "no hidden bias"  # Flax has a place for one of the gates only
    wrong = wrong_weights(w, None if keep_bias else mistake)
    params = {"Embed_0": {"embedding": wrong["embedding.weight"]}}
    if name == "Encoder":
        names = ("W_q", "W_k", "W_v", "W_o", "fc1", "fc2", "out")
        params |= {f"Dense_{i}": linear(n) for i, n in enumerate(names)}
        params |= {
            f"LayerNorm_{i}": {
                "scale": w[f"norm{i + 1}.weight"],
                "bias": w[f"norm{i + 1}.bias"],
            }
            for i in range(2)
        }
        module = Encoder()
    else:
        params |= {"Dense_0": linear("out"), "GRUCell_0": gates(wrong, "gru", "rzn")}
        params["OptimizedLSTMCell_0"] = gates(wrong, "lstm", "ifgo")
        module = Recurrent()
    if mistake == "dropout":
        rngs = {"dropout": jax.random.key(0)}
        return module.bind({"params": params}, rngs=rngs), {"deterministic": False}
    return (module, {"params": params}), {}


def nnx_port(name, w, mistake=None):
    from flax import nnx
    from jax import numpy as jnp

    options = {"param_dtype": "float64", "rngs": nnx.Rngs(0)}
    wrong = wrong_weights(w, mistake)

    def put(layer, **values):
        for leaf, value in values.items():
            setattr(layer, leaf, nnx.Param(jnp.asarray(value)))
        return layer

    def embedding():
        return put(nnx.Embed(VOCAB, SIZE, **options), embedding=wrong["embedding.weight"])

    def linear(name):
        kernel = wrong[f"{name}.weight"].T
        bias = {"bias": wrong[f"{name}.bias"]} if f"{name}.bias" in wrong else {}
        layer = nnx.Linear(*kernel.shape, use_bias=bool(bias), **options)
        return put(layer, kernel=kernel, **bias)

    def norm(name):
        eps = EPSILON["jax"] if mistake == "epsilon" else 1e-5
        layer = nnx.LayerNorm(SIZE, epsilon=eps, **options)
        return put(layer, scale=w[f"{name}.weight"], bias=w[f"{name}.bias"])

    class Encoder(nnx.Module):
        def __init__(self):
            self.embedding = embedding()
            self.projections = nnx.List([linear(f"W_{x}") for x in "qkv"])
            self.merge = linear("W_o")
            self.norm1, self.norm2 = norm("norm1"), norm("norm2")
            self.fc1, self.fc2, self.out = linear("fc1"), linear("fc2"), linear("out")
            self.dropout = nnx.Dropout(0.3, rngs=nnx.Rngs(0), deterministic=mistake != "dropout")

        def __call__(self, tokens, lens):
            X = self.embedding(tokens) * (1 if mistake == "no sqrt" else math.sqrt(SIZE))
            X = X + positions(mistake == "position")

            def split(Y):
                return Y.reshape(BATCH, STEPS, HEADS, -1).swapaxes(1, 2)

            q, k, v = (split(projection(X)) for projection in self.projections)
            scores = q @ k.swapaxes(2, 3) * scale(mistake)
            keep = allowed(lens, mistake, jnp)
            axis = 2 if mistake == "softmax axis" else 3
            weights = jnp.nan_to_num(nnx.softmax(jnp.where(keep, scores, -jnp.inf), axis=axis))
            Y = (weights @ v).swapaxes(1, 2).reshape(BATCH, STEPS, SIZE)
            X = self.norm1(X + self.merge(Y))
            Y = self.dropout(nnx.gelu(self.fc1(X), approximate=mistake == "gelu"))
            X = self.norm2(X + self.fc2(Y))
            real = jnp.arange(STEPS) < lens[:, None]
            return self.out(X.mean(1) if mistake == "mean" else X.mean(1, where=real[:, :, None]))

    def recurrent(cell, layer):
        """One bias for both sides; a GRU has no place for the hidden one of its proposal."""
        bias_ih, bias_hh = (wrong[f"{layer}.bias_{side}_l0"] for side in ("ih", "hh"))
        if layer == "gru":
            bias_hh = np.where(np.arange(3 * SIZE) < 2 * SIZE, bias_hh, 0)
        put(cell.dense_i, kernel=wrong[f"{layer}.weight_ih_l0"].T)
        put(cell.dense_h, kernel=wrong[f"{layer}.weight_hh_l0"].T)
        put(cell.dense_i if layer == "gru" else cell.dense_h, bias=bias_ih + bias_hh)
        return nnx.RNN(cell, time_major=layer == "gru" and mistake == "layout")

    class Recurrent(nnx.Module):
        def __init__(self):
            self.embedding = embedding()
            self.gru = recurrent(nnx.GRUCell(SIZE, SIZE, **options), "gru")
            self.lstm = recurrent(nnx.OptimizedLSTMCell(SIZE, SIZE, **options), "lstm")
            self.out = linear("out")

        def __call__(self, tokens):
            return self.out(self.lstm(self.gru(self.embedding(tokens))))

    return (Encoder() if name == "Encoder" else Recurrent()), {}


def tensorflow_port(name, w, mistake=None):
    import keras
    from keras import layers, ops

    dtype = "float32" if mistake == "float32" else "float64"

    def dense(size, **options):
        return layers.Dense(size, dtype=dtype, **options)

    class Encoder(keras.Model):
        def __init__(self):
            super().__init__(dtype=dtype)
            eps = EPSILON["tensorflow"] if mistake == "epsilon" else 1e-5
            self.embedding = layers.Embedding(VOCAB, SIZE, dtype=dtype)
            self.projections = [dense(SIZE) for _ in range(3)]
            self.merge = dense(SIZE)
            self.norm1 = layers.LayerNormalization(epsilon=eps, dtype=dtype)
            self.norm2 = layers.LayerNormalization(epsilon=eps, dtype=dtype)
            tanh = mistake == "gelu"
            self.fc1 = dense(10, activation=lambda x: keras.activations.gelu(x, approximate=tanh))
            self.fc2 = dense(SIZE)
            self.dropout = layers.Dropout(0.3, dtype=dtype)
            self.out = dense(4, use_bias=mistake != "no bias")

        def call(self, tokens, lens, training=False):
            X = self.embedding(tokens) * (1 if mistake == "no sqrt" else math.sqrt(SIZE))
            X = X + ops.cast(positions(mistake == "position"), dtype)

            def split(Y):
                return ops.swapaxes(ops.reshape(Y, (BATCH, STEPS, HEADS, -1)), 1, 2)

            q, k, v = (split(projection(X)) for projection in self.projections)
            scores = q @ ops.swapaxes(k, 2, 3) * scale(mistake)
            keep = allowed(lens.numpy(), mistake, np)
            scores = ops.where(keep, scores, ops.cast(-1e30, dtype))
            weights = ops.softmax(scores, axis=2 if mistake == "softmax axis" else 3)
            if mistake == "softmax axis":
                weights = weights * ops.cast(keep, dtype)
            Y = ops.reshape(ops.swapaxes(weights @ v, 1, 2), (BATCH, STEPS, SIZE))
            X = self.norm1(X + self.merge(Y))
            X = self.norm2(X + self.fc2(self.dropout(self.fc1(X), training=training)))
            if mistake == "mean":
                return self.out(ops.mean(X, axis=1))
            lens = ops.cast(lens, dtype)[:, None]
            real = ops.cast(ops.arange(STEPS), dtype) < lens
            return self.out(ops.sum(X * ops.cast(real, dtype)[:, :, None], axis=1) / lens)

    wrong = wrong_weights(w, mistake)

    def linear(name):
        bias = [wrong[f"{name}.bias"]] if f"{name}.bias" in wrong else []
        return [wrong[f"{name}.weight"].T, *bias]

    if name == "Encoder":
        model = Encoder()
        model(TOKENS, keras.ops.convert_to_tensor(LENS))
        for layer, n in zip(model.projections, ("W_q", "W_k", "W_v"), strict=True):
            layer.set_weights(linear(n))
        for layer, n in ((model.merge, "W_o"), (model.fc1, "fc1"), (model.fc2, "fc2")):
            layer.set_weights(linear(n))
        for n in ("norm1", "norm2"):
            getattr(model, n).set_weights([w[f"{n}.weight"], w[f"{n}.bias"]])
        model.embedding.set_weights([w["embedding.weight"]])
        model.out.set_weights(linear("out"))
        return model, {"training": True} if mistake == "dropout" else {}

    model = keras.Sequential(
        [
            layers.Embedding(VOCAB, SIZE, dtype=dtype),
            layers.GRU(SIZE, return_sequences=True, reset_after=mistake != "reset", dtype=dtype),
            layers.LSTM(SIZE, return_sequences=True, dtype=dtype),
            dense(4),
        ]
    )
    model.build((BATCH, STEPS))
    # Copied as they are, PyTorch's gates r, z, n would be read as z, r, n.
    order = (0, 1, 2) if mistake == "gru gates" else (1, 0, 2)
    w = w if mistake == "gru gates" else wrong
    g = {k: rows(w[f"gru.{k}_l0"], order) for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    bias = g["bias_ih"] if mistake == "reset" else np.stack([g["bias_ih"], g["bias_hh"]])
    model.layers[0].set_weights([w["embedding.weight"]])
    model.layers[1].set_weights([g["weight_ih"].T, g["weight_hh"].T, bias])
    model.layers[2].set_weights(
        [
            wrong["lstm.weight_ih_l0"].T,
            wrong["lstm.weight_hh_l0"].T,
            wrong["lstm.bias_ih_l0"] + wrong["lstm.bias_hh_l0"],
        ]
    )
    model.layers[3].set_weights(linear("out"))
    return model, {}


PORTS = {
    "torch": torch_port,
    "mxnet": mxnet_port,
    "jax": jax_port,
    "nnx": nnx_port,
    "tensorflow": tensorflow_port,
}
