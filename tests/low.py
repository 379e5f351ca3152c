"""A Transformer block in bfloat16 or float16, in PyTorch and NNX, and mistakes to plant in it.

The block has what needs float32 inside: a softmax, norms, a mean and a loss.

``python tests/low.py SEEDS [MISTAKE ...]`` plants each mistake in blocks of so many seeds, in
bfloat16, and prints how many `locate` reports, and how many a fixed tolerance of 0.05 for the loss
would. "right" plants nothing, and "right in NNX" compares NNX's right block with PyTorch's.
"""

import argparse
import copy
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIZE, HEADS, TOKENS, CLASSES = 8, 2, 12, 5


class Norm(nn.LayerNorm):
    """A layer norm that has a mistake if it is given one."""

    mistake = None

    def forward(self, X):
        return super().forward(X) if self.mistake is None else self.mistake(self, X)


class RMSNorm(nn.Module):
    """As Llama's: float32 inside, and the weight multiplied afterwards."""

    mistake = None

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, X):
        if self.mistake is not None:
            return self.mistake(self, X)
        Y = X if X.dtype == torch.float64 else X.float()
        Y = Y * torch.rsqrt((Y * Y).mean(-1, keepdim=True) + 1e-6)
        return self.weight * Y.to(X.dtype)


def loss(logits, labels):
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, labels)


class Block(nn.Module):
    """Attention, a network, a mean over the real tokens, a classifier and its loss."""

    def __init__(self):
        super().__init__()
        self.embedding, self.position = nn.Embedding(TOKENS, SIZE), nn.Embedding(10, SIZE)
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(SIZE, SIZE) for _ in range(4))
        self.norm, self.last = Norm(SIZE), RMSNorm(SIZE)
        self.fc1, self.fc2 = nn.Linear(SIZE, 2 * SIZE), nn.Linear(2 * SIZE, SIZE)
        self.out = nn.Linear(SIZE, CLASSES)
        self.scale, self.offset, self.causal = 1 / math.sqrt(SIZE / HEADS), 0, True
        self.softmax = lambda scores: scores.softmax(-1)
        self.activation, self.residual, self.loss = F.gelu, lambda X, Y: X + Y, loss

    def forward(self, tokens, labels):
        steps = torch.arange(tokens.shape[1]) + self.offset
        X = self.embedding(tokens) + self.position(steps)
        q, k, v = (
            W(X).unflatten(-1, (HEADS, -1)).transpose(1, 2) for W in (self.W_q, self.W_k, self.W_v)
        )
        scores = q @ k.transpose(-1, -2) * self.scale
        if self.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        Y = (self.softmax(scores) @ v).transpose(1, 2).flatten(2)
        X = self.norm(self.residual(X, self.W_o(Y)))
        X = self.last(self.residual(X, self.fc2(self.activation(self.fc1(X)))))
        return self.loss(self.out(X).flatten(0, 1), labels.flatten())


def drawn(seed, dtype):
    """Return the block in a dtype with drawn weights, tokens and labels."""
    torch.manual_seed(seed)
    block = Block()
    with torch.no_grad():
        for name, p in block.named_parameters():
            x = torch.randn_like(p) * (0.4 if p.ndim > 1 else 0.2)
            p.copy_(x + 1 if name in ("norm.weight", "last.weight") else x)
    rng = np.random.default_rng(seed)
    return block.to(dtype), rng.integers(0, TOKENS, (3, 6)), rng.integers(0, CLASSES, (3, 6))


# What has no wider precision inside: every operation rounds.


