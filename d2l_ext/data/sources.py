"""Where data come from: what is bundled, what D2L offers, or a file of the user's."""

import hashlib
import io
import os
import re
import urllib.request
import zipfile
from pathlib import Path

import numpy as np

from d2l_ext.files import replacing

BUNDLED = Path(__file__).with_name("corpus.tsv")
ALIGNMENTS = Path(__file__).with_name("alignments.tsv")
TRANSLATORS = Path(__file__).with_name("translators")  # small ones, trained, for the book

# D2L's copy of the English-French sentences of Tatoeba that manythings.org offers (CC BY 2.0),
# with the hash that D2L 1.0 states for it.
FRA_ENG_URL = "https://d2l-data.s3-accelerate.amazonaws.com/fra-eng.zip"
FRA_ENG_SHA1 = "94646ad1522d915e7b0f9296181140edcf86a4f5"
FRA_ENG_MEMBER = "fra-eng/fra.txt"
# Wells's novel as D2L uses it for language models, with the hash that D2L 1.0 states.
TIME_MACHINE_URL = "https://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt"
TIME_MACHINE_SHA1 = "090b5e7e70c295757f55df93cb0a180b9691891a"
TIMEOUT_SECONDS = 30

# Text has none of these between the tabs of a line; where there is one, something else is wrong.
_CONTROL = re.compile(r"[\x00-\x08\n-\x1f\x7f-\x9f]")


def load_pairs(
    source: str | os.PathLike[str] = "bundled", data_dir: str | Path | None = None
) -> list[tuple[str, str]]:
    """Return the list of (source sentence, target sentence) of a source, in file order.

    Args:
        source: ``"bundled"``, the English-French corpus that comes with the package; ``"fra-eng"``,
            D2L's data set; or the path of a UTF-8 text file with a pair on each line: two columns
            separated by a tab, or three, of which the third (Tatoeba's licence) is dropped. Blank
            lines are skipped.
        data_dir: where fra-eng, which is downloaded once, is kept, by default the user's cache
            folder. Its hash is checked each time it is read.

    Raises:
        ValueError: a file that is not like this; the message names the file and the line. (That one
            letter has become another cannot be seen here; but a training run keeps the pairs'
            SHA-256, and neither goes on nor is evaluated with others.)
        FileNotFoundError: there is no such file.
        ConnectionError: the download failed; the message says what to do instead.
    """
    if source == "bundled":
        return _parse(BUNDLED.read_bytes(), BUNDLED.name)
    if source == "fra-eng":
        return _parse(_fra_eng_text(data_dir), f"fra-eng.zip: {FRA_ENG_MEMBER}")
    return _parse(_existing(source).read_bytes(), os.fspath(source))


