"""Models that others wrote: transformers' own code and files, in every column."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from d2l_ext.training import huggingface

SMALL = dict(
    vocab_size=13,
    hidden_size=24,
    intermediate_size=10,
    num_attention_heads=6,
    num_key_value_heads=2,
    num_hidden_layers=2,
    max_position_embeddings=64,
)
GPT2_SMALL = dict(vocab_size=13, n_embd=24, n_head=3, n_layer=2, n_positions=64, n_inner=10)
FAMILIES = {
    "Llama": ("Llama", SMALL | dict(rope_theta=500.0, rms_norm_eps=1e-5)),
    "Llama, tied, with biases": (
        "Llama",
        SMALL | dict(tie_word_embeddings=True, attention_bias=True),
    ),
    "Mistral": ("Mistral", SMALL | dict(sliding_window=4)),
    "Mixtral": ("Mixtral", SMALL | dict(num_local_experts=3, sliding_window=None)),
    "GPT2": ("GPT2", GPT2_SMALL),
}
BERT_SMALL = dict(
    vocab_size=13,
    hidden_size=24,
    intermediate_size=10,
    num_attention_heads=6,
    num_hidden_layers=2,
    max_position_embeddings=16,
    pad_token_id=None,  # its embedding has no gradient there
)
VIT_SMALL = BERT_SMALL | dict(image_size=6, patch_size=2, num_channels=3, num_labels=5)
BOTH_WAYS = {
    "BertModel": ("Bert", BERT_SMALL),
    "BertForMaskedLM": ("Bert", BERT_SMALL),
    "ViTForImageClassification": ("ViT", VIT_SMALL),
}
TOKENS = np.random.default_rng(0).integers(0, 13, (2, 12))


def in_float64(model, *inputs, **options):
    """Run transformers' model without the casts to float32 that it has inside.

    They stand in its norms, softmax, router and rotary angles, whatever the parameters' dtype.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Wide(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            def wide(x):
                return torch.float64 if x is torch.float32 else x

            function = torch.Tensor.double if function is torch.Tensor.float else function
            kwargs = {name: wide(x) for name, x in (kwargs or {}).items()}
            return function(*map(wide, args), **kwargs)

    with Wide():
        return model(*inputs, **options)


@pytest.fixture(scope="module", params=FAMILIES)
def peer(request, tmp_path_factory):
    """Transformers' model, random and in float64, and the folder that it was saved in."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    family, sizes = FAMILIES[request.param]
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    config = getattr(transformers, f"{family}Config")(**sizes, attn_implementation="eager")
    torch.manual_seed(0)
    model = getattr(transformers, family + head)(config).double().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    folder = tmp_path_factory.mktemp("peer")
    model.save_pretrained(folder)
    if family != "GPT2":
        exponents = torch.arange(0, 4, 2, dtype=torch.float64) / 4  # heads are of size 4
        model.model.rotary_emb.inv_freq = config.rope_theta**-exponents
    return model, folder


def test_logits_and_gradients(any_backend, peer):
    import torch

    theirs, folder = peer
    wanted = in_float64(theirs, torch.from_numpy(TOKENS)).logits
    pretrained = huggingface.read(folder)
    ours = pretrained.build(any_backend, "float64")
    np.testing.assert_allclose(ours(TOKENS), wanted.detach(), rtol=1e-9, atol=1e-11)
    if any_backend.name == "reference":
        return  # its gradients are compared with the columns' elsewhere
    cotangent = np.random.default_rng(1).standard_normal(wanted.shape)
    theirs.zero_grad()
    wanted.backward(torch.from_numpy(cotangent))
    by_name = {
        name: np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        for name, p in theirs.named_parameters()
    }
    _, gradients, _ = ours.vjp((TOKENS,), cotangent)
    back = dataclasses.replace(pretrained, parameters=gradients)
    for name, gradient in huggingface.tensors(back).items():
        np.testing.assert_allclose(gradient, by_name[name], rtol=1e-8, atol=1e-10, err_msg=name)


def test_decoding_with_a_cache(any_backend, peer):
    """A prompt of three, then token by token: past Mistral's window of four."""
    import torch

    theirs, folder = peer
    ours = huggingface.read(folder).build(any_backend, "float64")
    state, past = ours.call("init_state", 2), None
    for start, end in zip([0, *range(3, 12)], range(3, 13), strict=True):
        piece = TOKENS[:, start:end]
        with torch.no_grad():
            answer = in_float64(
                theirs, torch.from_numpy(piece), past_key_values=past, use_cache=True
            )
        past = answer.past_key_values
        logits, state = ours(piece, state)
        np.testing.assert_allclose(logits, answer.logits, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_what_is_read_is_written_bit_for_bit(peer, tmp_path, dtype):
    import torch

    theirs, _ = peer
    theirs = copy.deepcopy(theirs).to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path / "theirs")
    huggingface.write(tmp_path / "ours", huggingface.read(tmp_path / "theirs"))
    files = [(tmp_path / who / "model.safetensors").read_bytes() for who in ("theirs", "ours")]
    assert files[0] == files[1]
    configs = [
        json.loads((tmp_path / who / "config.json").read_text()) for who in ("theirs", "ours")
    ]
    assert configs[0] == configs[1]
    again = type(theirs).from_pretrained(tmp_path / "ours", dtype="auto")
    assert again.dtype == getattr(torch, dtype)


