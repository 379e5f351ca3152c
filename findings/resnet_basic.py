"""ResNets of basic layers, such as ResNet-18, lose PyTorch's weights on the way to Flax."""

import tempfile

import numpy as np
import torch
from transformers import FlaxResNetModel, ResNetConfig, ResNetModel

X = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype("float32")

for layer_type in ("basic", "bottleneck"):
    torch.manual_seed(0)
    right = ResNetModel(ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type=layer_type,
    )).eval()  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        ports = [
            np.asarray(FlaxResNetModel.from_pretrained(folder, from_pt=True, seed=seed)(X)[0])
            for seed in (0, 1)
        ]
        a = right.double()(torch.tensor(X).double())[0].numpy()
    error, other = abs(ports[0] - a).max(), abs(ports[0] - ports[1]).max()
    print(layer_type, error, "loaded again, with another seed:", other)