def load_alignments() -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Return which words of the bundled corpus translate each other.

    Nouns, adjectives, verbs, names and numbers of the grammar's lexicon have a partner, most small
    words have none.

    Returns:
        ``{(source, target): [(place in the source, place in the target), ...]}``; places are those
        of the tokens that `tokenize` makes, from 0.
    """
    lines = ALIGNMENTS.read_text(encoding="utf-8").splitlines()
    links = [[_link(word) for word in line.split()] for line in lines]
    return dict(zip(load_pairs("bundled"), links, strict=True))


def _link(word: str) -> tuple[int, int]:
    source, _, target = word.partition("-")
    return int(source), int(target)


def _existing(source: str | os.PathLike[str], other: str = "fra-eng") -> Path:
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"source: got {source!r}, must be 'bundled', {other!r} or the path of a file"
        )
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"source: got {source!s}, which is no file, must be 'bundled', {other!r} or the path of"
            " a file"
        )
    return path


def _parse(data: bytes, name: str) -> list[tuple[str, str]]:
    """The pairs in the bytes `data` of the file called `name`."""
    # Only a line feed ends a line: str.splitlines would also split at characters such as U+2028,
    # which occur inside sentences. A byte order mark is not part of the first sentence.
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    pairs = [_parse_line(line, name, number) for number, line in enumerate(lines, start=1)]
    pairs = [pair for pair in pairs if pair is not None]
    if not pairs:
        raise ValueError(f"{name}: got no sentence pair, must have at least one")
    return pairs


def _parse_line(line: bytes, name: str, number: int) -> tuple[str, str] | None:
    """(source, target) of one line, or None for a blank one."""
    try:
        text = line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}: got byte {error.start + 1} that is not UTF-8, must be UTF-8"
        ) from None
    control = _CONTROL.search(text)
    if control:
        raise ValueError(
            f"{name}, line {number}: got the control character U+{ord(control[0]):04X} as character"
            f" {control.start() + 1}, must be text"
        )
    if not text.strip():
        return None
    columns = text.split("\t")
    if len(columns) not in (2, 3):
        raise ValueError(
            f"{name}, line {number}: number of columns: got {len(columns)}, must be 2 or 3,"
            " separated by tabs"
        )
    for column, side in zip(columns, ("first", "second"), strict=False):
        if not column.strip():
            raise ValueError(f"{name}, line {number}: got an empty {side} column, must have text")
    return columns[0], columns[1]


def load_text(
    source: str | os.PathLike[str] = "bundled", data_dir: str | Path | None = None
) -> str:
    """Return a text for a language model.

    Args:
        source: ``"bundled"``, the English sentences of the bundled corpus, one a line, in an order
            drawn once; ``"time-machine"``, H. G. Wells's novel as D2L prepares it, in small letters
            and spaces alone; or the path of a UTF-8 text file.
        data_dir: as for `load_pairs`.

    Raises:
        ValueError: the file is empty or not UTF-8.
        FileNotFoundError, ConnectionError: as for `load_pairs`.
    """
    if source == "bundled":
        sentences = list(dict.fromkeys(english for english, _ in load_pairs("bundled")))
        order = np.random.default_rng(0).permutation(len(sentences))
        return "\n".join(sentences[i] for i in order) + "\n"
    if source == "time-machine":
        advice = "get another text and give its path as the source, or use the source 'bundled'"
        data = _kept(data_dir, "timemachine.txt", TIME_MACHINE_URL, TIME_MACHINE_SHA1, advice)
        return re.sub("[^A-Za-z]+", " ", data.decode()).lower()
    try:
        text = _existing(source, "time-machine").read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source}: got byte {error.start + 1} that is not UTF-8, must be UTF-8"
        ) from None
    if not text.strip():
        raise ValueError(f"{source}: got an empty file, must have text")
    return text


def _fra_eng_text(data_dir: str | Path | None) -> bytes:
    """The bytes of fra.txt in D2L's fra-eng.zip."""
    advice = (
        "get an English-French fra.txt (two or three columns separated by tabs) another way and "
        "give its path as the source, or use the source 'bundled', which needs no network"
    )
    data = _kept(data_dir, "fra-eng.zip", FRA_ENG_URL, FRA_ENG_SHA1, advice)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(FRA_ENG_MEMBER)


def _kept(data_dir: str | Path | None, name: str, url: str, sha1: str, advice: str) -> bytes:
    """The bytes of a file, which is downloaded and kept if there is no good copy of it."""
    path = Path(data_dir or _cache_dir()) / name
    data = path.read_bytes() if path.is_file() else b""
    if _sha1(data) != sha1:
        data = _download(url, sha1, advice)
        with replacing(path) as file:
            file.write(data)
    return data


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "d2l_ext"


def _download(url: str, sha1: str, advice: str) -> bytes:
    name = url.rpartition("/")[2].partition(".")[0]
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            data = response.read()
    except OSError as error:
        raise ConnectionError(f"{name}: {url} cannot be read ({error}); {advice}") from error
    if _sha1(data) != sha1:
        raise ConnectionError(f"{name}: {url} has not the SHA-1 {sha1}; {advice}")
    return data
