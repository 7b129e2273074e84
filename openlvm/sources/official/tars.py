"""Pictures in tar archives (webdataset shards): the members that share a name up to its first dot are one record.

    00000.tar: 000000012.jpg, 000000012.json, 000000012.txt      Record("00000.tar/000000012")

An archive is the unit of work. Its headers are read first (some 50 ms a thousand), so the members of a
record may lie anywhere in it; then the records, in the order of their first members. Nothing is unpacked to disk.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.core.images import MAX_PIXELS, read_image
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, find_files

MAX_MEMBER_BYTES = 256 * 2**20
"""Largest file inside an archive that is read; a JPEG of 64 million pixels has some 60 MB."""
MAX_LABEL_CHARACTERS = 200
"""Longest label; a caption is not one."""
_BLOCK = 512  # bytes; a tar ends with two blocks of zeros


@dataclass(frozen=True, kw_only=True)
class Tars:
    """Pictures in tar archives, each record one picture."""

    at: Path
    """Folder of the archives; subfolders are searched too."""
    label: str = ""
    """Ending of the member that is the label ("cls", "txt"), or "json/FIELD" for a field of the JSON member."""
    tars_per_part: int = 1
    """Archives read and written as one unit of work. img2dataset puts 10 000 pictures into each."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are skipped and reported, before they are decoded."""

    def __post_init__(self) -> None:
        require_positive(tars_per_part=self.tars_per_part, max_pixels=self.max_pixels)
        ending, _, name = self.label.partition("/")
        if bool(name) != (ending == "json"):
            raise ValueError(f'label={self.label!r} must be the ending of a member, or "json/" and a field of it')

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("tars", self)

    def parts(self) -> list[Part]:
        """Archives in natural order of their paths; none is opened."""
        return split_into_parts(find_files(Path(self.at), (".tar",), "tar archives"), self.tars_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each archive; where one is cut off, its whole records and then the archive as a bad one."""
        for item in part.items:
            for found in read_tar(Path(self.at) / item, item):
                yield found if isinstance(found, BadRecord) else self._record(*found)

    def _record(self, key: str, members: dict[str, bytes]) -> Record | BadRecord:
        pictures = sorted(ending for ending in members if f".{ending}" in PICTURE_ENDINGS)
        try:
            if len(pictures) != 1:
                raise ValueError(f"it has {len(pictures)} pictures, expected one; its members: {sorted(members)}")
            label = label_of(members, self.label) if self.label else ""
            return Record(
                key=key, slots={IMAGE: [read_image(members[pictures[0]], max_pixels=self.max_pixels)]}, label=label
            )
        except (ValueError, OSError) as error:
            return BadRecord(key, str(error))


def label_of(members: dict[str, bytes], where: str) -> str:
    """The label of a record, out of its members.

    Args:
        members: ending -> bytes.
        where: an ending ("cls"), or "json/FIELD".

    Raises:
        ValueError: no such member or field, or longer than a label.
    """
    ending, _, name = where.partition("/")
    if ending not in members:
        raise ValueError(f"no member .{ending} with its label; its members: {sorted(members)}")
    text = members[ending].decode(errors="replace").strip()
    if name:
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ValueError(f"its JSON cannot be read: {error}") from None
        if not isinstance(fields, dict) or name not in fields:
            raise ValueError(f"its JSON has no field {name!r} with its label")
        text = str(fields[name])
    if not text or len(text) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"its label has {len(text)} characters; expected 1 to {MAX_LABEL_CHARACTERS}")
    return text


def read_tar(path: Path, name: str) -> Iterator[tuple[str, dict[str, bytes]] | BadRecord]:
    """The members of an archive, those of one record together.

    Args:
        path: a tar that is not compressed.
        name: what the keys begin with: the archive's path in its dataset.

    Yields:
        (key "name/stem", {ending in lower case: bytes}), read as it is asked for; a `BadRecord` for a stem with a
        member that is too large or there twice, and one for the archive itself at the end where it is cut off.
    """
    try:
        stems, complaint = _index(path)
        with open(path, "rb") as file:
            for stem, members in stems.items():
                key = f"{name}/{stem}"
                wrong = _wrong(members)
                if wrong:
                    yield BadRecord(key, wrong)
                    continue
                contents = {}
                for ending, start, length in members:
                    file.seek(start)
                    contents[ending] = file.read(length)
                yield key, contents
    except OSError as error:  # tarfile.TarError is one
        complaint = str(error)
    if complaint:
        yield BadRecord(name, f"{path} cannot be read to its end: {complaint}")


def _wrong(members: list[tuple[str, int, int]]) -> str:
    endings = [ending for ending, _, _ in members]
    largest = max(length for _, _, length in members)
    if len(set(endings)) < len(endings):
        return f"a member is there twice: {sorted(endings)}"
    if largest > MAX_MEMBER_BYTES:
        return f"a member has {largest:,} bytes; the limit is {MAX_MEMBER_BYTES:,}"
    return ""


def _index(path: Path) -> tuple[dict[str, list[tuple[str, int, int]]], str]:
    """Stem -> (ending, first byte, bytes) of its members, out of an archive's headers; and what is wrong with it.

    A stem with a member that the file does not hold to its last byte is left out.
    """
    stems: dict[str, list[tuple[str, int, int]]] = {}
    size = path.stat().st_size
    with open(path, "rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while member := archive.next():
                    archive.members.clear()  # type: ignore[attr-defined]  # or it keeps every header
                    folder, _, file_name = member.name.removeprefix("./").rpartition("/")
                    stem, _, ending = file_name.partition(".")
                    if not member.isreg() or member.issparse() or not stem or not ending:  # folders, hidden files
                        continue
                    where = (ending.lower(), member.offset_data, member.size)
                    stems.setdefault(f"{folder}/{stem}" if folder else stem, []).append(where)
                end = archive.offset
        except tarfile.TarError as error:
            stems = {stem: its for stem, its in stems.items() if all(at + length <= size for _, at, length in its)}
            return stems, f"{error}. It may be compressed or cut off"
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):
            return stems, "its end mark is missing: it is cut off, or still being written"
    return stems, ""
