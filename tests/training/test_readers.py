"""BERT and ViT from the command line: runs, and what they write, in every framework."""

import functools
import json
import shutil

import command
import numpy as np
import pytest

import d2l_ext
from d2l_ext.training import checkpoint, run
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import task

# Batches of one size, so that few shapes have to be compiled.
SIZES = "--num-hiddens 16 --ffn-num-hiddens 24 --num-heads 2 --num-layers 1 --dtype float64"
OF_BOTH = f"{SIZES} --batch-size 8 --lr 0.01".split()
OF = {
    "bert": ["--val-fraction", 0.111, "--num-steps", 14, "--min-freq", 1],
    "vit": ["--val-fraction", 0.1, "--test-fraction", 0.1],
}
LINES = [
    "one two three four five six seven eight nine ten eleven twelve",  # two of them are hidden
    "red green blue",
    "do re mi fa sol",
    "spring, summer, autumn!",
]
MODELS = pytest.mark.parametrize("model", ["bert", "vit"])


invoke = functools.partial(command.invoke, env={"COLUMNS": "200"})


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Files of a text and of images: 64 lines, or images, to train on and 8 for validation."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "text.txt").write_text("\n".join(LINES * 18), encoding="utf-8")
    labels = np.random.default_rng(0).integers(0, 3, 80)
    images = np.random.default_rng(1).normal(labels[:, None, None, None], 0.5, (80, 2, 4, 6))
    np.savez(folder / "images.npz", images=images, labels=labels)
    return {"bert": folder / "text.txt", "vit": folder / "images.npz"}


def start(model, data, folder, backend, *options):
    """Train; most settings are the same everywhere."""
    options += ("--model", model, "--data", data[model], *OF_BOTH, *OF[model])
    return invoke("train", *options, "--backend", backend, "--out", folder)


@pytest.fixture(scope="session")
def runs(data, tmp_path_factory):
    """The folders of two runs in the first framework that is there."""
    folders = {model: tmp_path_factory.mktemp(model) / "run" for model in OF}
    for model, folder in folders.items():
        result = start(model, data, folder, d2l_ext.installed()[0], "--epochs", 8)
        assert "8 epochs; best" in result.stdout
    return folders


def epochs_of(folder):
    return [e for e in run.read_log(folder / run.LOG) if e["event"] == "epoch"]


# Training


def same_run(one, other):
    """Compare the checkpoints of two runs, bit for bit, and their logs but for the times."""
    for name in (run.LAST, run.BEST):
        a, b = (checkpoint.load(folder / name) for folder in (one, other))
        assert a.info == b.info
        np.testing.assert_equal((a.parameters, a.training), (b.parameters, b.training))
    logs = [
        [{k: v for k, v in e.items() if "second" not in k} for e in run.read_log(folder / run.LOG)]
        for folder in (one, other)
    ]
    assert logs[0] == logs[1]


