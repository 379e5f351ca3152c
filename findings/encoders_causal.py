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
    torch.manual_seed(0)
    make = getattr(transformers, f"{name}Config")
    small = {k: v for k, v in SMALL.items() if k in make().to_dict()}
    return getattr(transformers, f"{name}Model")(make(**small, **options)).eval()


for name in ("ConvBert", "MPNet", "MobileBert"):
    for option in ({"is_decoder": True}, {}):
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            model(name, **option).save_pretrained(folder)
            load = getattr(transformers, f"TF{name}Model").from_pretrained
            x = np.asarray(load(folder, from_pt=True)(IDS)[0])
            a, b = (model(name, **o).double()(torch.tensor(IDS))[0] for o in (option, {}))
        errors = (abs(x - y.numpy()).max() for y in (a, b))
        print(name, option, next(errors), "as if no decoder:", next(errors))
