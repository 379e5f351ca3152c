"""pyproject.toml, constraints.txt and environment.yml agree with each other and the environment.

The files are checked by one function that lists disagreements; the tests then plant disagreements
one at a time, so the check is known to see each of them.
"""

import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
FILES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("pyproject.toml", "constraints.txt", "environment.yml")
}
PEERS = {"d2l"}  # installed with --no-deps, so not part of anyone's dependencies
FRAMEWORKS = ("torch", "mxnet", "jax", "tensorflow")


def parse_pins(lines):
    """The pinned versions, and the lines that are not ``name==version``."""
    pins, problems = {}, []
    for line in lines:
        name, _, version = line.partition("==")
        try:
            exact = line == f"{canonicalize_name(name)}=={Version(version)}"
        except ValueError:
            exact = False
        if not exact or name in pins:
            problems.append(line)
        pins[name] = version
    return pins, problems


def disagreements(files):
    """What the three files say differently, a list of sentences; empty when they agree."""
    found = []
    project = tomllib.loads(files["pyproject.toml"])["project"]
    lines = files["constraints.txt"].splitlines()
    pins, bad = parse_pins([line for line in lines if line and not line.startswith("#")])
    found += [f"constraints.txt: not one exact version: {line}" for line in bad]

    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    direct = {}
    for group, requirements in groups.items():
        for requirement in map(Requirement, requirements):
            name = canonicalize_name(requirement.name)
            if name == project["name"]:
                found += [f"no extra {extra}" for extra in requirement.extras - set(groups)]
                continue
            direct.setdefault(name, set()).add(group)
            if name not in pins:
                found.append(f"constraints.txt: {name} has no version")
            elif pins[name] not in requirement.specifier:
                found.append(f"pyproject.toml: {requirement} excludes {pins[name]}")
    for name in sorted(PEERS & set(direct)):
        found.append(f"pyproject.toml: {name} is a peer, not a dependency")
    every = {extra for item in groups["all"] for extra in Requirement(item).extras}
    found += [f"pyproject.toml: all is without {name}" for name in set(FRAMEWORKS) ^ every]
    core = {name for name, used_by in direct.items() if "" in used_by}
    found += [
        f"pyproject.toml: {name} is a dependency of every installation"
        for name in sorted(core & {"torch", "mxnet", "jax", "flax", "tensorflow-cpu", "keras"})
    ]

    conda = yaml.safe_load(files["environment.yml"])["dependencies"]
    python = [item.partition("=")[2] for item in conda if str(item).startswith("python=")]
    if len(python) != 1 or python[0] not in Requirement(f"x{project['requires-python']}").specifier:
        found.append(f"environment.yml: Python {python} is not {project['requires-python']}")
    pip = next(item["pip"] for item in conda if isinstance(item, dict))
    for option in ("--constraint constraints.txt", "--editable .[all,dev]"):
        if option not in pip:
            found.append(f"environment.yml: without {option}")
    listed, bad = parse_pins([item for item in pip if not item.startswith("-")])
    found += [f"environment.yml: not one exact version: {line}" for line in bad]
    for name, version in listed.items():
        if pins.get(name) != version:
            found.append(f"environment.yml: {name} {version}, constraints.txt: {pins.get(name)}")
    main = {name for name, used_by in direct.items() if used_by - {"dev"}}
    found += [f"environment.yml: {name} has no version" for name in sorted(main - set(listed))]
    return found


def test_the_three_files_agree():
    assert disagreements(FILES) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("pyproject.toml", '"rich>=13.7"', '"rich>=99"', "rich>=99 excludes 15.0.0"),
        ("pyproject.toml", '"rich>=13.7"', '"rich>=13.7", "polars"', "polars has no version"),
        ("pyproject.toml", '"numpy<2"', '"numpy<1.26"', "numpy<1.26 excludes 1.26.4"),
        ("pyproject.toml", '"rich>=13.7"', '"rich>=13.7", "torch"', "torch is a dependency of"),
        ("pyproject.toml", '"rich>=13.7"', '"rich>=13.7", "d2l"', "d2l is a peer"),
        ("pyproject.toml", "d2l-ext[torch,mxnet,", "d2l-ext[torch,", "all is without mxnet"),
        ("pyproject.toml", ">=3.11,<3.12", ">=3.12", "Python ['3.11'] is not >=3.12"),
        ("constraints.txt", "\njax==0.7.1\n", "\n", "jax has no version"),
        ("constraints.txt", "\njax==0.7.1\n", "\njax>=0.7.1\n", "not one exact version: jax>=0.7"),
        ("constraints.txt", "\ntorch==2.13.0\n", "\ntorch==2.13.0+cpu\n", "torch 2.13.0, constr"),
        ("constraints.txt", "\njax==0.7.1\n", "\njax==0.7.1\njax==0.7.2\n", "version: jax==0.7.2"),
        (
            "constraints.txt",
            "\njax==0.7.1\n",
            "\njax==0.7.2\n",
            "jax 0.7.1, constraints.txt: 0.7.2",
        ),
        ("environment.yml", "- keras==3.15.1", "- keras==3.15.0", "keras 3.15.0, constr"),
        ("environment.yml", "- keras==3.15.1", "- keras", "not one exact version: keras"),
        ("environment.yml", "      - keras==3.15.1\n", "", "keras has no version"),
        ("environment.yml", "[all,dev]", "[all]", "without --editable .[all,dev]"),
        ("environment.yml", "python=3.11", "python=3.10", "Python ['3.10'] is not"),
    ],
)
def test_a_planted_disagreement_is_seen(file, old, new, expected):
    assert FILES[file].count(old) == 1
    found = disagreements({**FILES, file: FILES[file].replace(old, new)})
    assert any(expected in sentence for sentence in found), found


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


def installation():
    """What pyproject.toml leads to in this environment, as installed; skips where it is partial."""
    try:
        names = installed_closure("d2l-ext", ("all", "dev")) - {"d2l-ext"}
    except PackageNotFoundError as missing:
        pytest.skip(f"not everything is installed: {missing.name}")
    return names


def constraints():
    lines = FILES["constraints.txt"].splitlines()
    return parse_pins([line for line in lines if line and not line.startswith("#")])[0]


def wrong_versions(pins, installed):
    """What is installed in another version; a build tag such as +cpu is no difference."""
    return [
        f"{name} {installed[name]} is installed, constraints.txt has {version}"
        for name, version in pins.items()
        if name in installed and installed[name] not in Requirement(f"x=={version}").specifier
    ]


@pytest.mark.pinned
def test_constraints_list_every_package_and_no_other():
    names = installation()
    listed = set(constraints()) - PEERS
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
    assert wrong_versions(pins, installed) == ["jax 0.10.0 is installed, constraints.txt has 0.7.1"]


@pytest.mark.pinned
def test_pip_finds_no_conflict():
    """Of d2l's own demands nothing is asked: it pins versions that no longer import."""
    check = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    lines = subprocess.run(check, capture_output=True, text=True).stdout.splitlines()
    assert [line for line in lines if not line.startswith("d2l ")] in (
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
