"""GPT-2 in TensorFlow and Flax leaves two options of its configuration out of account."""

import tempfile

import numpy as np
import torch
from transformers import FlaxGPT2Model, GPT2Config, GPT2Model, TFGPT2Model

IDS = np.array([[1, 2, 3, 4]])


def hidden(model, **options):
    config = GPT2Config(
        vocab_size=9, n_positions=8, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5,
        attn_implementation="eager", **options,
    )  # fmt: skip
    torch.manual_seed(0)
    right = GPT2Model(config).eval()
    if model is GPT2Model:
        with torch.no_grad():
            return right.double()(torch.tensor(IDS)).last_hidden_state.numpy()
    with tempfile.TemporaryDirectory() as folder:
        right.save_pretrained(folder)
        return np.asarray(model.from_pretrained(folder, from_pt=True)(IDS).last_hidden_state)


for option in ({"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}):
    for port in (TFGPT2Model, FlaxGPT2Model):
        x, a, b = hidden(port, **option), hidden(GPT2Model, **option), hidden(GPT2Model)
        print(option, port.__name__, abs(x - a).max(), "without it:", abs(x - b).max())
