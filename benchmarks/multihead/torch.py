"""PyTorch: `torch.nn.MultiheadAttention`."""

import torch
from torch import nn

from d2l_ext.torch import MultiHeadAttention


def ours(heads, weights):
    """Return forward and backward of `MultiHeadAttention`."""
    layer = MultiHeadAttention(heads.num_hiddens, heads.num_heads, dropout=0)
    layer.attention.keep_weights = weights
    X, lens = _inputs(heads)
    layer(X, X, X, lens)
    return _step(layer, lambda: layer(X, X, X, lens), X)


def own(heads, weights):
    """Return forward and backward of PyTorch's layer, padding masked."""
    layer = nn.MultiheadAttention(heads.num_hiddens, heads.num_heads, bias=False, batch_first=True)
    X, lens = _inputs(heads)

    def call():
        padding = torch.arange(heads.num_steps) >= lens[:, None]
        return layer(X, X, X, key_padding_mask=padding, need_weights=weights)[0]

    return _step(layer, call, X)


def _inputs(heads):
    torch.manual_seed(0)
    X = torch.randn(heads.batch, heads.num_steps, heads.num_hiddens, requires_grad=True)
    return X, torch.randint(heads.num_steps // 2, heads.num_steps + 1, (heads.batch,))


def _step(layer, call, X):
    wrt = [X, *layer.parameters()]

    def run():
        torch.autograd.grad(call().sum(), wrt)

    return run
