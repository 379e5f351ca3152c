"""Runs a case in one framework: random weights, drawn once, read by each with ``from_pt``."""

import importlib
import inspect
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext import randomness
from d2l_ext.interface import Arrays
from d2l_ext.porting.audit import families
from d2l_ext.porting.audit.cases import Case

FRAMEWORKS = ("tensorflow", "jax")
PREFIXES = {"tensorflow": "TF", "jax": "Flax"}


class Refused(Exception):
    """A framework does not run the case, and says so."""


def _transformers() -> Any:
    return importlib.import_module("transformers")


def configuration(case: Case) -> Any:
    """Return the case's configuration: small, and with its own settings."""
    make = _transformers().AutoConfig.for_model
    if case.family in families.PARTS:
        return make(case.family, **_parts(case), **_whole(case))
    known = make(case.family).to_dict()
    small = {k: v for k, v in families.SMALL.items() if k in known and known[k] != v}
    small |= families.ONLY.get(case.family, {})
    return make(case.family, **{**small, **case.settings}, attn_implementation="eager")


def _parts(case: Case) -> dict[str, Any]:
    """Return the configurations of the two models that one is made of."""
    found = {}
    for part, family in families.PARTS[case.family].items():
        own = {
            name.removeprefix(f"{part}."): value
            for name, value in case.settings.items()
            if name.startswith(f"{part}.")
        }
        if part == "decoder":
            own = {"is_decoder": True, "add_cross_attention": True} | own
        config = configuration(Case(case.settings.get(part, family), own)).to_dict()
        found[part if "decoder" in families.PARTS[case.family] else f"{part}_config"] = config
    return found


def _whole(case: Case) -> dict[str, Any]:
    """Return the settings that belong to neither of the two."""
    parts = families.PARTS[case.family]
    own = {k: v for k, v in case.settings.items() if k.partition(".")[0] not in parts}
    if "decoder" not in parts:
        return {"projection_dim": 8} | own
    return {"pad_token_id": 0, "decoder_start_token_id": 1} | own


def _auto(case: Case) -> str:
    """Return which of transformers' automatic classes builds a case's model."""
    has_head = case.how in ("logits", "loss") or "decoder" in families.PARTS.get(case.family, ())
    return families.HEADS[case.family] if has_head else ""


def exists(case: Case, framework: str) -> bool:
    """Whether a framework has a case's model, and what the case asks of it."""
    if framework == "jax" and case.how == "loss":  # Flax's models make no inputs of labels
        return False
    wanted = [(case.family, _auto(case))]
    for part, family in families.PARTS.get(case.family, {}).items():
        own = case.settings.get(part, family)
        wanted.append((own, "ForCausalLM" if part == "decoder" else ""))
    prefix = PREFIXES[framework]
    auto = importlib.import_module(f"transformers.models.auto.modeling_{prefix.lower()}_auto")
    return all(
        family in getattr(auto, f"{prefix.upper()}_MODEL{_MAPPINGS[kind]}_MAPPING_NAMES")
        for family, kind in wanted
    )


_MAPPINGS = {
    "": "",
    "ForMaskedLM": "_FOR_MASKED_LM",
    "ForCausalLM": "_FOR_CAUSAL_LM",
    "ForSeq2SeqLM": "_FOR_SEQ_TO_SEQ_CAUSAL_LM",
    "ForVision2Seq": "_FOR_VISION_2_SEQ",
    "ForSpeechSeq2Seq": "_FOR_SPEECH_SEQ_2_SEQ",
}


def original(case: Case, folder: Path) -> Any:
    """Build PyTorch's model with drawn weights, and save it to a folder."""
    torch = importlib.import_module("torch")
    auto = getattr(_transformers(), f"AutoModel{_auto(case)}")
    model = auto.from_config(configuration(case), attn_implementation="eager").eval()
    rng = randomness.generator(1, "audit")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:  # a table of sinusoids
                continue
            x = np.asarray(rng.standard_normal(tuple(parameter.shape)) * 0.3)  # of one number, too
            is_scale = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.from_numpy(x + 1 if is_scale else x))
        for module in model.modules():  # others, too, know the index
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0
    model.save_pretrained(folder)
    return model


def names(model: Any) -> dict[bytes, str]:
    """Return ``{what a weight is known by: its name}`` of PyTorch's model.

    The numbers are drawn, so a weight is known by them, in whatever layout another framework has
    it.
    """
    return {_key(weight): name for name, weight in model.named_parameters() if weight.requires_grad}


def _key(weight: Any) -> bytes:
    weight = weight.detach() if hasattr(weight, "detach") else weight
    return np.sort(np.asarray(weight, "float32"), axis=None).tobytes()


def port(case: Case, folder: Path, framework: str) -> Any:
    """Load the saved weights in another framework."""
    load = getattr(_transformers(), f"{PREFIXES[framework]}AutoModel{_auto(case)}").from_pretrained
    return load(folder, from_pt=True, config=configuration(case))


def lost(model: Any, known: Mapping[bytes, str]) -> list[str]:
    """List PyTorch's weights that no weight of another framework's model equals."""
    found = {_key(weight) for weight in _weights(model)}
    return [name for key, name in known.items() if key not in found]


def _weights(model: Any) -> list[Any]:
    if hasattr(model, "params"):
        return importlib.import_module("jax").tree.leaves(model.params)
    return model.weights


