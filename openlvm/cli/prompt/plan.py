"""`--dry-run`: what a prompt would cost, from the sizes in an LVM's description alone; no weights are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openlvm.cli.command import Outcome
from openlvm.cli.prompt.options import Drawing, Showing

if TYPE_CHECKING:
    from openlvm.model.decoder import DecoderConfig

BYTES = {"float32": (4, 4), "bfloat16": (2, 2), "int8": (4, 1)}
"""Of a number in the cache, and of a weight, by --dtype; int8 is for weights alone."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What an LVM's description says."""

    config: "DecoderConfig"
    codes_per_image: int
    has_bos: bool
    images_in_context: int


def sizes_of(name: str) -> Sizes:
    """The sizes of an LVM, by its place or name."""
    from openlvm.bundle import META, _folder_of
    from openlvm.core.files import read_json
    from openlvm.model.folder import CONFIG, _our_config

    at = _folder_of(name)
    told = read_json(at / META, "LVM description")
    config_at = at / "decoder" / CONFIG
    has_bos = told["bos"] is not None
    return Sizes(
        config=_our_config(read_json(config_at, "decoder config"), config_at),
        codes_per_image=told["codes_per_image"],
        has_bos=has_bos,
        images_in_context=(told["context"] - has_bos) // told["codes_per_image"],
    )


def plan(options: Drawing, given: Sequence[int], num_frames: int, *, ensemble: int = 1) -> Outcome:
    """What the prompts would cost.

    Args:
        given: pictures of each prompt.
        num_frames: pictures to draw after each.
        ensemble: rows that draw one answer together.
    """
    from openlvm.prompting.engine.generate import ROWS_AT_ONCE
    from openlvm.prompting.engine.memory import bytes_needed

    sizes = sizes_of(options.lvm)
    codes, fit = sizes.codes_per_image, sizes.images_in_context
    held = [min(count, fit - 1) for count in given]  # beyond the context the first pictures are forgotten
    per_number, per_weight = BYTES[options.dtype]
    is_one_by_one = isinstance(options, Showing) and (options.exact or options.fast)
    memory = bytes_needed(
        sizes.config,
        [count * codes + sizes.has_bos for count in held for _ in range(ensemble)],
        min(num_frames, fit - max(held)) * codes,
        num_candidates=options.candidates,
        rows_at_once=1 if is_one_by_one else max(ROWS_AT_ONCE, ensemble * options.candidates),
        bytes_per_number=per_number,
        bytes_per_weight=per_weight,
    )
    values: dict[str, Any] = {
        "prompts": len(given),
        "codes_given": sum(given) * codes + len(given) * sizes.has_bos,
        "codes_to_draw": len(given) * options.candidates * num_frames * codes,
        "bytes": memory._asdict(),
    }
    lines = [
        f"{len(given)} prompts of up to {max(given)} pictures; {options.candidates} answers of {num_frames} each",
        f"{values['codes_given']:,} codes given, {values['codes_to_draw']:,} codes to draw",
        *(f"{name:12}{number / 2**20:12,.1f} MiB at most" for name, number in values["bytes"].items()),
    ]
    return Outcome(values, "\n".join(lines))
