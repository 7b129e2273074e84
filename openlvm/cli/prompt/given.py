"""From words on the command line to the pictures that a prompt gives: pairs by name, groups, sequences."""

from collections.abc import Sequence
from pathlib import Path

from openlvm.cli.command import find_pictures

PathPair = tuple[Path, Path]


def find_pairs(words: Sequence[str], option: str) -> list[PathPair]:
    """Examples: picture and answer, picture and answer, ...

    Two folders or patterns in the place of picture and answer give all their pictures, paired by the names of the files
    without their endings, never by position: cat.jpg belongs to cat.png.

    Args:
        words: of the option.
        option: what messages call it, such as "--pairs".

    Raises:
        FileNotFoundError: a word names nothing.
        ValueError: an odd number of words, or a picture without partner; the message names it.
    """
    if not words or len(words) % 2:
        raise ValueError(f"{option} has {len(words)} words; give picture and answer, picture and answer, ...")
    pairs: list[PathPair] = []
    for picture, answer in zip(words[::2], words[1::2], strict=True):
        pictures, answers = find_pictures([picture]), find_pictures([answer])
        is_one_each = len(pictures) == len(answers) == 1
        pairs += [(pictures[0], answers[0])] if is_one_each else _by_name(pictures, answers, option)
    return pairs


def _by_name(pictures: Sequence[Path], answers: Sequence[Path], option: str) -> list[PathPair]:
    """The pictures in their order, each with the answer of its name."""
    by_name = [{path.stem: path for path in paths} for paths in (pictures, answers)]
    for paths, named in zip((pictures, answers), by_name, strict=True):
        twice = [path for path in paths if named[path.stem] != path]
        if twice:
            raise ValueError(f"{option}: {twice[0]} and {named[twice[0].stem]} have one name; rename one of them")
    first, second = by_name
    lone = [*(first[name] for name in first.keys() - second), *(second[name] for name in second.keys() - first)]
    if lone:
        raise ValueError(
            f"{option}: {len(lone)} pictures have no partner of the same name, such as {min(lone)}. A picture and its "
            "answer differ in folder or ending only"
        )
    return [(path, second[path.stem]) for path in pictures]


def find_one(word: str, option: str) -> Path:
    """The one picture that a word means."""
    found = find_pictures([word])
    if len(found) != 1:
        raise ValueError(f"{option} takes one picture; {word} means {len(found)}")
    return found[0]
