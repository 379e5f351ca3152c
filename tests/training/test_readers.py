"""BERT and ViT from the command line: runs, and what they write, in every framework."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import d2l_ext
from d2l_ext.cli import main
from d2l_ext.training import checkpoint, run
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import task

# Batches of one size in each part, so that few shapes have to be compiled.
SIZES = "--num-hiddens 16 --ffn-num-hiddens 24 --num-heads 2 --num-layers 2 --dtype float64"
OF_BOTH = f"{SIZES} --batch-size 8 --val-fraction 0.25 --lr 0.01 --save-every 1".split()
OF = {"bert": ["--num-steps", 10, "--min-freq", 1], "vit": ["--test-fraction", 0.25]}
LINES = ["One and two make three.", "Two and three make five.", "One, two!"]
QUIET = {"env": {"COLUMNS": "200"}}


def invoke(*arguments, status=0, **options):
    """Run a command; returns its result."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], **(QUIET | options))
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of a text and of images, of each of which 8 are for validation."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "text.txt").write_text("\n".join((LINES * 11)[:32]), encoding="utf-8")
    labels = np.random.default_rng(0).integers(0, 3, 32)
    images = np.random.default_rng(1).normal(labels[:, None, None, None], 0.5, (32, 2, 4, 6))
    np.savez(folder / "images.npz", images=images, labels=labels)
    return {"bert": folder / "text.txt", "vit": folder / "images.npz"}


@pytest.fixture(scope="module", params=["bert", "vit"])
def model(request):
    """Which of the two."""
    return request.param


@pytest.fixture(scope="module")
def options(model, data):
    """Options of a small run of two epochs; the framework is missing."""
    return ["--model", model, "--data", data[model], "--epochs", 2, *OF_BOTH, *OF[model]]


@pytest.fixture(scope="module")
def trained(options, tmp_path_factory):
    """The folder of a run in the first framework that is there."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    result = invoke("train", *options, "--backend", d2l_ext.installed()[0], "--out", folder)
    assert "2 epochs; best" in result.stdout
    return folder


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


def test_a_stopped_run_ends_as_if_it_had_not_been(backend, options, tmp_path, monkeypatch):
    """Stopped by the user within the second epoch, at the step after the last checkpoint."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [*options, "--backend", backend.name]
    invoke("train", *options, "--out", whole)
    save, steps = run.Run._save, []

    def stopping(self, name, trainer):
        steps.append(self.trainer.num_steps)
        if self.trainer.num_steps == 4:  # of 2 times 2 or 3
            raise KeyboardInterrupt
        save(self, name, trainer)

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "_save", stopping)
        result = invoke("train", *options, "--out", stopped, status=130)
    assert f"go on with:  d2l-ext train --resume {stopped}" in result.stderr
    assert checkpoint.load(stopped / run.LAST).training["num_steps"] == 3
    assert "resumed after step 3" in invoke("train", "--resume", stopped).stdout
    same_run(whole, stopped)


