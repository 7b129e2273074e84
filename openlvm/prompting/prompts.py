"""From the pictures a person gives to the row of codes a decoder continues.

complete   f0 f1 f2 | _            analogy   a A b B c | _            compose   a A b B  a2 A2  c | _
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from openlvm.bundle import Bundle
from openlvm.core.images import ImagePreparation, Picture, read_image, stack_images
from openlvm.core.seeds import rng
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
    return pairs_in_order(pairs, "pairs") | {"query": query}


def compose_order(groups: Sequence[Sequence[Pair]], query: Picture) -> dict[str, Picture]:
    """The pictures of a composition: the pairs of each group (one group a task) in the order given, then the query."""
    if not isinstance(groups, list | tuple) or not groups:
        raise ValueError(f"groups must be a list of lists of (picture, annotation), given {_kind(groups)}")
    pictures: dict[str, Picture] = {}
    for number, group in enumerate(groups):
        pictures |= pairs_in_order(group, f"groups[{number}]")
    return pictures | {"query": query}


def pairs_in_order(pairs: Sequence[Pair], what: str) -> dict[str, Picture]:
    """The pictures of pairs, by name: (a, A) (b, B) give a A b B."""
    if not isinstance(pairs, list | tuple) or not pairs:
        raise ValueError(f"{what} must be a list of at least one (picture, annotation), given {_kind(pairs)}")
    pictures: dict[str, Picture] = {}
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{what}[{number}] must be (picture, annotation), given {_kind(pair)}")
        pictures |= named(pair, f"{what}[{number}]")
    return pictures


def check_room(bundle: Bundle, given: int, num_more: int, *, remedy: str = "") -> None:
    """Refuse pictures that do not fit together with `num_more` behind them, and a prompt that has no beginning.

    Args:
        remedy: how else than by fewer pictures this can be mended.
    """
    fit = bundle.images_in_context
    if given + num_more > fit:
        raise ValueError(
            f"{given} images and {num_more} more do not fit: the context of {bundle.context} positions holds "
            f"{fit} images of {bundle.tokenizer.codes_per_image} codes. Give at most {max(0, fit - num_more)}{remedy}"
        )
    if not given and bundle.special.bos is None:
        raise ValueError("no picture given; this model has no BOS, so it needs at least one to begin with")


class Span(NamedTuple):
    """How a row of pictures and the frames behind it meet the context."""

    num_shown: int
    """Pictures that are read at first, the last of those given."""
    keep: int
    """Pictures kept whenever the context is full."""
    slides: bool
    """The frames do not all fit behind them."""


def span_of(bundle: Bundle, num_given: int, num_frames: int, *, slide: bool, keep: int | None) -> Span:
    """What of a row of pictures is shown, after refusing what does not fit; see `LVM.complete` for the arguments."""
    fit = bundle.images_in_context
    if num_frames < 1:
        raise ValueError(f"num_frames={num_frames} must be at least 1")
    if keep is not None and not 1 <= keep < fit:
        raise ValueError(f"keep={keep} must lie in 1 .. {fit - 1}: {fit} images fit, the last of them is drawn")
    kept = fit - 1 if keep is None else keep
    num_shown = min(kept, num_given) if slide and num_given + 1 > fit else num_given
    check_room(bundle, num_shown, 1, remedy=", or slide=True (--slide) to drop the first ones")
    return Span(num_shown, kept, num_shown + num_frames > fit)


def counts_asked(counts: Sequence[int] | None, least: int, most: int, what: str) -> list[int]:
    """The numbers of `what` that are asked for, or all, if each is possible."""
    wanted = list(range(least, most + 1)) if counts is None else list(counts)
    if not wanted or not least <= min(wanted) <= max(wanted) <= most:
        raise ValueError(f"counts={wanted} must be numbers of {what} from {least} to {most}, what is given and fits")
    return wanted


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


def encode_rows(rows: Sequence[Mapping[str, Picture]], tokenizer: Tokenizer) -> list[torch.Tensor]:
    """`encode` of many rows, int64 [S, N] each; the same object, or the same path, is encoded once.

    Args:
        rows: named pictures; a name stands for one picture in all of them.
    """
    place: dict[str | int, int] = {}
    once: dict[str, Picture] = {}
    keys = [[str(p) if isinstance(p, str | Path) else id(p) for p in row.values()] for row in rows]
    for row, row_keys in zip(rows, keys, strict=True):
        for key, (name, picture) in zip(row_keys, row.items(), strict=True):
            if key not in place:
                place[key] = len(place)
                once[name] = picture
    assert len(once) == len(place), "two pictures of one name"
    codes = encode(once, tokenizer) if once else torch.empty(0, tokenizer.codes_per_image, dtype=torch.int64)
    return [codes[[place[key] for key in row_keys]] for row_keys in keys]


def orders_shown(bundle: Bundle, num_pairs: int, ensemble: int, seed: int) -> list[list[int]]:
    """Which examples each of `ensemble` prompts shows, after making sure that they fit beside a query and an answer."""
    fit = max(0, (bundle.images_in_context - 2) // 2)
    if ensemble == 1 or fit == 0:
        remedy = ", or ensemble=2 or more to show other ones of them each time" if fit else ""
        check_room(bundle, 2 * num_pairs + 1, 1, remedy=remedy)
    return example_orders(num_pairs, min(num_pairs, fit), ensemble, seed)


def example_orders(num_pairs: int, num_shown: int, count: int, seed: int) -> list[list[int]]:
    """`count` different ways to show `num_shown` of `num_pairs` examples, as rows of their numbers.

    If all are shown, the first is the order given. If not, examples take turns: none is shown twice more than another
    as long as new rows can be found so. The first ways do not depend on how many are asked for.
    """
    most = math.perm(num_pairs, num_shown)
    if not 1 <= count <= most:
        raise ValueError(
            f"ensemble={count} must lie in 1 .. {most}: there are no more ways to show {num_shown} of {num_pairs} pairs"
        )
    orders = [list(range(num_pairs))] if num_shown == num_pairs else []
    shown, in_turns, chance = np.zeros(num_pairs), True, rng("ensemble", seed)
    while len(orders) < count:
        some = chance.permutation(num_pairs)
        if in_turns:
            some = some[np.argsort(shown[some], kind="stable")]
        order = chance.permutation(some[:num_shown]).tolist()
        in_turns = order not in orders
        if in_turns:
            orders.append(order)
            shown[order] += 1
    return orders


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
