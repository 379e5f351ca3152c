"""ConvBERT in TensorFlow attends to later tokens, decoder or not."""

import tempfile

import numpy as np
import torch
from transformers import ConvBertConfig, ConvBertModel, TFConvBertModel

IDS = np.array([[1, 2, 3, 4]])


def model(**options):
    torch.manual_seed(0)
    return ConvBertModel(ConvBertConfig(
        vocab_size=9, hidden_size=8, embedding_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=8, initializer_range=0.5, **options,
    )).eval()  # fmt: skip


for option in ({"is_decoder": True}, {}):
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model(**option).save_pretrained(folder)
        x = np.asarray(TFConvBertModel.from_pretrained(folder, from_pt=True)(IDS)[0])
        a, b = (model(**o).double()(torch.tensor(IDS))[0].numpy() for o in (option, {}))
    print(option, abs(x - a).max(), "as if no decoder:", abs(x - b).max())
