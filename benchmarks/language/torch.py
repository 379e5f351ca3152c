"""`LlamaForCausalLM` of transformers, trained as its users do: its own loss, clipping, AdamW."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def _model(size):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size.vocab_size,
            hidden_size=size.num_hiddens,
            intermediate_size=size.ffn_num_hiddens,
            num_hidden_layers=size.num_blks,
            num_attention_heads=size.num_heads,
            num_key_value_heads=size.num_kv_heads,
            tie_word_embeddings=True,
        )
    )


def step(size):
    """Return a function that does one training step."""
    model = _model(size).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    ids = torch.from_numpy(size.tokens()[0])

    def run():
        optimizer.zero_grad()
        model(ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def generate(size):
    """Return a function that goes on with a batch of prompts, always by the most likely token."""
    model, prompts = _model(size).eval(), torch.from_numpy(size.prompts())
    few = {"max_new_tokens": size.num_tokens, "min_new_tokens": size.num_tokens}

    def run():
        with torch.inference_mode():
            model.generate(prompts, do_sample=False, pad_token_id=0, **few)

    return run
