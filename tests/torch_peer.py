"""PyTorch's own Transformer layer, as a peer to compare with."""

import pytest


def encoder_layer(parameters, names, num_heads, **options):
    """Make a `torch.nn.TransformerEncoderLayer` with the weights of one of our blocks, in float64.

    Args:
        parameters: the block's, ``{canonical name: array}``; a bias of attention that it does not
            have is zero.
        names: ``{layer in PyTorch's block: ours}`` of the network and the layer norms.
        num_heads, options: what the sizes of the weights do not say.
    """
    torch = pytest.importorskip("torch")
    p = {name: torch.from_numpy(value) for name, value in parameters.items()}
    size, inner = len(p["attention.W_o.weight"]), len(p[f"{names['linear1']}.weight"])
    biases = {f"attention.W_{name}.bias": torch.zeros(size) for name in "qkvo"}
    p = biases | p
    state = {
        f"self_attn.in_proj_{leaf}": torch.cat([p[f"attention.W_{name}.{leaf}"] for name in "qkv"])
        for leaf in ("weight", "bias")
    }
    for theirs, ours in ({"self_attn.out_proj": "attention.W_o"} | names).items():
        state |= {f"{theirs}.{leaf}": p[f"{ours}.{leaf}"] for leaf in ("weight", "bias")}
    options = {"batch_first": True, "dtype": torch.float64} | options
    peer = torch.nn.TransformerEncoderLayer(size, num_heads, inner, 0, **options).eval()
    peer.load_state_dict(state)
    return peer
