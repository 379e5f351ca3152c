"""What PyTorch's own layers and operators do unless told otherwise.

Nothing of the column is used here: `d2l_ext.agreement.running.differences` puts the four side by
side, with what all columns agree on.
"""

import torch
from torch import nn
from torch.nn import functional as F


def layer_norm(x):
    """Return the default layer norm of (rows, size)."""
    return nn.LayerNorm(x.shape[-1])(torch.from_numpy(x)).detach().numpy()


def gelu(x):
    """Return the default GELU."""
    return F.gelu(torch.from_numpy(x)).numpy()


def softmax(x):
    """Return the softmax over the last axis."""
    return torch.softmax(torch.from_numpy(x), dim=-1).numpy()


def cross_entropy(logits, labels):
    """Return the default loss, reduced or not."""
    return nn.CrossEntropyLoss()(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()


def adam(gradient, lr):
    """Return by how much Adam's first step moves a parameter."""
    p = nn.Parameter(torch.zeros(1))
    p.grad = torch.full((1,), gradient)
    torch.optim.Adam([p], lr=lr).step()
    return p.item()


def clipped(gradient, max_norm):
    """Return a gradient clipped by its global norm."""
    p = nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
    p.grad = torch.from_numpy(gradient.copy())
    nn.utils.clip_grad_norm_([p], max_norm)
    return p.grad.numpy()


def dense(num_inputs, num_outputs):
    """Return the initial weight and bias of a dense layer."""
    layer = _started(nn.Linear, num_inputs, num_outputs)
    return tuple(p.detach().numpy() for p in layer.parameters())


def embedding(vocab_size, size):
    """Return the initial weight of an embedding."""
    return _started(nn.Embedding, vocab_size, size).weight.detach().numpy()


def _started(layer, *sizes):
    """Make a layer with the same random numbers every time; the user's generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return layer(*sizes)


def lookup(token, vocab_size):
    """Return what an embedding with rows 0, 1, 2, ... gives for a token."""
    return nn.Embedding.from_pretrained(torch.arange(vocab_size)[:, None])(torch.tensor([token]))


def gru(bias):
    """Return the state of one GRU unit after a step without input, from 1/2 and zero weights.

    Args:
        bias: of its gates (3,), in the framework's own order.
    """
    layer = nn.GRU(1, 1)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.bias_ih_l0[:] = torch.from_numpy(bias)
        return layer(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.5))[0].item()


def gru_biases():
    """Return how many biases a GRU unit has."""
    return sum(p.numel() for name, p in nn.GRU(1, 1).named_parameters() if "bias" in name)


def forget_bias():
    """Return the initial bias of an LSTM's forget gate, averaged over 256 units."""
    layer = nn.LSTM(2, 256)
    return sum(b[256:512].mean().item() for b in (layer.bias_ih_l0, layer.bias_hh_l0))


def rms_norm(x):
    """Return the default RMS norm of (rows, size)."""
    return nn.RMSNorm(x.shape[-1])(torch.from_numpy(x)).detach().numpy()


def fused(q, k, v, mask=None):
    """Return the fused attention of arrays with four axes, under a mask (queries, keys)."""
    arrays = (torch.from_numpy(x) for x in (q, k, v))
    mask = None if mask is None else torch.from_numpy(mask)
    return F.scaled_dot_product_attention(*arrays, attn_mask=mask).numpy()


def attention_layer(x, mask):
    """Return what the attention layer makes of (1, steps, size) under a mask (steps, steps)."""
    torch.manual_seed(0)
    layer, x = nn.MultiheadAttention(x.shape[-1], 1, batch_first=True), torch.from_numpy(x)
    return layer(x, x, x, attn_mask=torch.from_numpy(mask))[0].detach().numpy()


def convolution(image):
    """Return a default convolution by a kernel of 3 of an image, (1, ?, ?, ?), to two channels."""
    return nn.LazyConv2d(2, 3)(torch.from_numpy(image)).detach().numpy()


def write(x):
    """Write 1 to the first element of an array."""
    x = torch.from_numpy(x)
    x[0] = 1
    return x.numpy()


def limits():
    """Return ``{finding: size}``: what no setting of the framework's own operators mends."""
    return {}
