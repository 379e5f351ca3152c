"""``python -m tools.corpus``: write the bundled corpus to its place in the package."""

from d2l_ext.data.sources import BUNDLED
from tools.corpus.corpus import build


def main():
    """Write the file."""
    lines = [f"{en}\t{fr}\n" for en, fr in build()]
    BUNDLED.write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
