"""RoFormer in TensorFlow and Flax attends to later tokens, decoder or not."""

import tempfile

import numpy as np
import torch
from transformers import FlaxRoFormerModel, RoFormerConfig, RoFormerModel, TFRoFormerModel

IDS = np.array([[1, 2, 3, 4]])


def model(**options):
    torch.manual_seed(0)
    return RoFormerModel(RoFormerConfig(
        vocab_size=9, hidden_size=8, embedding_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8, initializer_range=0.5, **options,
    )).eval()  # fmt: skip


for option in ({"is_decoder": True}, {}):
    for port in (TFRoFormerModel, FlaxRoFormerModel):
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            model(**option).save_pretrained(folder)
            x = np.asarray(port.from_pretrained(folder, from_pt=True)(IDS)[0])
            a, b = (model(**o).double()(torch.tensor(IDS))[0].numpy() for o in (option, {}))
        print(option, port.__name__, abs(x - a).max(), "as if no decoder:", abs(x - b).max())
