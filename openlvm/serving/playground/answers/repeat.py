"""The call in Python that repeats an answer of the page, and one file with all that it needs and gave."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from openlvm.model.products import Int8Linear
from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import Sampling
from openlvm.serving.playground.prompts import FILE, Prompt, mapped
from openlvm.serving.work.asked import Way

WIDTH = 100


def call(prompt: Prompt, name: str, lvm: LVM, way: Way | None, *, num_frames: int = 1) -> str:
    """A program that repeats an answer, where the pictures lie beside it under their names.

    Args:
        name: of the LVM, as it is served.
        way: how its answer was drawn; None for a choice.
    """
    loaded = f"lvm = LVM.load({', '.join([_text(name), *_loading(lvm)])})"
    if name != "mini":
        loaded += "  # the folder of this name"
    pictures = mapped(prompt.given, lambda picture: picture.name)
    given = [spell(pictures[field]) for field, spell in POSITIONAL.items() if field in pictures]
    if way is None:
        lines = ["from openlvm import LVM", "", loaded, _call("choice", "lvm.choose", given), "print(choice)"]
        return "\n".join(lines) + "\n"
    given += [f"num_frames={num_frames}"] if prompt.verb == "complete" else []
    given += [f"num_candidates={way.num_candidates}", f"seed={way.seed}", f"sampling={_sampling(way.sampling)}"]
    given += ["exact=True"] if way.exact else []
    imported = "from openlvm import LVM, Sampling"
    lines = [imported, "", loaded, _call("answer", f"lvm.{prompt.verb}", given), 'answer.save("repeated")']
    return "\n".join(lines) + "\n"


def _loading(lvm: LVM) -> list[str]:
    """Arguments of `LVM.load` beside the name."""
    decoder = lvm.bundle.decoder
    weight = next(decoder.parameters())
    dtype = "int8" if any(isinstance(part, Int8Linear) for part in decoder.modules()) else str(weight.dtype)[6:]
    device = [] if weight.device.type == "cpu" else [f'device="{weight.device.type}"']
    return device + ([] if dtype == "float32" else [f'dtype="{dtype}"'])


def _sampling(sampling: Sampling) -> str:
    told = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    return f"Sampling({', '.join(f'{name}={value!r}' for name, value in told.items() if value is not None)})"


def _text(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, names))}]"


def _pairs(pairs: Sequence[Sequence[str]]) -> str:
    return f"[{', '.join(f'({_text(shown)}, {_text(answer)})' for shown, answer in pairs)}]"


def _groups(groups: Sequence[Sequence[Sequence[str]]]) -> str:
    return f"[{', '.join(map(_pairs, groups))}]"


POSITIONAL: Mapping[str, Callable[[Any], str]] = {
    "images": _list, "pairs": _pairs, "groups": _groups, "context": _list, "options": _list, "query": _text,
}  # fmt: skip
"""Arguments that a call gives without their names, in its order -> names of pictures as Python spells them."""


def _call(result: str, function: str, given: Sequence[str]) -> str:
    short = f"{result} = {function}({', '.join(given)})"
    if len(short) <= WIDTH:
        return short
    return f"{result} = {function}(\n" + "".join(f"    {one},\n" for one in given) + ")"


def whole(prompt: Prompt, program: str, found: Answer | Choice) -> bytes:
    """A zip: the pictures that were given, the program beside them, and what came out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        for picture, data in zip(prompt.pictures, prompt.files, strict=True):
            made.writestr(picture.name, data)
        made.writestr(FILE, program)
        if isinstance(found, Answer):
            for name, data in answer_files(found).items():
                made.writestr(f"answer/{name}", data)
    return file.getvalue()


def answer_files(answer: Answer) -> Mapping[str, bytes]:
    """Its pictures, under the names that `Answer.save` gives them, and its codes int64 [C, F, N]."""
    found = {"codes.npy": codes_file(answer)}
    for c, frames in enumerate(answer.images):
        for f, picture in enumerate(frames):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, format="PNG")
            found[f"candidate-{c}-image-{f}.png"] = file.getvalue()
    return found


def codes_file(answer: Answer) -> bytes:
    """Codes int64 [C, F, N] as `numpy.load` reads them."""
    file = io.BytesIO()
    np.save(file, answer.codes)
    return file.getvalue()