def test_a_run_on_other_data_is_not_resumed(trained, model, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    changed = tmp_path / data[model].name
    if model == "bert":
        changed.write_text(data[model].read_text().replace("five", "six"))
    else:
        with np.load(data[model]) as arrays:
            np.savez(changed, images=arrays["images"] + 1e-3, labels=arrays["labels"])
    config = (other / run.CONFIG).read_text()
    (other / run.CONFIG).write_text(config.replace(str(data[model]), str(changed)))
    result = invoke("train", "--resume", other, status=2)
    assert "was trained on other data than" in result.stderr


def test_what_is_trained_on_is_learnt(trained, model):
    """The text has three sentences, and the classes differ in their brightness."""
    first, last = epochs_of(trained)
    assert last["val_loss"] < first["val_loss"]
    assert last["accuracy"] > 1 / 3


# One checkpoint in every framework


def logits_and_labels(saved, data, backend):
    """Return the logits of validation in one batch, the labels, and which of them count."""
    *inputs, labels = next(iter(data.batches(0, 0, train=False)))
    return saved.build(backend)(*inputs), labels, labels != (-1 if data.pad is None else data.pad)


@pytest.fixture(scope="module")
def wanted(trained):
    """The checkpoint, its task, and what the reference says of validation."""
    saved = checkpoint.load(trained / run.LAST)
    own = task(read_settings(**saved.info["settings"]))
    return saved, own, *logits_and_labels(saved, own.train, d2l_ext.backend("reference"))


def test_every_framework_predicts_the_same(any_backend, wanted):
    saved, own, logits, *_ = wanted
    found, *_ = logits_and_labels(saved, own.train, any_backend)
    np.testing.assert_allclose(found, logits, rtol=1e-9, atol=1e-11)


def test_every_framework_measures_the_same(any_backend, wanted, trained):
    """As the run did, and as follows from the predictions by hand."""
    saved, own, logits, labels, real = wanted
    built = saved.build(any_backend)
    found = own.evaluate(built, any_backend.trainer(built, 1.0, pad=own.train.pad))
    logged = epochs_of(trained)[-1]
    assert found["val_loss"] == pytest.approx(logged["val_loss"], rel=1e-9)
    assert found["accuracy"] == logged["accuracy"]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_probs, labels[..., None], -1)[..., 0]
    assert found["val_loss"] == pytest.approx(losses[real].mean(), rel=1e-9)
    assert found["accuracy"] == np.mean((logits.argmax(-1) == labels)[real])


@pytest.mark.parametrize("model", ["bert"], indirect=True)
def test_every_framework_gives_the_same_vectors(any_backend, trained, tmp_path):
    vectors = {}
    for name in dict.fromkeys((any_backend.name, "reference")):
        path = tmp_path / f"{name}.npy"
        texts = ("One, two!", "Three and five make unknown.")
        invoke("embed", trained / run.BEST, *texts, "--backend", name, "--output", path)
        vectors[name] = np.load(path)
    assert vectors["reference"].shape == (2, 16)
    np.testing.assert_allclose(vectors[any_backend.name], vectors["reference"], atol=1e-11)


# Commands


DESCRIPTIONS = {
    "bert": ["model: BERTMaskLM(vocab_size=14, num_hiddens=16", "tgt_vocab: 14 tokens"],
    "vit": ["model: ViT(img_size=[4, 6], patch_size=2", "tgt_vocab: none"],
}
MODULES = {"bert": "BERTMaskLM", "vit": "ViT"}


def test_a_checkpoint_is_inspected(trained, model):
    saved = checkpoint.load(trained / run.LAST)
    number = sum(x.size for x in saved.parameters.values())
    text = invoke("inspect", trained / run.LAST).stdout
    for line in (*DESCRIPTIONS[model], "src_vocab: none", f"{number:,} parameters, float64:"):
        assert line in text
    found = json.loads(invoke("inspect", trained / run.LAST, "--json").stdout)
    assert found["model"]["class"] == MODULES[model]
    assert found["parameters"].keys() == saved.parameters.keys()
    assert found["training"] == {"num_steps": saved.training["num_steps"]}
    assert found["info"]["settings"]["model"] == model


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("translate", "{best}", "Two."), "no translator"),
        (("evaluate", "{best}"), "no translator"),
        (("generate", "{best}", "Two"), "no language model"),
    ],
)
def test_a_command_of_other_models_says_what_it_has(trained, model, command, message):
    best = trained / run.BEST
    result = invoke(*(part.format(best=best) for part in command), status=2)
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith(f"Error: {best}: has ")
    assert message in line
    assert "but a translator" not in line and "what `d2l-ext train` writes" not in line


@pytest.mark.parametrize("model", ["vit"], indirect=True)
@pytest.mark.parametrize("command", ["embed", "plot"])
def test_vit_reads_no_text(trained, command, tmp_path):
    best = trained / run.BEST
    output = ("--output", tmp_path / "output")
    line = invoke(command, best, "Two.", *output, status=2).stderr.strip().splitlines()[-1]
    assert line.startswith(f"Error: {best}: has ")
    assert "what `d2l-ext train` writes" not in line
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
@pytest.mark.parametrize("model", ["bert", "vit"])
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
