"""ResNet in TensorFlow and Flax has its stride in one place of a bottleneck only."""

import tempfile

import numpy as np
import torch
from transformers import FlaxResNetModel, ResNetConfig, ResNetModel, TFResNetModel

X = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype("float32")


def model(**options):
    config = ResNetConfig(embedding_size=4, hidden_sizes=[8, 16], depths=[1, 1], **options)
    torch.manual_seed(0)
    return ResNetModel(config).eval()


for option in ({"downsample_in_bottleneck": True}, {}):
    right, other = model(**option), model()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        a, b = (m.double()(torch.tensor(X).double())[0].numpy() for m in (right, other))
        for port in (TFResNetModel, FlaxResNetModel):
            x = np.asarray(port.from_pretrained(folder, from_pt=True)(X)[0])
            x = x if x.shape == a.shape else np.moveaxis(x, -1, 1)
            print(option, port.__name__, abs(x - a).max(), "without it:", abs(x - b).max())