def low_norm(norm, X):
    X = X - X.mean(-1, keepdim=True)
    return X / ((X * X).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def low_rms(norm, X):
    return X / ((X * X).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight


def low_softmax(scores):
    e = (scores - scores.max(-1, keepdim=True).values).exp()
    return e / e.sum(-1, keepdim=True)


def low_loss(logits, labels):
    chosen = logits.gather(-1, labels[:, None])[:, 0]
    return (logits.exp().sum(-1).log() - chosen).mean()


MISTAKES = {
    "low norm": lambda b: setattr(b.norm, "mistake", low_norm),
    "low RMS norm": lambda b: setattr(b.last, "mistake", low_rms),
    "low softmax": lambda b: setattr(b, "softmax", low_softmax),
    "low loss": lambda b: setattr(b, "loss", low_loss),
    "no scale": lambda b: setattr(b, "scale", 1),
    "no mask": lambda b: setattr(b, "causal", False),
    "position": lambda b: setattr(b, "offset", 1),
    "activation": lambda b: setattr(b, "activation", F.relu),
    "no residual": lambda b: setattr(b, "residual", lambda X, Y: Y),
    "no bias": lambda b: b.fc1.bias.data.zero_(),
    "transposed": lambda b: b.W_o.weight.data.copy_(b.W_o.weight.data.T.clone()),
    "variance": lambda b: setattr(
        b.norm,
        "mistake",
        lambda norm, X: (
            norm.weight * (X - X.mean(-1, keepdim=True)) / X.std(-1, keepdim=True) + norm.bias
        ),
    ),
}


def nnx_port(block, low=()):
    """Return the block in NNX, with its parameters, in bfloat16; `low` has what lacks an island."""
    import jax
    from flax import nnx
    from jax import numpy as jnp

    def array(p):
        return jnp.asarray(p.detach().float().numpy()).astype(jnp.bfloat16)

    def wide(name, X):
        return X if name in low else X.astype(jnp.float32)

    class Port(nnx.Module):
        def __init__(self):
            options = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16, "rngs": nnx.Rngs(0)}
            for name, layer in block.named_children():
                if isinstance(layer, nn.Linear):
                    port = nnx.Linear(layer.in_features, layer.out_features, **options)
                    port.kernel = nnx.Param(array(layer.weight.T))
                    port.bias = nnx.Param(array(layer.bias))
                elif isinstance(layer, nn.Embedding):
                    port = nnx.Embed(*layer.weight.shape, **options)
                    port.embedding = nnx.Param(array(layer.weight))
                elif isinstance(layer, nn.LayerNorm):
                    port = nnx.LayerNorm(SIZE, epsilon=layer.eps, **options)
                    port.scale = nnx.Param(array(layer.weight))
                    port.bias = nnx.Param(array(layer.bias))
                else:
                    port = nnx.RMSNorm(SIZE, epsilon=1e-6, **options)
                    port.scale = nnx.Param(array(layer.weight))
                setattr(self, name, port)

        def __call__(self, tokens, labels):
            def heads(W, X):
                return W(X).reshape(*X.shape[:2], HEADS, -1).swapaxes(1, 2)

            X = self.embedding(tokens) + self.position(jnp.arange(tokens.shape[1]))
            q, k, v = (heads(W, X) for W in (self.W_q, self.W_k, self.W_v))
            scores = q @ k.swapaxes(-1, -2) / math.sqrt(SIZE / HEADS)
            later = jnp.triu(jnp.ones(scores.shape[-2:], bool), 1)
            weights = jax.nn.softmax(wide("softmax", jnp.where(later, -jnp.inf, scores)))
            Y = (weights.astype(X.dtype) @ v).swapaxes(1, 2).reshape(X.shape)
            X = self.norm(X + self.W_o(Y))
            X = self.last(X + self.fc2(jax.nn.gelu(self.fc1(X), approximate=False)))
            logp = jax.nn.log_softmax(wide("loss", self.out(X)))
            return -jnp.take_along_axis(logp, labels[..., None], axis=-1).mean()

    return Port()


def located(mistake, seed, dtype=torch.bfloat16):
    """Return what `locate` finds in a block with a mistake, and the error of its loss."""
    from d2l_ext.porting import locate

    block, *inputs = drawn(seed, dtype)
    exact, port = copy.deepcopy(block).double(), copy.deepcopy(block)
    if mistake == "right in NNX":
        return locate(exact, nnx_port(block), *inputs, trusted=block), 0.0
    if mistake != "right":
        MISTAKES[mistake](port)
    with torch.no_grad():
        losses = [float(m(*map(torch.from_numpy, inputs))) for m in (exact, port)]
    return locate(exact, port, *inputs, trusted=block), abs(losses[1] - losses[0])


def main(seeds, mistakes):
    """Print how many are reported."""
    print("| mistake | seeds | reported | by a tolerance of 0.05 | places | causes | s each |")
    print("|---|---|---|---|---|---|---|")
    for mistake in mistakes:
        start, reported, beyond, named = time.perf_counter(), 0, 0, {}
        for seed in range(seeds):
            found, size = located(mistake, seed)
            reported, beyond = reported + bool(found.differences), beyond + (size > 0.05)
            for one in found.differences:
                named[f"{one.place}: {one.cause}"] = named.get(f"{one.place}: {one.cause}", 0) + 1
        causes = "; ".join(f"{name} ({count})" for name, count in named.items())
        places = sum(named.values())
        seconds = (time.perf_counter() - start) / seeds
        cells = mistake, seeds, reported, beyond, places, causes, f"{seconds:.1f}"
        print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    import d2l_ext

    d2l_ext.backend("jax")  # with float64
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int)
    parser.add_argument("mistake", nargs="*", default=["right", "right in NNX", *MISTAKES])
    main(*vars(parser.parse_args()).values())
