"""The first GPT in TensorFlow computes another GELU than PyTorch's, whatever `afn` says."""

import tempfile

import numpy as np
import torch
from transformers import OpenAIGPTConfig, OpenAIGPTModel, TFOpenAIGPTModel

IDS = np.array([[1, 2, 3, 4]])


def model(**options):
    torch.manual_seed(0)
    return OpenAIGPTModel(OpenAIGPTConfig(
        vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2, initializer_range=0.5,
        **options,
    )).eval()  # fmt: skip


for option in ({}, {"afn": "relu"}, {"afn": "silu"}):
    right, other = model(**option), model()
    other.h[0].mlp.act = torch.nn.GELU()  # with the error function
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        x = np.asarray(TFOpenAIGPTModel.from_pretrained(folder, from_pt=True)(IDS)[0])
        a, b = (m.double()(torch.tensor(IDS))[0].numpy() for m in (right, other))
    print(option, abs(x - a).max(), "as PyTorch's with GELU (erf):", abs(x - b).max())
