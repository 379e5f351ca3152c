#!/bin/sh
# Print a Python that d2l_ext runs on: the one named, or the newest of those on the path, or one that
# uv provides. Where there is none, say what was found and what helps.
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
version='import platform; print(platform.python_version())'
found= without_venv=

[ $# -gt 0 ] || set -- python3.13 python3.12 python3.11 python3 python
for python; do
    number=$("$python" -c "$version" 2>/dev/null) || continue
    if ! "$python" -c "$supported"; then
        found="$found $number ($python)"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        without_venv="${without_venv:-$python}"
    else
        command -v "$python"
        exit 0
    fi
done

if [ -n "$without_venv" ]; then
    minor=$("$without_venv" -c 'import sys; print(*sys.version_info[:2], sep=".")')
    echo "$without_venv cannot make environments: this Linux has its venv module in a package of its own." >&2
    echo "Install it:  apt-get install python$minor-venv" >&2
    exit 1
fi
if command -v uv >/dev/null; then
    uv python find '>=3.11,<3.14' 2>/dev/null && exit 0
    uv python install 3.13 >&2 && uv python find 3.13 && exit 0
fi
echo "d2l_ext needs Python 3.11, 3.12 or 3.13; found:${found:- none}." >&2
echo "Let uv provide one:  pip install uv  (then the same make command again)," >&2
echo "or name one that is not on the path:  make PYTHON=/path/to/python3.13 ..." >&2
exit 1
