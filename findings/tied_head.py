"""Llama, Mistral and GPT-J tie no head in Flax or TensorFlow: without a weight it is random."""

import tempfile

import numpy as np
import torch
import transformers

IDS = np.array([[3, 4, 5, 6]])
SMALL = {
    "vocab_size": 9, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 8, "n_head": 2,
    "n_embd": 8, "n_layer": 1, "n_positions": 8, "rotary_dim": 4, "sliding_window": 64,
}  # fmt: skip
for name, port in (("Llama", "Flax"), ("Mistral", "Flax"), ("Mistral", "TF"), ("GPTJ", "TF")):
    make = getattr(transformers, f"{name}Config")
    known = make().to_dict()
    options = {k: v for k, v in SMALL.items() if k in known} | {"initializer_range": 0.5}
    for tied in (True, False):
        torch.manual_seed(0)
        config = make(**options, tie_word_embeddings=tied)
        right = getattr(transformers, f"{name}ForCausalLM")(config)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            right.eval().save_pretrained(folder)
            load = getattr(transformers, f"{port}{name}ForCausalLM").from_pretrained
            x = np.asarray(load(folder, from_pt=True)(IDS).logits)
            a = right.double()(torch.tensor(IDS)).logits.numpy()
        print(f"{port}{name}ForCausalLM, tied: {tied}", abs(x - a).max())
