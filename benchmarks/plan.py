"""What is measured: a list of measurements, each of one framework and one size."""

import dataclasses
import os

from benchmarks.setting import Heads, Language, Long, Serving, Setting

COLUMNS = ("torch", "mxnet", "jax", "tensorflow")
GROUPS = (
    "step",
    "transformer",
    "decoding",
    "multihead",
    "throughput",
    "serving",
    "language",
    "long",
    "long memory",
    "memory",
    "startup",
)


@dataclasses.dataclass
class Measurement:
    """Subjects that are compared with each other.

    Attributes:
        group: one of `GROUPS`.
        framework: the column.
        title: what tells it from others of its group.
        subjects: ``{name: subject of benchmarks.worker}``.
    """

    group: str
    framework: str
    title: str
    subjects: dict


def plan(level="full", columns=COLUMNS, groups=GROUPS):
    """List the measurements.

    Args:
        level: "full"; "quick", with fewer sizes; "tiny", to see that everything runs.
        columns, groups: which ones.
    """
    makers = {
        "step": _steps,
        "transformer": _transformers,
        "decoding": _decoding,
        "multihead": _multihead,
        "throughput": _throughput,
        "serving": _serving,
        "language": _language,
        "long": _long,
        "long memory": _long_memory,
        "memory": _memory,
        "startup": _startup,
    }
    return [m for g in groups for framework in columns for m in makers[g](level, framework)]


def _setting(level, **sizes):
    if level == "tiny":
        small = {"batch": 3, "num_steps": 4, "vocab_size": 11, "num_hiddens": 8, "num_heads": 2}
        sizes = {**sizes, **small}
    return Setting(**sizes)


def _lengths(level):
    return {"full": (9, 40, 100), "quick": (9, 40), "tiny": (4,)}[level]


def _subject(task, who, framework, setting, **options):
    return {
        "task": task,
        "who": who,
        "framework": framework,
        "setting": dataclasses.asdict(setting),
        "options": options,
    }


def _pair(task, framework, setting, **options):
    return {who: _subject(task, who, framework, setting, **options) for who in ("ours", "d2l")}


def _timed_pair(*args, **options):
    """As `_pair`; MXNet by itself takes half of the processors, and ours takes all."""
    pair = _pair(*args, **options)
    if pair["d2l"]["framework"] == "mxnet":
        threads = {"MXNET_OMP_MAX_THREADS": str(len(os.sched_getaffinity(0)))}
        pair["d2l, all cores"] = {**pair["d2l"], "environment": threads}
    return pair


def _takes_minutes(framework, num_steps):
    """Long sequences of D2L in JAX: its decoder writes out every step, and XLA compiles all."""
    return framework == "jax" and num_steps > 40


def _steps(level, framework):
    sizes = [(200, num_steps) for num_steps in _lengths(level)]
    if level == "full":
        sizes += [(10_000, 9), (10_000, 40)]
    for vocab_size, num_steps in sizes:
        setting = _setting(level, vocab_size=vocab_size, num_steps=num_steps)
        subjects = _timed_pair("step", framework, setting)
        # torch.compile writes out every step of the loops, which takes minutes for long ones.
        if framework == "torch" and num_steps < 40:
            subjects["compiled"] = _subject("step", "ours", framework, setting, compile=True)
        if _takes_minutes(framework, num_steps):
            del subjects["d2l"]
        if num_steps > 40:
            subjects.pop("d2l, all cores", None)  # half a minute each
        subjects["floor"] = _subject("step", "floor", framework, setting)
        title = f"{num_steps} steps, vocabulary {vocab_size}"
        yield Measurement("step", framework, title, subjects)


def _transformers(level, framework):
    for num_steps in _lengths(level)[:2]:
        setting = _setting(level, model="transformer", num_steps=num_steps)
        subjects = _timed_pair("step", framework, setting)
        yield Measurement("transformer", framework, f"{num_steps} steps", subjects)


