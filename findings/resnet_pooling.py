"""ResNet in TensorFlow puts zeros around what it takes the largest of; PyTorch leaves it out."""

import tempfile

import numpy as np
import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel, TFResNetModel

X = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype("float32")
for activation in ("gelu", "relu"):
    torch.manual_seed(0)
    right = ResNetModel(ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], hidden_act=activation,
    )).eval()  # fmt: skip
    nn.init.constant_(right.embedder.embedder.normalization.bias, -2.0)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = TFResNetModel.from_pretrained(folder, from_pt=True)(X)[0].numpy()
        exact, X64 = right.double(), torch.tensor(X).double()
        a = exact(X64)[0].numpy()
        exact.embedder.pooler = nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))
        b = exact(X64)[0].numpy()
    print(activation, abs(port - a).max(), "as with zeros around:", abs(port - b).max())
