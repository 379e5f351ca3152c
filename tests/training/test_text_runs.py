"""Training a language model from the command line, and what it writes, in every framework."""

import numpy as np
import pytest
from click.testing import CliRunner

import d2l_ext
from d2l_ext.cli import main
from d2l_ext.training import checkpoint

SMALL = "--num-hiddens 16 --ffn-num-hiddens 24 --num-layers 1 --num-steps 12 --batch-size 8"
TEXT = "One and two make three. Two and three make five.\n" * 12


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two epochs, in the first framework that is there."""
    path = tmp_path_factory.mktemp("text")
    (path / "text.txt").write_text(TEXT, encoding="utf-8")
    result = run(
        *("train", "--model", "gpt", "--backend", d2l_ext.installed()[0], "--dtype", "float64"),
        *("--data", path / "text.txt", "--out", path / "run", "--epochs", 2, *SMALL.split()),
        *("--window", 5, "--val-fraction", 0.2, "--lr", 0.01),
    )
    assert result.exit_code == 0, result.output
    assert "perplexity" in result.output
    return path


def test_a_stopped_run_ends_as_if_it_had_not_been(folder):
    """Of a copy with the first epoch's checkpoint alone, resumed."""
    data, name = folder / "text.txt", d2l_ext.installed()[0]
    arguments = ("--model", "gpt", "--backend", name, "--dtype", "float64", "--data", data)
    arguments += (*SMALL.split(), "--window", 5, "--val-fraction", 0.2, "--lr", 0.01)
    assert run("train", *arguments, "--out", folder / "other", "--epochs", 1).exit_code == 0
    config = folder / "other" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 1 ", "epochs = 2 "))
    assert run("train", "--resume", folder / "other").exit_code == 0
    wanted, found = (
        checkpoint.load(folder / run / "last.safetensors").parameters for run in ("run", "other")
    )
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_every_framework_writes_the_same_text(folder, any_backend):
    best = folder / "run" / "best.safetensors"
    options = ("Two ", "--max-steps", 30, "--temperature", 1.2, "--top-p", 0.95, "--num", 2)
    found = run("generate", best, *options, "--backend", any_backend.name)
    assert found.exit_code == 0, found.output
    assert found.output == run("generate", best, *options, "--backend", "reference").output
    assert len(found.output) == len("Two ") * 2 + 2 * 31
    assert found.output.startswith("Two ")


def test_a_draft_changes_nothing_of_the_most_likely_text(folder):
    best, last = (folder / "run" / f"{name}.safetensors" for name in ("best", "last"))
    greedy = ("One", "--max-steps", 20, "--temperature", 0, "--backend", "reference")
    with_draft = run("generate", best, *greedy, "--draft", last)
    assert with_draft.stdout == run("generate", best, *greedy).stdout
    assert "of the drafted tokens were accepted" in with_draft.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("translate", "{best}", "Two."), "has no translator, but a gpt"),
        (("generate", "{best}", "--draft", "{best}", "--num", "2"), "--draft goes without"),
        (("train", "--model", "gpt", "--buckets", "8,12"), "--buckets goes with --model seq2seq"),
        (("train", "--window", "3"), "--window goes with --model gpt, not bahdanau"),
        (("train", "--model", "gpt", "--num-heads", "3"), "num_hiddens: got 256"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, arguments, message):
    best = folder / "run" / "best.safetensors"
    result = run(*(str(a).format(best=best) for a in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_unknown_characters_are_named(folder):
    best = folder / "run" / "best.safetensors"
    found = run("generate", best, "Tüo", "--max-steps", 3, "--backend", "reference")
    assert found.exit_code == 0
    assert "unknown characters" in found.stderr and "'ü'" in found.stderr
