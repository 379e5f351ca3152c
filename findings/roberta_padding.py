"""RoBERTa and its kin in TensorFlow count positions from 2, whatever the padding token is."""

import tempfile

import numpy as np
import torch
import transformers

IDS = np.array([[4, 5, 6, 7]])


def model(family, pad):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, pad_token_id=pad,
        num_attention_heads=2, max_position_embeddings=12, initializer_range=0.5,
    )  # fmt: skip
    return getattr(transformers, f"{family}Model")(config).eval()


for family in ("Roberta", "XLMRoberta", "Camembert", "RobertaPreLayerNorm"):
    right, other = model(family, 3), model(family, 1)
    other.load_state_dict(right.state_dict())
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = getattr(transformers, f"TF{family}Model").from_pretrained(folder, from_pt=True)
        x = np.asarray(port(IDS)[0])
        a, b = (m.double()(torch.tensor(IDS))[0].numpy() for m in (right, other))
    print(family, abs(x - a).max(), "as PyTorch's with pad_token_id=1:", abs(x - b).max())