def _decoding(level, framework):
    num_tokens = 5 if level == "tiny" else 100
    for batch, num_steps in {"full": ((32, 9), (32, 100), (128, 9))}.get(level, ((32, 9),)):
        setting = _setting(level, model="transformer", batch=batch, num_steps=num_steps)
        subjects = _timed_pair("decode", framework, setting, num_tokens=num_tokens)
        size = f"batch {setting.batch}, {num_tokens} tokens from a source of {setting.num_steps}"
        yield Measurement("decoding", framework, f"Transformer, {size}", subjects)


def _multihead(level, framework):
    if framework == "mxnet":  # Gluon has no such layer
        return
    sizes = [(128, 9, 256, 4), (32, 64, 256, 8), (8, 512, 512, 8)]
    # The TensorFlow column keeps weights in eager code only, and here it is compiled.
    wanted = (False,) if framework == "tensorflow" else (False, True)
    for size in [(2, 3, 4, 2)] if level == "tiny" else sizes:
        for weights in wanted:
            subjects = {
                who: _subject("multihead", who, framework, Heads(*size), weights=weights)
                for who in ("ours", "own")
            }
            shape = "batch {}, {} steps, size {}, {} heads".format(*size)
            title = f"{shape}, {'with' if weights else 'without'} weights"
            yield Measurement("multihead", framework, title, subjects)


def _throughput(level, framework):
    num_tokens = 5 if level == "tiny" else 20
    setting = _setting(level)
    subjects = _timed_pair("greedy", framework, setting, num_tokens=num_tokens)
    subjects["beam"] = _subject("beam", "ours", framework, setting, num_tokens=num_tokens, width=4)
    title = f"batch {setting.batch}, {num_tokens} tokens, greedy; ours also beam 4"
    yield Measurement("throughput", framework, title, subjects)


def _serving(level, framework):
    small = {"num_steps": 4, "vocab_size": 11, "num_hiddens": 8, "num_heads": 2, "num_tokens": 3}
    few = small if level == "tiny" else {}
    for batch in {"full": (1, 32), "quick": (32,), "tiny": (2,)}[level]:
        for beam in (1, 4):
            sizes = Serving(batch=batch, beam=beam, **few)
            # Beside PyTorch's threads the engine takes four times as long; the weights, and so the
            # tokens that it is compared with, are the same in every framework.
            beside = "mxnet" if framework == "torch" else framework
            subjects = {
                "ours": _subject("serving", "ours", framework, sizes),
                "engine": _subject("serving", "engine", beside, sizes),
            }
            title = f"batch {batch}, {sizes.num_tokens} tokens, {_search(beam)}"
            yield Measurement("serving", framework, title, subjects)


def _search(beam):
    return "greedy" if beam == 1 else f"beam {beam}"


def _language(level, framework):
    sizes = Language()
    if level == "tiny":
        sizes = Language(2, 6, 11, 8, 12, 2, 1, 1, 3)
    whose = ("ours", "own") if framework in ("torch", "jax") else ("ours",)
    for what in ("step", "generate"):
        subjects = {who: _subject("language", who, framework, sizes, what=what) for who in whose}
        shape = f"batch {sizes.batch}, {sizes.num_steps} tokens"
        title = f"training step, {shape}" if what == "step" else f"{sizes.num_tokens} tokens more"
        yield Measurement("language", framework, title, subjects)


def _long(level, framework, group="long"):
    sizes = Long(8, 4) if level == "tiny" else Long()
    subjects = {
        "ours": _subject("long", "ours", framework, sizes, what="blockwise"),
        "full": _subject("long", "full", framework, sizes, what="full"),
    }
    if framework in ("torch", "jax"):
        subjects["own"] = _subject("long", "own", framework, sizes, what="own")
    yield Measurement(group, framework, f"{sizes.num_steps} tokens, one head", subjects)


def _long_memory(level, framework):
    yield from _long(level, framework, "long memory")


def _memory(level, framework):
    for num_steps in _lengths(level):
        setting = _setting(level, num_steps=num_steps)
        subjects = _pair("step", framework, setting)
        if _takes_minutes(framework, num_steps):
            del subjects["d2l"]
        yield Measurement("memory", framework, f"{num_steps} steps", subjects)


def _startup(level, framework):
    yield Measurement("startup", framework, "", _pair("step", framework, _setting(level)))
