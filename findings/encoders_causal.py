"""ConvBERT, MPNet and MobileBERT in TensorFlow attend to later tokens, decoder or not."""

import tempfile

import numpy as np
import torch
import transformers

IDS = np.array([[3, 4, 5, 6]])
SMALL = {
    "vocab_size": 9, "hidden_size": 8, "embedding_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 8,
    "initializer_range": 0.5, "intra_bottleneck_size": 8, "true_hidden_size": 8,
}  # fmt: skip


def model(name, **options):
    make, _ = getattr(transformers, f"{name}Config"), torch.manual_seed(0)
    options |= {k: v for k, v in SMALL.items() if k in make().to_dict()}
    return getattr(transformers, f"{name}Model")(make(**options)).eval()


for name in ("ConvBert", "MPNet", "MobileBert"):
    for option in ({"is_decoder": True}, {}):
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            model(name, **option).save_pretrained(folder)
            port = getattr(transformers, f"TF{name}Model").from_pretrained(folder, from_pt=True)
            x = np.asarray(port(IDS)[0])
            a, b = (model(name, **o).double()(torch.tensor(IDS))[0].numpy() for o in (option, {}))
        print(name, option, abs(x - a).max(), "as if no decoder:", abs(x - b).max())
