"""Nobody imports upwards or sideways: the floors of CONTRIBUTING.md, enforced."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "openlvm"

FLOORS = [
    {"core"},
    {"perceptual"},
    {"tokenizer", "model", "sources", "annotators", "sentences"},
    {"store", "bundle"},
    {"prompting", "training"},
    {"evaluation"},
    {"serving", "reports"},
    {"recipes"},
    {"jobs"},
    {"cli", "__init__"},
    {"__main__"},  # `python -m openlvm` calls cli; nobody calls it
]
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
WITHOUT_TORCH = ("core", "sources", "sentences", "cli")


def part_of(dotted: str) -> str:
    """The part a dotted name belongs to: 'openlvm.model.decoder' -> 'model'; the package itself -> '__init__'."""
    part = dotted.split(".")[1] if "." in dotted else "__init__"
    return part if part in FLOOR_OF else "__init__"


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) for each import of our own package in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}:{node.lineno}: write imports in full, not relative")
        if isinstance(node, ast.ImportFrom) and node.module == "openlvm":
            names = [f"openlvm.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "openlvm")


def uphill_imports(package: Path) -> list[str]:
    """Every import of `package` that goes up or sideways, as a line of text."""
    uphill = []
    for path in sorted(package.rglob("*.py")):
        here = path.relative_to(package).parts[0].removesuffix(".py")
        if here not in FLOOR_OF:
            raise AssertionError(f"{path}: give the part {here!r} a floor")
        for line, name in imports_of(path):
            there = part_of(name)
            if there != here and FLOOR_OF[there] >= FLOOR_OF[here]:
                uphill.append(
                    f"{path.relative_to(package)}:{line}: {here} (floor {FLOOR_OF[here]}) "
                    f"imports {there} (floor {FLOOR_OF[there]})"
                )
    return uphill


def test_imports_only_go_down():
    uphill = uphill_imports(PACKAGE)
    assert not uphill, "\n".join(uphill)


def _package(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("core/images.py", "from openlvm.store import format", "core (floor 0) imports store (floor 3)"),
        ("model/decoder.py", "import openlvm.sources.layouts", "model (floor 2) imports sources (floor 2)"),
        ("core/seeds.py", "from openlvm import LVM", "core (floor 0) imports __init__ (floor 9)"),
    ],
)
def test_floor_check_rejects_an_import_that_goes_up_or_sideways(tmp_path, name, text, named):
    assert named in "\n".join(uphill_imports(_package(tmp_path, {name: text})))


def test_floor_check_rejects_relative_imports_and_parts_without_a_floor(tmp_path):
    with pytest.raises(AssertionError, match="not relative"):
        uphill_imports(_package(tmp_path / "a", {"core/seeds.py": "from . import images"}))
    with pytest.raises(AssertionError, match="give the part 'drawer' a floor"):
        uphill_imports(_package(tmp_path / "b", {"drawer/x.py": ""}))


def test_floor_check_accepts_imports_that_go_down(tmp_path):
    files = {"store/plan.py": "from openlvm.core.seeds import rng\nfrom openlvm.sentences.grammar import Pairs\n"}
    assert uphill_imports(_package(tmp_path, files)) == []


def test_data_half_and_command_line_import_no_torch_at_the_top():
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for part in WITHOUT_TORCH
        for path in sorted((PACKAGE / part).rglob("*.py"))
        for node in ast.parse(path.read_text()).body
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch")
    ]
    assert not found, f"torch is imported at the top of {found}"
