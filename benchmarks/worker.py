"""A process that prepares one subject and then runs it whenever it is told to.

It reads commands, a line each, from its standard input and answers each with a line of JSON:

* ``run``: do it once; the answer is a list of seconds, one number or, for decoding, one per token;
* ``memory``: do it once; the answer is by how many MiB the peak of memory exceeded what the process
  held when everything was imported.

The subject is a JSON object, the only argument: ``task`` ("load", "step", "decode", "greedy",
"beam", "multihead", "language", "long", "serving"), ``who`` ("ours", "d2l", "floor", "own", "full",
"engine"),
``framework``, ``setting`` (of one of the classes in `setting`) and ``options``; an ``environment``,
where there is one, is set already.
"""

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path

from benchmarks.setting import Heads, Language, Long, Serving, Setting


def prepare(subject):
    """Return the function that does what is measured."""
    task, who, framework = subject["task"], subject["who"], subject["framework"]
    if task == "load":
        importlib.import_module(
            f"benchmarks.d2l_text.{framework}" if who == "d2l" else f"d2l_ext.{framework}"
        )
        return lambda: None
    if task == "multihead":
        module = importlib.import_module(f"benchmarks.multihead.{framework}")
        return getattr(module, who)(Heads(**subject["setting"]), **subject["options"])
    if task in ("language", "long"):
        return _peers(task, who, framework, subject["setting"], **subject["options"])
    if task == "serving":
        module = importlib.import_module(f"benchmarks.serving.{who}")
        return module.translate(framework, Serving(**subject["setting"]))
    setting = Setting(**subject["setting"])
    if who == "floor":
        return importlib.import_module("benchmarks.floor").products(framework, setting)
    module = importlib.import_module("benchmarks.ours" if who == "ours" else "benchmarks.d2l_text")
    return getattr(module, task)(framework, setting, **subject["options"])


def _peers(task, who, framework, sizes, what):
    """Return what ours or the framework's own does, with a language model or over a long text."""
    size = {"language": Language, "long": Long}[task](**sizes)
    module = importlib.import_module(f"benchmarks.{task}.{framework if who == 'own' else 'ours'}")
    function = getattr(module, what)
    return function(size) if who == "own" else function(framework, size)


def timed(function):
    """Return the seconds of a call, or of each turn of a generator."""
    start = time.perf_counter()
    turns = function()
    if not hasattr(turns, "__next__"):
        return [time.perf_counter() - start]
    seconds = []
    for _ in turns:
        now = time.perf_counter()
        seconds.append(now - start)
        start = now
    return seconds


def peak_of(function, before):
    """Return by how many MiB memory grew over what was held before, at most, in a call."""
    Path("/proc/self/clear_refs").write_text("5")  # starts the peak again
    timed(function)
    return [(_held("VmHWM") - before) / 1024]


def _held(what):
    """Return a figure of the process's memory, in KiB: VmRSS now, VmHWM at the peak."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", status).group(1))


def main():
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print does not come between the answers
    subject = json.loads(sys.argv[1])
    if subject["who"] != "floor":
        prepare({**subject, "task": "load"})
    before = _held("VmRSS")
    run = prepare(subject)
    for line in sys.stdin:
        answer = timed(run) if line.strip() == "run" else peak_of(run, before)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