def stopped_and_resumed(model, data, tmp_path, monkeypatch, backend):
    """Go on with a copy of the folder as it was within the second epoch."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    save = checkpoint.save

    def copying(path, *arguments, **given):
        save(path, *arguments, **given)
        if path.name == run.LAST and checkpoint.load(path).training["num_steps"] == 11:
            shutil.copytree(whole, stopped)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", copying)
        start(model, data, whole, backend, "--epochs", 2, "--save-every", 1)
    assert "resumed after step 11\n" in invoke("train", "--resume", stopped).stdout
    assert epochs_of(stopped)[-1]["step"] == 16
    same_run(whole, stopped)


@MODELS
def test_a_stopped_run_ends_as_if_it_had_not_been(model, data, tmp_path, monkeypatch):
    stopped_and_resumed(model, data, tmp_path, monkeypatch, d2l_ext.installed()[0])


@pytest.mark.slow
@MODELS
def test_a_stopped_run_in_every_framework(backend, model, data, tmp_path, monkeypatch):
    stopped_and_resumed(model, data, tmp_path, monkeypatch, backend.name)


@MODELS
def test_a_run_on_other_data_is_not_resumed(runs, model, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs[model], other)
    changed = tmp_path / data[model].name
    if model == "bert":
        changed.write_text(data[model].read_text().replace("re mi", "mi re"))
    else:
        with np.load(data[model]) as arrays:
            np.savez(changed, images=arrays["images"] + 1e-3, labels=arrays["labels"])
    config = (other / run.CONFIG).read_text()
    (other / run.CONFIG).write_text(config.replace(str(data[model]), str(changed)))
    result = invoke("train", "--resume", other, status=2)
    assert "was trained on other data than" in result.stderr


# One checkpoint in every framework


@pytest.fixture(scope="session")
def wanted(runs):
    """The checkpoints, their tasks, and what the reference says of validation, in one batch."""
    found = {}
    for model, folder in runs.items():
        saved = checkpoint.load(folder / run.LAST)
        own = task(read_settings(**saved.info["settings"]))
        ((*inputs, labels),) = own.train.batches(0, 0, train=False)
        logits = saved.build(d2l_ext.backend("reference"))(*inputs)
        found[model] = saved, own, inputs, labels, logits
    return found


def counted(labels, pad):
    """Say which labels count."""
    return np.full(labels.shape, True) if pad is None else labels != pad


@MODELS
def test_every_framework_predicts_and_measures_the_same(any_backend, model, wanted, runs):
    """As the run did, and as follows from the predictions by hand."""
    saved, own, inputs, labels, logits = wanted[model]
    built, pad = saved.build(any_backend), own.train.pad
    np.testing.assert_allclose(built(*inputs), logits, rtol=1e-9, atol=1e-11)
    found = own.evaluate(built, any_backend.trainer(built, 1.0, pad=pad))
    logged = epochs_of(runs[model])[-1]
    assert found["val_loss"] == pytest.approx(logged["val_loss"], rel=1e-9)
    assert found["accuracy"] == logged["accuracy"]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_probs, labels[..., None], -1)[..., 0]
    real = counted(labels, pad)
    assert found["val_loss"] == pytest.approx(losses[real].mean(), rel=1e-9)
    assert found["accuracy"] == np.mean((logits.argmax(-1) == labels)[real])


@MODELS
def test_what_is_trained_on_is_learnt(model, wanted, runs):
    """More than how often each answer is right: lines are four, and classes shades of grey."""
    train, last = wanted[model][1].train, epochs_of(runs[model])[-1]
    batches = [batch for epoch in range(9) for batch in train.batches(0, epoch)]
    labels = np.concatenate([labels[counted(labels, train.pad)] for *_, labels in batches])
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    assert last["val_loss"] < -0.8 * np.sum(shares * np.log(shares))
    assert last["accuracy"] > shares.max()


def test_every_framework_gives_the_same_vectors(any_backend, runs, tmp_path):
    vectors = {}
    for name in dict.fromkeys((any_backend.name, "reference")):
        path = tmp_path / f"{name}.npy"
        texts = ("red, blue!", "one two three unknown words")
        invoke("embed", runs["bert"] / run.BEST, *texts, "--backend", name, "--output", path)
        vectors[name] = np.load(path)
    assert vectors["reference"].shape == (2, 16)
    np.testing.assert_allclose(vectors[any_backend.name], vectors["reference"], atol=1e-11)


# Commands


SIZE = {"num_hiddens": 16, "num_heads": 2, "num_blks": 1}
MODULES = {
    "bert": {
        "class": "BERTMaskLM",
        "config": SIZE
        | {"vocab_size": 30, "ffn_num_hiddens": 24, "dropout": 0.1, "max_len": 14, "eps": 1e-5}
        | {"activation": "gelu", "norm_embedding": True},
    },
    "vit": {
        "class": "ViT",
        "config": SIZE
        | {"img_size": [4, 6], "patch_size": 2, "mlp_num_hiddens": 24, "num_classes": 3}
        | {"emb_dropout": 0.1, "blk_dropout": 0.1, "use_bias": False, "eps": 1e-5},
    },
}
SHOWN = {
    "bert": ["model: BERTMaskLM(vocab_size=30, num_hiddens=16", "tgt_vocab: 30 tokens"],
    "vit": ["model: ViT(img_size=[4, 6], patch_size=2", "tgt_vocab: none"],
}


@MODELS
def test_a_checkpoint_is_inspected(runs, model):
    last = runs[model] / run.LAST
    saved = checkpoint.load(last)
    number = sum(x.size for x in saved.parameters.values())
    text = invoke("inspect", last).stdout
    for line in (*SHOWN[model], "src_vocab: none", f"{number:,} parameters, float64:"):
        assert line in text
    found = json.loads(invoke("inspect", last, "--json").stdout)
    assert found["model"] == MODULES[model]
    assert found["parameters"].keys() == saved.parameters.keys()
    assert found["training"] == {"num_steps": saved.training["num_steps"]}
    assert found["info"]["settings"]["model"] == model


@MODELS
def test_what_was_held_out_is_measured(runs, model, wanted):
    """By BERT the validation part, as in the run; by ViT the test part."""
    last = runs[model] / run.LAST
    found = json.loads(invoke("evaluate", last, "--json").stdout)
    logged = epochs_of(runs[model])[-1]
    if model == "vit":
        saved, own, *_ = wanted[model]
        images, labels = own.train.test
        answers = saved.build(d2l_ext.backend("reference"))(images).argmax(-1)
        assert found == {"accuracy": np.mean(answers == labels)}
    else:
        assert found == {name: pytest.approx(logged[name]) for name in ("val_loss", "accuracy")}
    shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    assert invoke("evaluate", last).stdout == shown + "\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("translate", "{best}", "Two."), "no translator"),
        (("generate", "{best}", "Two"), "no language model"),
    ],
)
@MODELS
def test_a_command_of_other_models_says_what_it_has(runs, model, command, message):
    best = runs[model] / run.BEST
    result = invoke(*(part.format(best=best) for part in command), status=2)
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith(f"Error: {best}: has {message}")
    assert "but a translator" not in line


@pytest.mark.parametrize("command", ["embed", "plot"])
def test_vit_reads_no_text(runs, command, tmp_path):
    best = runs["vit"] / run.BEST
    output = ("--output", tmp_path / "output")
    line = invoke(command, best, "Two.", *output, status=2).stderr.strip().splitlines()[-1]
    assert line.startswith(f"Error: {best}: has ")
    assert "vit" in line.rpartition(": ")[2].lower()
    assert not output[1].exists()


# What does not fit


def refused(tmp_path, *arguments):
    """Return the line that says why a run does not start."""
    result = invoke("train", "--out", tmp_path / "run", *arguments, status=2)
    assert not (tmp_path / "run").exists()
    return result.stderr.strip().splitlines()[-1]


OTHERS = {
    "--window": (3, "gpt"),
    "--position": ("alibi", "gpt"),
    "--num-kv-heads": (1, "gpt"),
    "--level": ("word", "gpt"),
    "--embed-size": (8, "seq2seq or bahdanau or luong"),
    "--attention": ("dot", "luong"),
    "--buckets": ("8,12", "seq2seq or bahdanau or luong or transformer"),
    "--teacher-forcing-ratio": (0.5, "seq2seq or bahdanau or luong or transformer"),
}


@pytest.mark.parametrize("option", OTHERS)
@MODELS
def test_options_of_other_models_are_refused(tmp_path, model, option):
    value, owners = OTHERS[option]
    line = refused(tmp_path, "--model", model, option, value)
    assert line == f"Error: {option} goes with --model {owners}, not {model}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model bert --patch-size 2", "--patch-size goes with --model vit, not bert"),
        ("--model bert --test-fraction 0.1", "--test-fraction goes with"),
        ("--model vit --num-steps 9", "--num-steps goes with --model gpt or bert, not vit"),
        ("--model vit --min-freq 2", "--min-freq goes with"),
        ("--model vit --data {vit} --patch-size 4", "img_size: got 6, must be a positive multiple"),
        ("--model vit --patch-size 0", "patch_size: got 0, must be positive"),
        ("--model vit --num-hiddens 16 --num-heads 3", "num_hiddens: got 16"),
        ("--model bert --num-hiddens 16 --num-heads 3", "num_hiddens: got 16"),
        ("--model bert --num-steps 2", "num_steps"),
        ("--model bert --data none.txt", "none.txt, which is no file"),
        ("--model vit --data none.npz", "none.npz"),
        ("--model vit --data {bert}", "must be an .npz file with images and labels"),
        ("--model bert --data {vit}", "that is not UTF-8"),
        ("--model vit --data {wrong}", "got images (4, 2) and labels (4,), must be"),
        ("--model vit --data {pickled}", "allow_pickle"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, data, arguments, message):
    files = data | {"wrong": tmp_path / "wrong.npz", "pickled": tmp_path / "pickled.npz"}
    np.savez(files["wrong"], images=np.ones((4, 2)), labels=np.arange(4))
    objects = np.full((4, 2, 2), None)
    np.savez(files["pickled"], allow_pickle=True, images=objects, labels=np.arange(4))
    line = refused(tmp_path, *(part.format(**files) for part in arguments.split()))
    assert line.startswith("Error: ") and message in line
