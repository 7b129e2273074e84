"""Rules of this repository that no linter knows: sizes, docstrings, and what must not be in it.

Run by `make check`; prints each breach as `path:line: what`, exit status 1 when there is any. Standard library only.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parents[1]
PACKAGE = "openlvm"
MAX_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FILES_IN_FOLDER = 8
MAX_TRACKED_BYTES = 40 * 2**20
ONE_FILE_PER_VERB = "openlvm/cli"  # grows with the command line, not with a subject
TEXT_ENDINGS = {".py", ".md", ".toml", ".txt", ".sh", ".yml", ".yaml", ".json", ".cfg", ""}

# Spelled in pieces, so that this file does not break its own rule.
FORBIDDEN = {
    "torch" + "vision": re.compile(r"^\s*(import|from)\s+torch" + r"vision\b"),
    "an absolute path of one machine": re.compile(
        r"(^|[^A-Za-z0-9_.$}~<>-])/(work|root|farm|home|Users|tmp/venv|tmp/bash_jobs)/"
    ),
    "a relative import": re.compile(r"^\s*from\s+\.+\w*\s+import\b"),
}


def tracked_files() -> list[Path]:
    """Files git tracks, or would track if they were added; outside a git checkout, every file."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    except (FileNotFoundError, subprocess.CalledProcessError):
        print("not a git checkout: the rules about tracked files are not checked", file=sys.stderr)
        return sorted(path for part in (PACKAGE, "tests", "tools") for path in (ROOT / part).rglob("*.py"))
    return sorted(path for name in listed if name and (path := ROOT / name).is_file())


def check_sizes(files: list[Path]) -> Iterator[str]:
    """Bytes in all; Python files in each folder of the package."""
    total = sum(path.stat().st_size for path in files)
    if total > MAX_TRACKED_BYTES:
        largest = sorted(files, key=lambda path: -path.stat().st_size)[:3]
        names = ", ".join(str(path.relative_to(ROOT)) for path in largest)
        yield f".: {total:,} bytes are tracked, the limit is {MAX_TRACKED_BYTES:,}; largest: {names}"
    folders = Counter(
        path.parent.relative_to(ROOT).as_posix()
        for path in files
        if path.suffix == ".py" and path.name != "__init__.py" and path.is_relative_to(ROOT / PACKAGE)
    )
    for folder, count in sorted(folders.items()):
        if count > MAX_FILES_IN_FOLDER and folder != ONE_FILE_PER_VERB:
            yield f"{folder}: {count} files, at most {MAX_FILES_IN_FOLDER}; split the subject"


def check_text(path: Path) -> Iterator[str]:
    """What must not be in any text file."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {what}"


def check_python(path: Path) -> Iterator[str]:
    """Lines of a file and of its functions; docstrings of what is public in the package."""
    name = path.relative_to(ROOT)
    text = path.read_text(encoding="utf-8")
    num_lines = len(text.splitlines())
    if num_lines > MAX_LINES:
        yield f"{name}:1: {num_lines} lines, at most {MAX_LINES}"
    tree = ast.parse(text)
    if ast.get_docstring(tree) is None and text.strip():
        yield f"{name}:1: no first line that says what this file is"
    for node in ast.walk(tree):
        if _is_function(node):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"
    if path.is_relative_to(ROOT / PACKAGE):
        yield from check_docstrings(name, tree.body, said_by_protocols(path.parent))


def check_docstrings(name: Path, body: list[ast.stmt], said: set[str]) -> Iterator[str]:
    """Public functions and classes say what they are; so do methods, unless a protocol speaks for them (`said`)."""
    for owner in [None, *(node for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]:
        for node in body if owner is None else owner.body:
            if not (_is_function(node) or isinstance(node, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and (owner is None or node.name not in said):
                yield f"{name}:{node.lineno}: {node.name} has no docstring"


@cache
def said_by_protocols(folder: Path) -> set[str]:
    """Names of methods that a protocol of the folder or one above describes: what fulfils it need not repeat it."""
    classes = [
        node
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
    ]
    here = {node.name for one in classes for node in one.body if _is_function(node) and ast.get_docstring(node)}
    return here if folder == ROOT / PACKAGE else here | said_by_protocols(folder.parent)


def _is_function(node: ast.AST) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def main() -> int:
    """Check everything; return the exit status."""
    files = tracked_files()
    breaches = list(check_sizes(files))
    for path in files:
        if path.suffix in TEXT_ENDINGS and path.name != "LICENSE":
            breaches += check_text(path)
        if path.suffix == ".py":
            breaches += check_python(path)
    for breach in breaches:
        print(breach)
    print(f"{len(files)} files, {len(breaches)} breaches of the repository's rules", file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