def run(case: Case, model: Any, framework: str, known: Mapping[bytes, str]) -> Arrays:
    """Return ``{name: array}`` of everything that the model gives.

    Args:
        case: what to run.
        model: as `original` or `port` gives it.
        framework: the model's.
        known: the `names` of weights, which their gradients get.

    Raises:
        Refused: it gives an error instead.
    """
    runs = {"torch": _run_torch, "tensorflow": _run_tensorflow, "jax": _run_jax}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = runs[framework](case, model)
            if case.how == "gradient":
                return {
                    f"gradient of {known[key]}": _in_order(weight, gradient)
                    for weight, gradient in found
                    if (key := _key(weight)) in known
                }
            return _named(case, found)
    except Exception as error:
        raise Refused(
            f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"
        ) from None


def _in_order(weight: Any, gradient: Any) -> np.ndarray:
    """Put a gradient into the order of its weight's numbers, which is the same in any layout.

    Zeros, such as a row for padding, have no order.
    """
    weight, gradient = (np.asarray(x).ravel() for x in (weight, gradient))
    order = np.argsort(np.asarray(weight, "float32"), kind="stable")
    return gradient[order][weight[order] != 0]


WANTED = {"output_hidden_states": True}
MAIN = ("last_hidden_state", "logits", "logits_per_text")  # whose gradients are taken


def _main(outputs: Any) -> Any:
    return next(outputs[name] for name in MAIN if outputs.get(name) is not None)


def _run_torch(case: Case, model: Any) -> Any:
    torch = importlib.import_module("torch")
    dtype = next(model.parameters()).dtype
    inputs = {
        k: torch.from_numpy(x).to(dtype) if x.dtype.kind == "f" else torch.from_numpy(x).long()
        for k, x in case.inputs().items()
    }
    if case.how == "gradient":
        model.zero_grad()
        out = _main(model(**inputs))
        (out * torch.from_numpy(_cotangent(out.shape)).to(dtype)).sum().backward()
        weights = model.parameters()
        return [(w.detach().numpy(), w.grad.numpy()) for w in weights if w.grad is not None]
    with torch.no_grad():
        if case.how == "cache":
            return _cached(model, inputs, torch.cat)
        return model(**inputs, **WANTED)


def _run_tensorflow(case: Case, model: Any) -> Any:
    tf = importlib.import_module("tensorflow")
    inputs = {k: tf.convert_to_tensor(x) for k, x in case.inputs().items()}
    if case.how == "gradient":
        with tf.GradientTape() as tape:
            out = _main(model(inputs))
            inner = tf.reduce_sum(out * _cotangent(out.shape).astype("float32"))
        weights = model.trainable_weights
        gradients = tape.gradient(inner, weights, unconnected_gradients="zero")
        return [(w, tf.convert_to_tensor(g)) for w, g in zip(weights, gradients, strict=True)]
    if case.how == "cache":
        return _cached(model, inputs, tf.concat)
    return model(inputs, **WANTED)


def _run_jax(case: Case, model: Any) -> Any:
    jax = importlib.import_module("jax")
    inputs = case.inputs()
    inputs.pop("labels", None)  # which Flax's models don't take
    if case.how == "gradient":
        cotangent = _cotangent(_main(model(**inputs)).shape)

        def inner(params):
            return (_main(model(**inputs, params=params)) * cotangent).sum()

        gradients = jax.jit(jax.grad(inner))(model.params)
        return list(zip(*map(jax.tree.leaves, (model.params, gradients)), strict=True))
    if case.how == "cache":
        return _cached_in_flax(case, model, inputs)
    return model(**inputs, **WANTED)


def _cached(model: Any, inputs: dict[str, Any], join: Any) -> dict[str, Any]:
    """Run token by token, as generation does."""
    name = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
    ids, past, parts = inputs[name], None, []
    for step in range(ids.shape[1]):
        now = inputs | {name: ids[:, step : step + 1]}
        out = model(**now, past_key_values=past, use_cache=True)
        past = out.past_key_values
        parts.append(_main(out))
    return {"last_hidden_state": join(parts, 1)}


def _cached_in_flax(case: Case, model: Any, inputs: Arrays) -> Arrays:
    """Do the same with a cache that is made beforehand."""
    ids = inputs.pop("decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids")
    batch, length = ids.shape
    mask, decodes = np.ones((batch, length), "int32"), bool(inputs)
    if decodes:
        encoded = model.encode(*inputs.values())
        past = model.init_cache(batch, length, encoded)
        call, names = partial(model.decode, encoder_outputs=encoded), ("decoder_attention_mask",)
    else:
        past, call, names = model.init_cache(batch, length), model, ("attention_mask",)
    positions = "decoder_position_ids" if decodes else "position_ids"
    takes_positions = positions in inspect.signature(call).parameters
    parts = []
    for step in range(length):
        given = {names[0]: mask, "past_key_values": past}
        if takes_positions:
            given[positions] = np.full((batch, 1), step)
        out = call(ids[:, step : step + 1], **given)
        past = out.past_key_values
        parts.append(np.asarray(_main(out)))
    return {"last_hidden_state": np.concatenate(parts, 1)}


def _cotangent(shape: tuple[int, ...]) -> np.ndarray:
    return randomness.generator(2, "audit").standard_normal(tuple(shape))


def _named(case: Case, outputs: Any) -> Arrays:
    """Return the floats among a model's outputs, those of real tokens, by name."""
    found = {}
    for name, value in outputs.items():
        if value is None or "past" in name:
            continue
        several = isinstance(value, (tuple, list))
        for number, x in enumerate(value if several else [value]):
            x = np.asarray(x.detach() if hasattr(x, "detach") else x)
            if x.dtype.kind == "f":
                real = case.real(name)
                x = x if real is None or x.shape[: real.ndim] != real.shape else x[real]
                found[f"{name}[{number}]" if several else name] = x
    return found
