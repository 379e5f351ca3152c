"""TensorFlow's heads that guess words are tied to the embeddings, whatever the option says."""

import copy
import tempfile

import numpy as np
import torch
import transformers

IDS = np.array([[3, 4, 5, 6]])
SMALL = {
    "vocab_size": 9, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 12, "initializer_range": 0.5,
    "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 8, "embedding_size": 8,
}  # fmt: skip
for name in ("BertForMaskedLM", "GPT2LMHeadModel", "OPTForCausalLM"):
    make = getattr(transformers, f"{name.partition('For')[0].partition('LM')[0]}Config")
    known = make().to_dict()
    options = {k: v for k, v in SMALL.items() if k in known}
    torch.manual_seed(0)
    right = getattr(transformers, name)(make(**options, tie_word_embeddings=False)).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        load = getattr(transformers, f"TF{name}").from_pretrained
        port = load(folder, from_pt=True)(IDS).logits.numpy()
        tied = copy.deepcopy(right)
        tied.get_output_embeddings().weight.copy_(right.get_input_embeddings().weight)
        a, b = (m.double()(torch.tensor(IDS)).logits.numpy() for m in (right, tied))
    print(f"TF{name}", abs(port - a).max(), "as if tied:", abs(port - b).max())
