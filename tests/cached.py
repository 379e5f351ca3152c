"""A step with a cache, in models that nobody here wrote: GPT-2, Mistral, T5 and BART.

The steps before are computed at once, with their keys and values kept; then `locate` compares the
last step. What is planted is wrong in that step only: it counts its position from one too few.

``python tests/cached.py [FAMILY ...] [--framework TF|Flax]`` prints what is named.
"""

import argparse
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pretrained
import torch
import transformers
from pretrained import IDS, NEEDS, SMALL, TARGETS

from d2l_ext.porting import locate

BART = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in
        (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
pretrained.FAMILIES["Bart"] = SMALL | BART | {"d_model": 16, "max_position_embeddings": 20}
FAMILIES = ("GPT2", "Mistral", "T5", "Bart")
PAIRS = ("T5", "Bart")


class Decoder:
    """The decoder of a Flax model: its `decode` is a call of its own, and takes the cache."""

    def __init__(self, model: Any):
        self.model, self.module, self.params = model, model.module, model.params

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.model.decode(*args, **options)


def whole(family: str) -> dict[str, Any]:
    """Return the inputs of all steps."""
    return {"input_ids": IDS} | ({"decoder_input_ids": TARGETS} if family in PAIRS else {})


def _arrays(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(model, torch.nn.Module):
        return inputs
    return {k: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for k, x in inputs.items()}


@torch.no_grad()
def step(model: Any, family: str) -> dict[str, Any]:
    """Return the inputs of the last step, with the cache of those before.

    They are the same in PyTorch and in TensorFlow.
    """
    name = "decoder_input_ids" if family in PAIRS else "input_ids"
    ids = whole(family)[name]
    before = _arrays(model, whole(family) | {name: ids[:, :-1]})
    cache = model(**before, use_cache=True).past_key_values
    now = {name: ids[:, -1:], "past_key_values": cache, "use_cache": True}
    return whole(family) | now


@torch.no_grad()
def step_in_flax(model: Any, port: Any, family: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return Flax's model or decoder, and what it and PyTorch's are given for the last step."""
    name = "decoder_input_ids" if family in PAIRS else "input_ids"
    options = step(port, family)
    ids = whole(family)[name]
    batch, length = ids.shape
    if family in PAIRS:
        encoded = model.encode(IDS)
        call, past = Decoder(model), model.init_cache(batch, length, encoded)
        fixed, side = {"encoder_outputs": encoded}, "decoder_"
        states = torch.from_numpy(np.array(encoded[0]))
        options = {k: x for k, x in options.items() if k != "input_ids"}
        options["encoder_outputs"] = (states.to(port.dtype),)
    else:
        call, past, fixed, side = model, model.init_cache(batch, length), {}, ""
    fixed[f"{side}attention_mask"] = np.ones((batch, length), int)
    steps = np.tile(np.arange(length), (batch, 1))
    positions = {} if family == "T5" else {f"{side}position_ids": steps}

    def given(part):
        return {name: ids[:, part], **fixed, **{k: x[:, part] for k, x in positions.items()}}

    cache = call(**given(slice(-1)), past_key_values=past).past_key_values
    return call, given(slice(-1, None)) | {"past_key_values": cache}, options


def located(models: Any, family: str, framework: str) -> Any:
    """Compare the last step of a model and of its port, PyTorch's."""
    model, port = models
    if framework == "TF":
        pretrained._set_floatx(model.dtype)
        options = step(model, family), step(port, family)
        return locate(model, port, options_a=options[0], options_b=options[1], backward=False)
    with without_int64():
        model, *options = step_in_flax(model, port, family)
        return locate(model, port, options_a=options[0], options_b=options[1], backward=False)


def without_int64() -> AbstractContextManager[None]:
    """Let Flax's caches work: they slice by an index of 32 bits beside those of Python."""
    import jax

    return jax.enable_x64(False)


def _alone(x: Any) -> int:
    """One, where there is one step."""
    return int(x.shape[-1] == 1)


def _behind(module: Any) -> None:
    """Count positions from one too few, given one step."""
    call = module.forward

    def forward(x, positions, *args, **options):
        return call(x, positions - _alone(positions), *args, **options)

    module.forward = forward


def _behind_in_bart(port: Any) -> None:
    call = port.decoder.embed_positions.forward

    def forward(ids, *args, position_ids, **options):
        return call(ids, *args, position_ids=position_ids - _alone(ids), **options)

    port.decoder.embed_positions.forward = forward


def _behind_in_t5(port: Any) -> None:
    attention = port.decoder.block[0].layer[0].SelfAttention
    buckets = attention._relative_position_bucket
    attention._relative_position_bucket = lambda x, **options: buckets(
        x + (x.shape[0] == 1), **options
    )


PLANTED = {
    "GPT2": (lambda m: pretrained.first(m.wpe, lambda ids: ids - _alone(ids)), "wpe"),
    "Mistral": (lambda m: _behind(m.rotary_emb), "layers.0.self_attn"),
    "T5": (_behind_in_t5, "decoder.block.0.layer.0.SelfAttention"),
    # In TensorFlow the layer of positions takes no array: what follows the tokens' is named.
    "Bart": (_behind_in_bart, "decoder.embed_"),
}


def main(families: list[str], frameworks: list[str]) -> None:
    """Print what is named in a right port, and what in one with a position that is planted."""
    import copy

    for framework in frameworks:
        for family in families:
            model, port = pretrained.pair(family, framework, "float32")
            wrong = copy.deepcopy(port)
            PLANTED[family][0](wrong)
            for name, one in (("right", port), ("position", wrong)):
                found = located((model, one), family, framework)
                named = [f"{x.place}: {x.cause} ({x.explanation})" for x in found.differences]
                print("|", " | ".join((family, framework, name, str(len(found.rows)), *named)), "|")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--framework", nargs="*", default=list(NEEDS))
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    main(options.family, options.framework)
