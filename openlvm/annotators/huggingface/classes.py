"""What the classes of a network are called here: ids from 1 to 255, since 0 is background and is drawn black."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlvm.annotators.huggingface.network import Network
from openlvm.core.picking import pick

MAX_ID = 255
"""Largest id that a picture can show."""
_BACKGROUND = ("background", "__background__", "n/a", "unlabeled", "unlabelled", "void")


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a network that are kept."""

    ids: np.ndarray
    """Id of each of its labels, 0 where it is background or not kept; int32 [labels]."""
    names: dict[int, str]
    """Id -> name."""

    def describe(self) -> dict[str, str]:
        """Id -> name as JSON values."""
        return {str(number): name for number, name in self.names.items()}


def classes_of(network: Network, wanted: Sequence[str]) -> Classes:
    """The classes of a network called as `wanted`, or all.

    A network whose label 0 is background (or "N/A") keeps its numbers as ids; those of all others move up by one.

    Raises:
        ValueError: it has no class of a name, or more than a picture can show.
    """
    labels = {int(number): str(name) for number, name in network.model.config.id2label.items()}
    move = 0 if labels.get(0, "").lower() in _BACKGROUND else 1
    names = {number + move: name for number, name in labels.items() if name.lower() not in _BACKGROUND}
    for name in wanted:
        pick({known: known for known in names.values()}, name, f"class of {network.name}")
    names = {number: name for number, name in sorted(names.items()) if not wanted or name in wanted}
    if max(names, default=0) > MAX_ID:
        raise ValueError(f"{network.name} has class ids up to {max(names)}; a picture shows {MAX_ID}: choose classes")
    ids = np.zeros(max(labels) + 1, dtype=np.int32)
    for number in names:
        ids[number - move] = number
    return Classes(ids, names)


def read_names(text: str) -> tuple[str, ...]:
    """Names of classes in an option: "person+dog"."""
    return tuple(text.split("+"))


def read_share(text: str) -> float:
    """A number in 0..1 in an option."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} must lie in 0..1")
    return value