def test_one_file_and_several_are_the_same(peer, tmp_path):
    theirs, folder = peer
    theirs.save_pretrained(tmp_path, max_shard_size="2KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    wanted = huggingface.read(folder / "model.safetensors").parameters
    found = huggingface.read(tmp_path).parameters
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.fixture(scope="module", params=BOTH_WAYS)
def reader(request, tmp_path_factory):
    """As `peer`, a model that is no language model."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    family, sizes = BOTH_WAYS[request.param]
    config = getattr(transformers, f"{family}Config")(**sizes, attn_implementation="eager")
    torch.manual_seed(0)
    model = getattr(transformers, request.param)(config).double().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    folder = tmp_path_factory.mktemp("reader")
    model.save_pretrained(folder)
    return model, folder


def asked(model, tokens, segments, lens):
    """What the two are asked: inputs of ours, and theirs as options."""
    import torch

    if "ViT" in type(model).__name__:
        images = np.random.default_rng(2).standard_normal((3, 3, 6, 6))
        return (images,), {"pixel_values": torch.from_numpy(images)}
    seen = np.arange(tokens.shape[1]) < lens[:, None]
    options = {"input_ids": tokens, "token_type_ids": segments, "attention_mask": seen.astype(int)}
    return (tokens, segments, lens), {k: torch.from_numpy(x) for k, x in options.items()}


def test_readers_outputs_and_gradients(any_backend, reader):
    """BERT with lengths and both segments, its hidden words, and ViT."""
    import torch

    theirs, folder = reader
    segments, lens = (TOKENS > 6).astype(np.int64), np.array([12, 7])
    inputs, options = asked(theirs, TOKENS, segments, lens)
    found = in_float64(theirs, **options)
    pretrained = huggingface.read(folder)
    ours = pretrained.build(any_backend, "float64")
    if "Masked" in type(theirs).__name__:
        places = np.array([[1, 5, 5], [6, 0, 2]])
        inputs, wanted = (*inputs, places), found.logits[np.arange(2)[:, None], places]
    elif "ViT" in type(theirs).__name__:
        wanted = found.logits
    else:  # what stands after the end is nobody's business
        wanted = found.last_hidden_state * options["attention_mask"][..., None]
    cotangent = np.random.default_rng(1).standard_normal(wanted.shape)
    if "attention_mask" in options and len(inputs) == 3:
        cotangent = cotangent * options["attention_mask"].numpy()[..., None]
    outputs, gradients, _ = ours.vjp(inputs, cotangent)
    if len(inputs) == 3:
        outputs = outputs * options["attention_mask"].numpy()[..., None]
    np.testing.assert_allclose(outputs, wanted.detach(), rtol=1e-9, atol=1e-11)
    theirs.zero_grad()
    wanted.backward(torch.from_numpy(cotangent))
    by_name = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    back = huggingface.tensors(dataclasses.replace(pretrained, parameters=gradients))
    if "cls.predictions.decoder.weight" in back:  # one parameter there
        embedding = "bert.embeddings.word_embeddings.weight"
        back[embedding] = back[embedding] + back.pop("cls.predictions.decoder.weight")
    for name, gradient in back.items():
        np.testing.assert_allclose(gradient, by_name[name], rtol=1e-8, atol=1e-10, err_msg=name)


def test_readers_are_written_bit_for_bit(reader, tmp_path):
    _, folder = reader
    huggingface.write(tmp_path, huggingface.read(folder))
    for name in ("model.safetensors", "config.json"):
        theirs, ours = ((where / name).read_bytes() for where in (folder, tmp_path))
        assert json.loads(ours) == json.loads(theirs) if name == "config.json" else ours == theirs


@pytest.fixture
def written(tmp_path):
    """A function that writes a small Llama's files, with some options of its own."""

    def write(**options):
        config = SMALL | dict(model_type="llama", hidden_act="silu") | options
        tensors = {"embedding.weight": np.zeros((13, 24), np.float32)}
        huggingface.write(
            tmp_path, huggingface.Pretrained(config | dict(model_type="llama"), tensors)
        )
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(model_type="t5"), "model_type: got 't5', must be one of gpt2, llama, mistral"),
        (dict(hidden_act="gelu"), "hidden_act: got 'gelu', `GPT` has 'silu' only"),
        (dict(rope_scaling={"rope_type": "yarn"}), "rope_scaling: got {'rope_type': 'yarn'}"),
        (dict(head_dim=8), "head_dim: got 8, `GPT` has None, 4 only"),
        (dict(num_local_experts=4, num_experts_per_tok=3), "num_experts_per_tok: got 3"),
    ],
)
def test_what_is_not_supported_says_so(written, options, message):
    assert huggingface.read(written()).parameters.keys() == {"embedding.weight"}
    with pytest.raises(ValueError, match=message):
        huggingface.read(written(**options))


def test_damaged_and_unknown_files_say_so(written):
    folder = written()
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"model.embed_tokens", b"model.embed_secret"))
    with pytest.raises(ValueError, match=r"model.embed_secret.weight: no such parameter is known"):
        huggingface.read(folder)
    file.write_bytes(data[:-4])
    with pytest.raises(ValueError, match=r"model.safetensors: "):
        huggingface.read(folder)
