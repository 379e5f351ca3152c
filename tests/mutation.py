"""Random bugs: small changes of the columns' operators, constants, axes, comparisons and branches.

A `Mutation` changes one node of one file's syntax tree. Arguments' defaults, error messages and
checks of arguments are left alone: other tests hold them against the reference's.

``python tests/mutation.py [COLUMN, COLUMN/FILE or ID ...]`` runs all of the sample, or a part, and
prints what became of each.
"""

import ast
import dataclasses
import hashlib
import itertools
import subprocess
import sys

from planted import PACKAGE, failure, planted
from shared import CATALOGUE

import d2l_ext

NUMBER = 50  # of each column
FILES = (
    *("layers", "masking", "scoring", "recurrent", "seq2seq"),
    *("bahdanau", "multihead", "positional", "transformer"),
)
NEWER_NUMBER = 20  # of each column, another sample, of the files of later rows
NEWER = (
    *("normalization", "rotary", "feedforward", "moe", "caching"),
    *("gpt", "blockwise", "linear", "bert", "vision"),
)
# Beginnings of the names of the cases that run a file's code, the cheapest first.
CASES = {
    "layers": (
        *("scoring/AdditiveAttention/dropout", "transformer/AddNorm/", "recurrent/GRU/dropout"),
        *("transformer/PositionWiseFFN/gelu", "seq2seq/Seq2SeqEncoder/dropout"),
        *("seq2seq/Seq2SeqDecoder/dropout", "bahdanau/Seq2SeqAttentionDecoder/dropout"),
        "transformer/TransformerDecoder/dropout, ",
    ),
    "masking": (
        *("masking/", "scoring/DotProductAttention/", "scoring/AdditiveAttention/"),
        *("transformer/TransformerDecoderBlock/post", "transformer/TransformerDecoder/post"),
    ),
    "scoring": ("scoring/", "bahdanau/LuongDecoder"),
    "recurrent": (
        *("recurrent/", "seq2seq/Seq2SeqEncoder/", "seq2seq/Seq2SeqDecoder/lengths"),
        *("seq2seq/BidirectionalEncoder/", "bahdanau/Seq2SeqAttentionDecoder/dropout"),
    ),
    "seq2seq": ("seq2seq/masked_loss", "seq2seq/", "bahdanau/Seq2SeqAttentionDecoder/lengths"),
    "bahdanau": (
        *("bahdanau/Seq2SeqAttentionDecoder/", "bahdanau/LSTMAttentionDecoder/"),
        *("bahdanau/Seq2SeqAttentionDecoder after", "bahdanau/LuongDecoder"),
    ),
    "multihead": ("multihead/", "transformer/TransformerDecoder/post"),
    "positional": ("positional/", "transformer/TransformerDecoder/post"),
    "transformer": (
        *("transformer/PositionWise", "transformer/AddNorm", "transformer/TransformerEncoderBlock"),
        *("transformer/TransformerDecoderBlock", "transformer/TransformerEncoder/", "transformer/"),
    ),
    "normalization": ("normalization/",),
    "rotary": ("rotary/", "gpt/GroupedQueryAttention/", "gpt/GPT/"),
    "feedforward": ("feedforward/",),
    "moe": ("moe/",),
    "caching": ("gpt/GroupedQueryAttention/", "gpt/GPT/"),
    "gpt": ("gpt/GroupedQueryAttention/", "gpt/GPTBlock/", "gpt/GPT/"),
    "blockwise": ("blockwise/",),
    "linear": ("linear/",),
    "bert": ("bert/MaskLM/", "bert/BERTEncoder/", "bert/BERTMaskLM/"),
    "vision": ("vision/PatchEmbedding/", "vision/ViTMLP/", "vision/ViTBlock/", "vision/ViT/"),
}
OTHER = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A change of one node of a column's file.

    Attributes:
        column, file: where.
        place: number of the change in the file.
        what: the function, and the code before and after.
    """

    column: str
    file: str
    place: int
    what: str

    @property
    def id(self):
        """What it changes, which stays the same when other lines of the file change."""
        return f"{self.column}/{self.file}: {self.what}"

    def applied(self):
        """Return the file's text with the change."""
        return ast.unparse(_Mutator(self.place).visit(parsed(self.column, self.file)))


def sample():
    """Return mutations of each column, the same ones as long as their code is the same."""
    found = [mutation for column in d2l_ext.COLUMNS for mutation in _chosen(column)]
    return sorted(found, key=lambda m: (m.column, m.file))


