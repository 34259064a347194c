"""The repository keeps its own rules: sizes, words, documented dependencies, commands and layers (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "tools", "bench", "docs", "requirements", ".ci")
OUR_PYTHON = ("src", "tests", "tools", "bench")
MADE_BY_RUNS = {"__pycache__", "node_modules", "build"}
LONGEST_FILE = 600

# written in pieces so that this file does not hold them
MACHINE_PATHS = ["/" + "work/", "/" + "root/", "/" + "home/"]
REGISTRY_HOSTS = ["pypi" + ".org", "files.python" + "hosted.org", "registry.npm" + "js.org"]


def files(*folders: str, suffix: str = "") -> list[Path]:
    """Our files below the given folders of the repository, without what runs leave behind."""
    found = (path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}"))
    return sorted(p for p in found if p.is_file() and not MADE_BY_RUNS & set(p.relative_to(ROOT).parts))


def all_text_files() -> list[Path]:
    top = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".coverage")]
    binary = {".wav", ".png", ".gif", ".ico", ".pem", ".whl", ".so"}
    return [p for p in top + files(*FOLDERS) if p.suffix not in binary]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def names_in_requirements(lines: list[str]) -> set[str]:
    return {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower() for line in lines}


def rooms_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files(*OUR_PYTHON, suffix=".py"), ids=rooms_of)
def test_source_file_is_short_and_says_what_it_owns(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE, f"{path} is longer than {LONGEST_FILE} lines: split it by what it owns"
    if text.strip() and "fixtures" not in path.parts:
        assert ast.get_docstring(ast.parse(text)), f"{path} has no module docstring"


def test_no_file_names_a_machine() -> None:
    hits = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in all_text_files()
        for word in MACHINE_PATHS + REGISTRY_HOSTS
        if word in path.read_text(errors="replace")
    ]
    assert not hits, "\n".join(hits)


def test_lockfiles_pin_by_hash_and_name_no_place() -> None:
    for level in ("base", "server", "dev"):
        text = (ROOT / "requirements" / f"{level}.txt").read_text()
        pins = re.findall(r"^\S+==", text, flags=re.MULTILINE)
        assert pins
        assert "--index-url" not in text and "--find-links" not in text
        blocks = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in block for block in blocks)
    lock = (ROOT / "tests/conformance/js/package-lock.json").read_text()
    assert '"resolved"' not in lock and '"integrity"' in lock


def test_requirements_hold_what_the_package_declares() -> None:
    project = pyproject()["project"]
    for level, declared in (
        ("base", project["dependencies"]),
        ("server", project["dependencies"] + project["optional-dependencies"]["server"]),
    ):
        pinned = (ROOT / "requirements" / f"{level}.txt").read_text().lower()
        missing = {name for name in names_in_requirements(declared) if f"\n{name}==" not in f"\n{pinned}"}
        assert not missing, f"requirements/{level}.txt lacks {sorted(missing)}; run make lock"


def test_every_dependency_has_a_reason() -> None:
    project = pyproject()["project"]
    declared = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        declared += extra
    for level in ("base", "server", "dev"):
        lines = (ROOT / "requirements" / f"{level}.in").read_text().splitlines()
        declared += [line for line in lines if line and not line.startswith(("#", "-"))]
    page = (ROOT / "docs/dependencies.md").read_text()
    rows = {cell.strip().strip("`").lower() for cell in re.findall(r"^\| ([^|]+) \|", page, flags=re.MULTILINE)}
    missing = names_in_requirements(declared) - rows - {"offhook"}  # an extra that holds another
    assert not missing, f"docs/dependencies.md has no row for {sorted(missing)}"


def test_no_dependency_is_under_a_gpl() -> None:
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements/dev.txt").read_text(), flags=re.MULTILINE)
    guilty = []
    for name in pinned:
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # pinned for another platform
        classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
        stated = [text[:200] for key in ("License-Expression", "License") for text in metadata.get_all(key) or []]
        if re.search(r"\bA?GPL|GNU (Affero )?General Public", " ".join([*stated, *classifiers])):
            guilty.append(f"{name}: {stated}")
    assert not guilty, guilty


def test_commands_in_documents_exist_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *files("docs", suffix=".md")]
    for page in pages:
        used = set(re.findall(r"(?:^|`|\$ )make ([a-z-]+)", page.read_text(), flags=re.MULTILINE))
        assert used <= targets, f"{page.name} names make {sorted(used - targets)}"
    assert {"demo", "test"} <= set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))


def test_python_in_documents_is_python() -> None:
    blocks = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    for page in [ROOT / "README.md", *files("docs", suffix=".md")]:
        for number, block in enumerate(blocks.findall(page.read_text())):
            compile(block, f"{page.name} block {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_continuous_integration_runs_the_test_command() -> None:
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-1].split()[-2:] == ["make", "test"]


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for page in [*pages, *files("docs", suffix=".md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def allowed_by_contracts() -> set[tuple[str, str]]:
    """(room, room it may import) as the import-linter contracts of pyproject.toml have it."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    level = {room.strip(): number for number, layer in enumerate(layers) for room in layer.split("|")}
    allowed = {(a, b) for a, b in permutations(level, 2) if level[a] < level[b]}
    for contract in contracts:
        if contract["type"] == "forbidden":
            allowed -= {(a, b) for a in contract["source_modules"] for b in contract["forbidden_modules"]}
    return {(a.removeprefix("offhook."), b.removeprefix("offhook.")) for a, b in allowed}


def test_picture_of_dependencies_is_the_one_that_is_checked() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    table = page.split("<!-- imports -->")[1].split("<!-- /imports -->")[0]
    drawn = set()
    for room, targets in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, flags=re.MULTILINE):
        drawn |= {(room, target) for target in re.findall(r"`(\w+)`", targets)}
    assert drawn == allowed_by_contracts()


def test_rooms_are_all_in_the_layers() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    layers = " ".join(next(c["layers"] for c in contracts if c["type"] == "layers"))
    code = {p.parent.name for p in (ROOT / "src/offhook").glob("*/*.py") if p.name != "__init__.py"}
    assert {name for name in code if f"offhook.{name}" not in layers} == set()
