"""CTRL's layers in PyTorch have an epsilon of 1e-6, whatever `layer_norm_epsilon` says."""

import tempfile

import numpy as np
import torch
from transformers import CTRLConfig, CTRLModel, TFCTRLModel

IDS = np.array([[3, 4, 5, 6]])
for epsilon in (0.1, 1e-6):
    torch.manual_seed(0)
    right = CTRLModel(CTRLConfig(
        vocab_size=9, n_positions=8, n_embd=8, dff=12, n_layer=1, n_head=2,
        layer_norm_epsilon=epsilon, initializer_range=0.5,
    )).eval()  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = TFCTRLModel.from_pretrained(folder, from_pt=True)(IDS)[0].numpy()
        a = right.double()(torch.tensor(IDS))[0].numpy()
        for norm in (right.h[0].layernorm1, right.h[0].layernorm2):
            norm.eps = epsilon
        b = right(torch.tensor(IDS))[0].numpy()
    print(epsilon, abs(port - a).max(), "as if PyTorch read it:", abs(port - b).max())
