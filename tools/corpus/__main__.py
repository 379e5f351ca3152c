"""``python -m tools.corpus``: write the bundled corpus and its alignments to their places."""

from d2l_ext.data.sources import ALIGNMENTS, BUNDLED
from tools.corpus.alignment import links
from tools.corpus.corpus import build


def main():
    """Write the files."""
    pairs = build()
    lines = [f"{en}\t{fr}\n" for en, fr in pairs]
    BUNDLED.write_text("".join(lines), encoding="utf-8", newline="\n")
    ALIGNMENTS.write_text(alignments(pairs), encoding="utf-8", newline="\n")


def alignments(pairs):
    """Return the text of the alignments: a line a pair, "1-2 3-3", as aligners write it."""
    return "".join(f"{' '.join(f'{i}-{j}' for i, j in links(*pair))}\n" for pair in pairs)


if __name__ == "__main__":
    main()
