"""DINOv2 in Flax fits positions to another size with another cubic, and 0.1 of a patch too far."""

import tempfile

import numpy as np
import torch
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model, FlaxDinov2Model

interpolate = functional.interpolate
torch.manual_seed(0)
right = Dinov2Model(Dinov2Config(
    hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4,
)).eval()  # fmt: skip
torch.nn.init.normal_(right.embeddings.position_embeddings)
for size in (20, 16):
    X = np.ones((1, 3, size, size), "float32")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.float().save_pretrained(folder)
        port = np.asarray(FlaxDinov2Model.from_pretrained(folder, from_pt=True)(X)[0])
        a = right.double()(torch.tensor(X).double())[0].numpy()
        # With `antialias` PyTorch's cubic has a = -0.5, as JAX's; 5.1 patches instead of 5.
        functional.interpolate = lambda x, size, mode, **o: interpolate(
            x, size=None, scale_factor=[(n + 0.1) / 4 for n in size], mode=mode, antialias=True
        )
        b = right(torch.tensor(X).double())[0].numpy()
        functional.interpolate = interpolate
    print(size, abs(port - a).max(), "as if PyTorch did the same:", abs(port - b).max())
