"""From the pictures a person gives to the row of codes a decoder continues.

complete   f0 f1 f2 | _            analogy   a A b B c | _            compose   a A b B  a2 A2  c | _
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image

from openlvm.core.images import ImagePreparation, Picture, read_image, stack_images
from openlvm.tokenizer.interface import Tokenizer

Pair = tuple[Picture, Picture]
"""A picture and its annotation."""
ENCODE_AT_ONCE = 16
"""Pictures in one forward of the tokenizer; more are no faster (facts: 8 is not faster than 1) and take memory."""


def named(pictures: Sequence[Picture], what: str) -> dict[str, Picture]:
    """The pictures in order, each under the name that a message calls it by: images[0], images[1], ..."""
    if not isinstance(pictures, list | tuple) and not (isinstance(pictures, np.ndarray) and pictures.ndim == 4):
        raise ValueError(f"{what} must be a list of pictures, given {_kind(pictures)}")
    return {f"{what}[{number}]": picture for number, picture in enumerate(pictures)}


def analogy_order(pairs: Sequence[Pair], query: Picture) -> dict[str, Picture]:
    """The pictures of an analogy, by name: (a, A) (b, B) and c give a A b B c."""
    return _pairs_in_order(pairs, "pairs") | {"query": query}


def compose_order(groups: Sequence[Sequence[Pair]], query: Picture) -> dict[str, Picture]:
    """The pictures of a composition: the pairs of each group (one group a task) in the order given, then the query."""
    if not isinstance(groups, list | tuple) or not groups:
        raise ValueError(f"groups must be a list of lists of (picture, annotation), given {_kind(groups)}")
    pictures: dict[str, Picture] = {}
    for number, group in enumerate(groups):
        pictures |= _pairs_in_order(group, f"groups[{number}]")
    return pictures | {"query": query}


def _pairs_in_order(pairs: Sequence[Pair], what: str) -> dict[str, Picture]:
    if not isinstance(pairs, list | tuple) or not pairs:
        raise ValueError(f"{what} must be a list of at least one (picture, annotation), given {_kind(pairs)}")
    pictures: dict[str, Picture] = {}
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{what}[{number}] must be (picture, annotation), given {_kind(pair)}")
        pictures |= named(pair, f"{what}[{number}]")
    return pictures


def read_pictures(pictures: Mapping[str, Picture], preparation: ImagePreparation) -> np.ndarray:
    """uint8 [S, H, W, 3] as the tokenizer wants them; an error names the picture."""
    prepared = []
    for name, picture in pictures.items():
        if not isinstance(picture, Picture):
            expected = "a path, encoded bytes, a PIL image or a uint8 array [H, W, 3]"
            raise ValueError(f"{name} must be {expected}, given {_kind(picture)}")
        try:
            prepared.append(preparation(read_image(picture)))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{name}: {error}") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return stack_images(prepared)


def encode(pictures: Mapping[str, Picture], tokenizer: Tokenizer) -> torch.Tensor:
    """int64 [S, N] of S named pictures of any size, on the CPU."""
    pixels = torch.from_numpy(read_pictures(pictures, tokenizer.preparation))
    return torch.cat([tokenizer.encode(batch).cpu() for batch in pixels.split(ENCODE_AT_ONCE)])


def code_row(codes: torch.Tensor, bos: int | None) -> torch.Tensor:
    """One row int64 [T]: BOS, if the model has one, and the codes int64 [S, N] of the images in order."""
    row = codes.reshape(-1).to("cpu", torch.int64)
    return row if bos is None else torch.cat([torch.tensor([bos]), row])


def _kind(value: object) -> str:
    """What was given, in a few words, for messages."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Image.Image):
        return "a PIL image"
    return f"a {type(value).__name__} ({str(value)[:60]!r})"
