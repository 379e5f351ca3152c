"""Runs a case in one framework: random weights, drawn once, read by each with ``from_pt``."""

import importlib
import warnings
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
    known = make(case.family).to_dict()
    small = {k: v for k, v in families.SMALL.items() if k in known and known[k] != v}
    small |= families.ONLY.get(case.family, {})
    return make(case.family, **{**small, **case.settings}, attn_implementation="eager")


def exists(family: str, framework: str) -> bool:
    """Whether a family has a model in a framework."""
    prefix = PREFIXES[framework]
    auto = importlib.import_module(f"transformers.models.auto.modeling_{prefix.lower()}_auto")
    return family in getattr(auto, f"{prefix.upper()}_MODEL_MAPPING_NAMES")


def original(case: Case, folder: Path) -> Any:
    """Build PyTorch's model with drawn weights, and save it to a folder."""
    torch = importlib.import_module("torch")
    model = _transformers().AutoModel.from_config(configuration(case)).eval()
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


def port(case: Case, folder: Path, framework: str) -> tuple[Any, list[str]]:
    """Load the saved weights in another framework; list those that found no place, either way."""
    load = getattr(_transformers(), f"{PREFIXES[framework]}AutoModel").from_pretrained
    options = {"from_pt": True, "config": configuration(case)}
    if framework == "jax":  # Flax's says it in a log only
        return load(folder, **options), []
    model, info = load(folder, **options, output_loading_info=True)
    return model, [*info.get("missing_keys", ()), *info.get("unexpected_keys", ())]


def run(case: Case, model: Any, framework: str) -> Arrays:
    """Return ``{name: array}`` of everything that the model gives.

    Raises:
        Refused: it gives an error instead.
    """
    runs = {"torch": _run_torch, "tensorflow": _run_tensorflow, "jax": _run_jax}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _named(case, runs[framework](case, model))
    except Exception as error:
        raise Refused(
            f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"
        ) from None


WANTED = {"output_hidden_states": True}


def _run_torch(case: Case, model: Any) -> Any:
    torch = importlib.import_module("torch")
    dtype = next(model.parameters()).dtype
    inputs = {
        k: torch.from_numpy(x).to(dtype) if x.dtype.kind == "f" else torch.from_numpy(x).long()
        for k, x in case.inputs().items()
    }
    if case.how == "gradient":
        model.zero_grad()
        last = model(**inputs).last_hidden_state
        (last * torch.from_numpy(_cotangent(last.shape)).to(dtype)).sum().backward()
        return {"gradient": model.get_input_embeddings().weight.grad.numpy()}
    with torch.no_grad():
        if case.how == "cache":
            return _cached(model, inputs["input_ids"], torch.cat)
        return model(**inputs, **WANTED)


def _run_tensorflow(case: Case, model: Any) -> Any:
    tf = importlib.import_module("tensorflow")
    inputs = {k: tf.convert_to_tensor(x) for k, x in case.inputs().items()}
    if case.how == "gradient":
        with tf.GradientTape() as tape:
            last = model(inputs).last_hidden_state
            inner = tf.reduce_sum(last * _cotangent(last.shape).astype("float32"))
        rows = _rows(model)
        table = next(w for w in model.trainable_weights if w.shape[0] == rows and len(w.shape) == 2)
        return {"gradient": tf.convert_to_tensor(tape.gradient(inner, table))}
    if case.how == "cache":
        return _cached(model, inputs["input_ids"], tf.concat)
    return model(inputs, **WANTED)


def _run_jax(case: Case, model: Any) -> Any:
    jax = importlib.import_module("jax")
    inputs = case.inputs()
    if case.how == "gradient":
        shape = model(**inputs).last_hidden_state.shape

        def inner(params):
            return (model(**inputs, params=params).last_hidden_state * _cotangent(shape)).sum()

        leaves = jax.tree.leaves(jax.grad(inner)(model.params))
        return {"gradient": next(x for x in leaves if x.ndim == 2 and len(x) == _rows(model))}
    if case.how == "cache":
        ids = inputs["input_ids"]
        batch, length = ids.shape
        past, parts = model.init_cache(batch, length), []
        mask = np.ones((batch, length), "int32")
        for step in range(length):
            positions = np.full((batch, 1), step)
            given = {"past_key_values": past, "attention_mask": mask}
            if case.family != "bloom":
                given["position_ids"] = positions
            out = model(ids[:, step : step + 1], **given)
            past = out.past_key_values
            parts.append(np.asarray(out.last_hidden_state))
        return {"last_hidden_state": np.concatenate(parts, 1)}
    return model(**inputs, **WANTED)


def _cached(model: Any, ids: Any, join: Any) -> dict[str, Any]:
    """Run token by token, as generation does."""
    past, parts = None, []
    for step in range(ids.shape[1]):
        out = model(ids[:, step : step + 1], past_key_values=past, use_cache=True)
        past = out.past_key_values
        parts.append(out.last_hidden_state)
    return {"last_hidden_state": join(parts, 1)}


def _rows(model: Any) -> int:
    return model.config.vocab_size


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
                found[f"{name}[{number}]" if several else name] = x
    if case.mask == "none":
        return found
    real = case._mask().astype(bool)
    return {k: x[real] if x.shape[:2] == real.shape else x for k, x in found.items()}
