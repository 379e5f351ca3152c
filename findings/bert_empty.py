"""BERT in TensorFlow attends without a mask where a mask leaves out all tokens."""

import tempfile

import numpy as np
import torch
from transformers import BertConfig, BertModel, FlaxBertModel, TFBertModel

IDS, NONE, ALL = np.array([[1, 2, 3, 4]]), np.zeros((1, 4), int), np.ones((1, 4), int)

torch.manual_seed(0)
right = BertModel(BertConfig(
    vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
    max_position_embeddings=8, initializer_range=0.5, attn_implementation="eager",
)).eval()  # fmt: skip

for port in (TFBertModel, FlaxBertModel):
    with tempfile.TemporaryDirectory() as folder:
        right.float().save_pretrained(folder)
        x = np.asarray(port.from_pretrained(folder, from_pt=True)(IDS, NONE)[1])
    with torch.no_grad():
        a, b = (
            right.double()(torch.tensor(IDS), torch.tensor(mask)).pooler_output.numpy()
            for mask in (NONE, ALL)
        )
    print(port.__name__, abs(x - a).max(), "as without a mask:", abs(x - b).max())
