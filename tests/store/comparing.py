"""Two stores are the same when their files are."""

from pathlib import Path


def files_of(at: Path) -> dict[str, bytes]:
    """Name -> bytes of every file below a folder, sorted."""
    return {str(file.relative_to(at)): file.read_bytes() for file in sorted(at.rglob("*")) if file.is_file()}
