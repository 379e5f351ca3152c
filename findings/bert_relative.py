"""BERT in TensorFlow and Flax knows absolute positions only, whatever the configuration says."""

import tempfile

import numpy as np
import torch
from transformers import BertConfig, BertModel, FlaxBertModel, TFBertModel

IDS = np.array([[1, 2, 3, 4]])


def model(**options):
    config = BertConfig(
        vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8, initializer_range=0.5,
        attn_implementation="eager", **options,
    )  # fmt: skip
    torch.manual_seed(0)
    return BertModel(config).eval()


for kind in ("relative_key", "relative_key_query", "absolute"):
    for port in (TFBertModel, FlaxBertModel):
        right, other = model(position_embedding_type=kind), model()
        other.load_state_dict(right.state_dict(), strict=False)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            right.save_pretrained(folder)
            x = np.asarray(port.from_pretrained(folder, from_pt=True)(IDS)[0])
            a, b = (m.double()(torch.tensor(IDS))[0].numpy() for m in (right, other))
        print(kind, port.__name__, abs(x - a).max(), "as if absolute:", abs(x - b).max())
