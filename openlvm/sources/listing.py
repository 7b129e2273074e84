"""Which files and folders a layout finds, in an order that is the same everywhere."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

PICTURE_ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
VIDEO_ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


def natural_order(name: str) -> tuple[list[str | int], str]:
    """A sort key that puts frame 2 before frame 10; names that differ only in leading zeros go by their text."""
    pieces = re.split(r"([0-9]+)", name)  # text at even places, digits at odd ones
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], name


def find_files(root: Path, endings: tuple[str, ...], what: str) -> list[str]:
    """Paths, relative to `root` with forward slashes, of all files below it with one of the endings.

    Hidden files and folders (a leading dot) are left out; links to folders are followed, once around a loop.

    Args:
        root: the folder searched.
        endings: in lower case with the dot; the case of a file's own ending does not matter.
        what: what the files are, for messages ("pictures").

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file instead of a folder, or nothing found.
    """
    if not root.exists():
        raise FileNotFoundError(f"no folder {root}; expected {what} there")
    if not root.is_dir():
        raise ValueError(f"{root} is a file; expected a folder of {what}")
    found = [name for name in _files_below(os.path.realpath(root), "", ()) if name.lower().endswith(endings)]
    if not found:
        raise ValueError(f"no {what} in {root} or its subfolders; looked for {', '.join(endings)}")
    return sorted(found, key=natural_order)


def _files_below(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():  # a dead link is listed, so that reading it is reported
                yield prefix + entry.name
                continue
            target = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if target not in (*above, folder):
                yield from _files_below(target, f"{prefix}{entry.name}/", (*above, folder))


def folder_of(path: str) -> str:
    """The folder part of a relative path: "dog/7/left.png" -> "dog/7", "left.png" -> ""."""
    return path.rpartition("/")[0]


def by_folder(paths: list[str]) -> dict[str, list[str]]:
    """The paths of each folder that directly holds some, folders and paths in natural order."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(folder_of(path), []).append(path)
    return {name: folders[name] for name in sorted(folders, key=natural_order)}
