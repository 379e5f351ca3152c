"""Flax's models that are made of two count positions from 0, also where RoBERTa is one of them."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import RobertaConfig, ViTConfig

IDS, X, FROM_0 = np.array([[3, 4, 5, 6]]), np.ones((1, 3, 4, 4), "float32"), torch.arange(4)[None]
SIZE = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
text = {**SIZE, "vocab_size": 9, "max_position_embeddings": 12, "initializer_range": 0.5}
writer = RobertaConfig(**text, is_decoder=True, add_cross_attention=True)
two = {"R": RobertaConfig(**text), "W": writer, "V": ViTConfig(**SIZE, image_size=4, patch_size=2)}
NAMES = {"R": "input_ids", "W": "decoder_input_ids", "V": "pixel_values"}
MADE = {"EncoderDecoder": "RW", "VisionEncoderDecoder": "VW", "VisionTextDualEncoder": "VR"}
for name, parts in MADE.items():
    join = f"from_{'vision_text' if parts == 'VR' else 'encoder_decoder'}_configs"
    join = getattr(getattr(transformers, f"{name}Config"), join)
    torch.manual_seed(0)
    right = getattr(transformers, f"{name}Model")(join(*map(two.get, parts))).eval()
    given = {NAMES[part]: X if part == "V" else IDS for part in parts}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        flax = getattr(transformers, f"Flax{name}Model").from_pretrained(folder, from_pt=True)
        exact = {k: torch.tensor(x).to(torch.double if x is X else int) for k, x in given.items()}
        from_0 = {k.replace("input", "position"): FROM_0 for k in given if "input" in k}
        outputs = flax(**given), right.double()(**exact), right(**exact, **from_0)
    x, a, b = (np.asarray(y["text_embeds" if parts == "VR" else "logits"]) for y in outputs)
    print(f"Flax{name}Model", abs(x - a).max(), "as PyTorch's from 0:", abs(x - b).max())