def _chosen(column):
    yield from _shuffled(column, FILES)[:NUMBER]
    # The first of each file, the second of each and so on: some files are much longer than others.
    rounds = itertools.zip_longest(*(_shuffled(column, [file]) for file in NEWER))
    each = filter(None, itertools.chain.from_iterable(rounds))
    yield from itertools.islice(each, NEWER_NUMBER)


def _shuffled(column, files):
    every = [mutation for file in files for mutation in _mutations(column, file)]
    return sorted(every, key=lambda m: hashlib.sha256(m.id.encode()).hexdigest())


def _mutations(column, file):
    mutator, seen = _Mutator(None), {}
    mutator.visit(parsed(column, file))
    for place, what in enumerate(mutator.found):
        seen[what] = seen.get(what, 0) + 1
        again = f" #{seen[what]}" if seen[what] > 1 else ""
        yield Mutation(column, file, place, what + again)


def parsed(column, file):
    return ast.parse((PACKAGE / column / f"{file}.py").read_text())


class _Mutator(ast.NodeTransformer):
    """Numbers all possible changes, and makes the one with a given number."""

    def __init__(self, place, alternatives=None):
        self._place, self._alternatives = place, alternatives or _alternatives
        self._function, self.found, self.lines = [], [], []

    def visit(self, node):
        if _is_left_alone(node):
            return node
        scope = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if scope:
            self._function.append(node.name)
        chosen = node
        for other in self._alternatives(node):
            if len(self.found) == self._place:
                chosen = ast.copy_location(other, node)
            self.lines.append((node.lineno, node.end_lineno))
            self.found.append(".".join(self._function) + f": {_brief(node)} -> {_brief(other)}")
        if chosen is node:
            self._children(node)
        if scope:
            self._function.pop()
        return chosen if chosen is node else ast.fix_missing_locations(chosen)

    def _children(self, node):
        defaults = node if isinstance(node, (ast.FunctionDef, ast.Lambda)) else None
        for name, value in ast.iter_fields(node):
            if defaults is not None and name in ("args", "decorator_list", "returns"):
                continue
            if isinstance(value, list):
                value[:] = [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))


def _is_left_alone(node):
    if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return True
    if isinstance(node, ast.FunctionDef):
        return node.name.lstrip("_").startswith("check") or node.name == "spec"
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("check")


def _alternatives(node):
    match node:
        case ast.BinOp(left, op, right) if type(op) in OTHER:
            yield ast.BinOp(left, OTHER[type(op)](), right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(OTHER[type(op)](), values)
        case ast.Compare(left, [op], values) if type(op) in OTHER:
            yield ast.Compare(left, [OTHER[type(op)]()], values)
        case ast.UnaryOp(ast.USub() | ast.Not() | ast.Invert(), operand):
            yield operand
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield ast.Constant(2 * value or 1.0)


def _brief(node):
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else text[:57] + "..."


# Those that end the process: they are run in one of their own.
FATAL = {
    "mxnet/transformer: TransformerDecoderBlock.forward.attend_to_past: x.shape[1] + 1 -> "
    "x.shape[1] - 1"
}

ALL = sample()


def cases(mutation):
    """Return the names of the cases that run a file's code, the likeliest and cheapest first.

    First those of the class or function that is changed; of these, and of the others, those of
    whole models last.
    """
    names = [n for start in CASES[mutation.file] for n in CATALOGUE if n.startswith(start)]
    changed = "/" + mutation.what.partition(":")[0].partition(".")[0]
    return sorted(dict.fromkeys(names), key=lambda n: (changed not in n, CATALOGUE[n].translates))


def report(mutation):
    """Return what the first case that notices says, or None."""
    try:
        with planted(mutation.column, mutation.file, mutation.applied()) as backend:
            found = (failure(name, backend, "float64") for name in cases(mutation))
            return next(filter(None, found), None)
    except Exception as error:  # the column can't even be loaded
        return f"{type(error).__name__}: {error}"


def report_elsewhere(mutation):
    """As `report`, in another process; its end is a report, too."""
    command = [sys.executable, __file__, mutation.id]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return None if run.stdout.startswith("SURVIVED") else run.stdout or f"status {run.returncode}"


def main(chosen):
    """Run the mutations of some columns or of some of their files, or those with some ids."""
    for mutation in (m for m in ALL if {m.column, f"{m.column}/{m.file}", m.id} & set(chosen)):
        elsewhere = mutation.id in FATAL and mutation.id not in chosen
        found = report_elsewhere(mutation) if elsewhere else report(mutation)
        what = f"caught {mutation.id} | {found[:150]}" if found else f"SURVIVED {mutation.id}"
        print(" ".join(what.split()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or d2l_ext.COLUMNS)
