"""The command line: ``python -m d2l_ext`` or ``d2l-ext``.

Frameworks, and everything else that takes time to load, are imported by the commands, so that
``--help`` is immediate. Whatever is wrong with what the user gave is one line on standard error
and exit status 2; what goes wrong later (a full disk, a loss that is not finite) is one line and
exit status 1.
"""

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

import click

from d2l_ext import interface
from d2l_ext.training.settings import Settings, read_settings

# Commands in other modules: name, module, what it does. The module has a command of that name.
ELSEWHERE = {
    "compare": ("d2l_ext.agreement.command", "Train in several frameworks and compare all."),
}
# Errors that the user can mend; other OSErrors are a full disk and the like.
OF_THE_USER = (
    ValueError,
    ImportError,
    ConnectionError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class UserError(click.ClickException):
    """Something is wrong with what the user gave."""

    exit_code = 2


class Commands(click.Group):
    """A group whose errors are one line, and some of whose commands live in other modules."""

    def list_commands(self, ctx):
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx, name):
        if name in ELSEWHERE:
            return getattr(importlib.import_module(ELSEWHERE[name][0]), name)
        return super().get_command(ctx, name)

    def format_commands(self, ctx, formatter):
        """List the commands without loading those that live elsewhere."""
        rows = [
            (name, ELSEWHERE[name][1] if name in ELSEWHERE else self._help(ctx, name))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _help(self, ctx, name):
        return self.get_command(ctx, name).get_short_help_str(80)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output has gone: click knows what to do
            raise
        except OF_THE_USER as error:
            if ctx.params.get("debug"):
                raise
            raise UserError(_one_line(error)) from error
        except (OSError, FloatingPointError) as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(_one_line(error)) from error


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="d2l-ext", prog_name="d2l-ext")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def main(debug):
    """Attention from Dive into Deep Learning in four frameworks, with the same numbers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greetings


def _settings_options(command):
    """Add an option for each setting; one that is not given is None."""
    for spec in reversed(dataclasses.fields(Settings)):
        kind, default = type(spec.default), spec.default
        shown = ",".join(map(str, default)) if kind is tuple else default
        command = click.option(
            "--" + spec.name.replace("_", "-"),
            spec.name,
            type=str if kind is tuple else kind,
            callback=_whole_numbers if kind is tuple else None,
            help=f"{spec.metadata['help']}  [default: {shown}]",
        )(command)
    return command


def _whole_numbers(ctx, param, value):
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list like 8,12,16") from None


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/MODEL-BACKEND]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with settings; options win over it.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Go on with the run in this folder, with its settings.",
)
@_settings_options
def train(out, config, resume, **given):
    """Train a translation model.

    The folder gets the settings (config.toml), the latest and the best checkpoint, a log as JSON
    lines and a picture of the losses. A run that was killed, at whatever moment, is resumed with
    --resume and ends as if it had never been stopped.
    """
    from d2l_ext.training import run

    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None and (out or config or given):
        raise click.UsageError(
            "--resume takes everything from the run's folder: no other option can be given"
        )
    try:
        if resume is not None:
            run.resume(resume, report=click.echo)
            return
        settings = _with_absolute_data(read_settings(config, **given))
        out = out or Path("runs") / f"{settings.model}-{settings.backend}"
        run.start(out, settings, report=click.echo)
    except KeyboardInterrupt:
        folder = resume or out
        if folder is not None and (folder / run.CONFIG).exists():
            click.echo(f"\nstopped; go on with:  d2l-ext train --resume {folder}", err=True)
        sys.exit(130)


def _with_absolute_data(settings):
    """Make the path of a corpus independent of the folder that the run is resumed in."""
    if settings.data in ("bundled", "fra-eng"):
        return settings
    return dataclasses.replace(settings, data=str(Path(settings.data).absolute()))


def _model_options(command):
    """Add the options of all commands that use a checkpoint."""
    for option in (
        click.argument("checkpoint", type=click.Path(path_type=Path)),
        click.option(
            "--backend",
            type=click.Choice(interface.BACKENDS),
            help="Framework.  [default: the one that trained, if it is installed]",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "float64"]),
            help="[default: as in the checkpoint]",
        ),
    ):
        command = option(command)
    return command


def _decoding_options(command):
    """Add the options of decoding; `_method` makes sense of them."""
    for option in reversed(
        (
            click.option(
                "--beam", type=click.IntRange(1), help="Beam search with so many hypotheses."
            ),
            click.option("--length-penalty", type=float, help="Of beam search.  [default: 0.6]"),
            click.option(
                "--sample", is_flag=True, help="Draw tokens instead of the most likely ones."
            ),
            click.option("--temperature", type=float, help="Of sampling.  [default: 1]"),
            click.option("--top-k", type=int, help="Draw from the k most likely tokens only."),
            click.option("--seed", type=int, help="Of sampling.  [default: 0]"),
            click.option(
                "--max-steps", type=click.IntRange(1), help="Most tokens of a translation."
            ),
            click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True),
        )
    ):
        command = option(command)
    return command


def _method(beam, length_penalty, sample, temperature, top_k, seed, max_steps, batch_size):
    """Return the arguments of `translations`, or say which options contradict each other."""
    common = {"max_steps": max_steps, "batch_size": batch_size}
    of_beam = {"length_penalty": length_penalty}
    of_sample = {"temperature": temperature, "top_k": top_k, "seed": seed}

    def given(options):
        return {name: value for name, value in options.items() if value is not None}

    def refuse(options, needed):
        for name in given(options):
            raise click.UsageError(f"--{name.replace('_', '-')} goes with {needed}")

    if beam is not None and sample:
        raise click.UsageError("--beam and --sample cannot be given together")
    if not sample:
        refuse(of_sample, "--sample")
    if beam is None:
        refuse(of_beam, "--beam")
    if sample:
        return {"method": "sample", **given(of_sample), **common}
    if beam is not None:
        return {"method": "beam", "beam": beam, **given(of_beam), **common}
    return {"method": "greedy", **common}


def _load(path, backend, dtype):
    """Return a checkpoint, its model in a framework, and what `translations` needs of the data."""
    from d2l_ext.data import BucketedData
    from d2l_ext.training import checkpoint

    saved = checkpoint.load(path)
    data = BucketedData.without_pairs(
        saved.src_vocab, saved.tgt_vocab, _settings(path, saved).buckets
    )
    if backend is None:
        backend = _settings(path, saved).backend
        installed = interface.installed()
        backend = backend if backend in installed or not installed else installed[0]
    return saved, saved.build(interface.backend(backend), dtype), data


def _settings(path, saved):
    """Return the settings of the run that wrote a checkpoint."""
    from d2l_ext.training.checkpoint import CheckpointError

    if "settings" not in saved.info or saved.src_vocab is None or saved.tgt_vocab is None:
        raise CheckpointError(f"{path}: has a model, but not what `d2l-ext train` writes beside it")
    return read_settings(**saved.info["settings"])


@main.command()
@_model_options
@click.argument("sentence", required=False)
@click.option(
    "--input", "file", type=click.Path(path_type=Path), help="File with a sentence per line."
)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object per sentence.")
@_decoding_options
def translate(checkpoint, backend, dtype, sentence, file, as_json, **decoding):
    """Translate SENTENCE, a file, or standard input, line by line.

    An empty line gives an empty line. Words that the model does not know and sentences longer than
    it was trained on, whose end is left out, are named on standard error, or in the JSON.
    """
    if sentence is not None and file is not None:
        raise click.UsageError("SENTENCE and --input cannot be given together")
    method = _method(**decoding)
    if sentence is not None:
        if not sentence.strip():
            raise UserError("SENTENCE: got an empty sentence, must have at least one word")
        lines, name = [" ".join(sentence.split())], None
    else:
        lines, name = _read_lines(file), str(file or "standard input")
    _, model, data = _load(checkpoint, backend, dtype)
    from d2l_ext.training.decoding import translations

    full = [line for line in lines if line.strip()]
    found = iter(translations(model, data, full, **method))
    for number, line in enumerate(lines, start=1):
        translation = next(found) if line.strip() else None
        if as_json:
            click.echo(json.dumps(_as_json(line, translation, data), ensure_ascii=False))
        else:
            _warn(name, number, line, translation, data)
            click.echo("" if translation is None else _text(translation))


def _read_lines(file):
    """Return the lines of a file, or of standard input, without their ends."""
    name = file or "standard input"
    data = sys.stdin.buffer.read() if file is None else file.read_bytes()
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    decoded = []
    for number, line in enumerate(lines, start=1):
        try:
            decoded.append(" ".join(line.decode().split()))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}, line {number}: must be UTF-8, but byte {error.start + 1} is not"
            ) from None
    return decoded


def _text(translation):
    from d2l_ext.data import detokenize

    return detokenize(translation.tokens)


def _unknown(line, data):
    """Return the words of a line that are not in the vocabulary."""
    from d2l_ext.data import preprocess, tokenize

    return [word for word in tokenize(preprocess(line)) if word not in data.src_vocab]


def _num_tokens(line):
    from d2l_ext.data import preprocess, tokenize

    return len(tokenize(preprocess(line)))


def _warn(name, number, line, translation, data):
    if translation is None:
        return
    where = "" if name is None else f"{name}, line {number}: "
    unknown = _unknown(line, data)
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        click.echo(f"{where}unknown words: {shown}", err=True)
    if _num_tokens(line) > data.num_steps:
        click.echo(
            f"{where}only the first {data.num_steps} of {_num_tokens(line)} tokens are translated",
            err=True,
        )


def _as_json(line, translation, data):
    if translation is None:
        return {"source": line, "text": "", "tokens": []}
    return {
        "source": line,
        "text": _text(translation),
        "tokens": translation.tokens,
        "log_prob": translation.log_prob,
        "unknown": _unknown(line, data),
        "cut": _num_tokens(line) > data.num_steps,
    }


@main.command()
@_model_options
@click.option("--data", help="Another corpus.  [default: the one of the training]")
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Part of the corpus.  [default: test, or all of another corpus]",
)
@click.option("--limit", type=click.IntRange(1), help="Only so many source sentences.")
@click.option(
    "--show", type=click.IntRange(0), default=5, show_default=True, help="Translations to show."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File for all translations, as JSON lines."
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@_decoding_options
def evaluate(checkpoint, backend, dtype, data, part, limit, show, output, as_json, **decoding):
    """Translate the test part of a corpus and measure BLEU, with sacrebleu.

    Each distinct source sentence is translated once and compared with all its translations.
    """
    method = _method(**decoding)
    saved, model, known = _load(checkpoint, backend, dtype)
    from d2l_ext.data import load_pairs
    from d2l_ext.training.evaluation import evaluate as measure
    from d2l_ext.training.task import parts

    settings = _settings(checkpoint, saved)
    part = part or ("all" if data else "test")
    pairs = load_pairs(data or settings.data)[: None if data else settings.max_pairs or None]
    if part != "all":
        pairs = dict(zip(("train", "val", "test"), parts(pairs, settings), strict=True))[part]
    pairs = [p for p in pairs if _num_tokens(p[0]) <= known.num_steps]
    if not pairs:
        raise UserError(
            f"{data or settings.data}: the part {part!r} has no sentence of at most"
            f" {known.num_steps} tokens"
        )
    result = measure(model, known, pairs, limit, **method)
    if output is not None:
        _write_translations(output, result, known)
    if as_json:
        summary = {"bleu": result.bleu, "signature": result.signature}
        click.echo(json.dumps(summary | {"sentences": len(result.sources), "part": part}))
        return
    for source, references, found in list(
        zip(result.sources, result.references, result.found, strict=True)
    )[:show]:
        click.echo(f"{source}\n  {_text(found)}\n  ({' | '.join(references)})")
    click.echo(
        f"BLEU {result.bleu:.2f} on {len(result.sources)} sentences ({part})\n{result.signature}"
    )


def _write_translations(path, result, data):
    from d2l_ext.files import replacing

    with replacing(path) as file:
        for source, references, found in zip(
            result.sources, result.references, result.found, strict=True
        ):
            entry = _as_json(source, found, data) | {
                "references": references,
                "smallest_margin": float(min(found.margins)),
            }
            file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write everything but the numbers as JSON.")
def inspect(checkpoint, as_json):
    """Show what is in a checkpoint, without a framework."""
    from d2l_ext.training.checkpoint import load

    saved = load(checkpoint)
    shapes = {name: list(x.shape) for name, x in saved.parameters.items()}
    number = sum(x.size for x in saved.parameters.values())
    training = None if saved.training is None else {"num_steps": saved.training["num_steps"]}
    if as_json:
        click.echo(
            json.dumps(
                {
                    "model": saved.model,
                    "dtype": saved.dtype,
                    "parameters": shapes,
                    "training": training,
                    "seed": saved.seed,
                    "info": saved.info,
                },
                ensure_ascii=False,
            )
        )
        return
    _print_description(saved.model)
    for side in ("src_vocab", "tgt_vocab"):
        vocab = getattr(saved, side)
        click.echo(f"{side}: {'none' if vocab is None else f'{len(vocab)} tokens'}")
    steps = "none" if training is None else f"after step {training['num_steps']}"
    click.echo(f"training state: {steps}; seed: {saved.seed}")
    for name, value in saved.info.items():
        click.echo(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    width = max(map(len, shapes))
    click.echo(f"{number:,} parameters, {saved.dtype}:")
    for name, shape in sorted(shapes.items()):
        click.echo(f"  {name:{width}}  {' x '.join(map(str, shape))}")


def _print_description(description, name="model", indent=0):
    config = description["config"]
    plain = {k: v for k, v in config.items() if not isinstance(v, dict)}
    arguments = ", ".join(f"{k}={v!r}" for k, v in plain.items())
    click.echo(f"{'  ' * indent}{name}: {description['class']}({arguments})")
    for key, value in config.items():
        if isinstance(value, dict):
            _print_description(value, key, indent + 1)


@main.command()
def doctor():
    """Check which frameworks work here, and say how to mend what does not."""
    from d2l_ext.doctor import examine

    healthy = True
    for finding in examine():
        healthy &= finding.ok
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.text}")
        if finding.mend:
            click.echo(f"      {finding.mend}")
    sys.exit(0 if healthy else 1)


@main.command()
@_model_options
@click.argument("sentence")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="attention.png",
    show_default=True,
    help="Picture to write; its ending is the format.",
)
@click.option("--heads", is_flag=True, help="A map for each head of each block of a Transformer.")
@click.option("--steps", is_flag=True, help="A panel for each token of the translation.")
@_decoding_options
def plot(checkpoint, backend, dtype, sentence, output, heads, steps, **decoding):
    """Draw where a model looked when it translated SENTENCE."""
    if heads and steps:
        raise click.UsageError("--heads and --steps cannot be given together")
    if not sentence.strip():
        raise UserError("SENTENCE: got an empty sentence, must have at least one word")
    method = _method(**decoding)
    _, model, data = _load(checkpoint, backend, dtype)
    from d2l_ext import plotting
    from d2l_ext.training.decoding import translations

    (found,) = translations(model, data, [" ".join(sentence.split())], keep_weights=True, **method)
    weights = found.attention_weights
    if weights is None:
        raise UserError(f"{checkpoint}: the model has no attention to draw")
    if weights.ndim == 2:
        weights = weights[None, None]
    target = [*found.tokens, "<eos>"][: weights.shape[2]]
    names = {
        "row_names": [f"block {i + 1}" for i in range(weights.shape[0])],
        "column_names": [f"head {i + 1}" for i in range(weights.shape[1])],
    }
    if steps:
        plotting.attention_steps(weights, found.source, target, path=output)
    elif heads:
        plotting.attention_grid(weights, found.source, target, **names, path=output)
    else:  # what all heads of the last block look at, on the average
        plotting.attention_map(weights[-1].mean(axis=0), found.source, target, path=output)
    click.echo(f"{_text(found)}\n{output}")
