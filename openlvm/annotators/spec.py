"""An annotator as one word of the command line: which slot, by which kind of model, which one, and its options.

slot=kind:what,option=value            boxes=hf:PekingU/rtdetr_r50vd,threshold=0.7
depth=hf:Intel/dpt-large               normals=depth:hf:Intel/dpt-large,fov=55
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openlvm.core.picking import pick

_WORD = re.compile(r"([a-z][a-z0-9_]*)=([a-z]+):(.+?)((?:,[a-z_]+=[^,]*)*)")
_OPTION = re.compile(r",([a-z_]+)=([^,]*)")


@dataclass(frozen=True)
class Spec:
    """What `slot=kind:what,option=value,...` says."""

    slot: str
    kind: str
    what: str
    """Name or place of the model; for normals, an annotator of depth without its slot."""
    options: Mapping[str, str]

    def read_options(self, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
        """The options given, each read by the function of its name; unknown ones and wrong values are ValueErrors."""
        read = {}
        for name, text in self.options.items():
            reader = pick(known, name, f"option of {self.slot}={self.kind}")
            try:
                read[name] = reader(text)
            except ValueError as error:
                raise ValueError(f"option {name}={text} of {self.slot}={self.kind}: {error}") from None
        return read


def read_spec(text: str) -> Spec:
    """Take an annotator's words apart.

    Raises:
        ValueError: not of the form `slot=kind:what,option=value`.
    """
    match = _WORD.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text!r} is no annotator; write slot=kind:what[,option=value], for example depth=hf:Intel/dpt-large"
        )
    slot, kind, what, rest = match.groups()
    options = _OPTION.findall(rest)
    if len({name for name, _ in options}) != len(options):
        raise ValueError(f"{text!r} gives an option twice")
    return Spec(slot, kind, what, dict(options))


def slot_of(text: str) -> str:
    """The slot that an annotator is for; nothing is loaded."""
    return read_spec(text).slot
