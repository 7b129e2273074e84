"""`--dry-run`: what a prompt would cost, from the sizes in an LVM's description alone; no weights are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openlvm.cli.command import Outcome
from openlvm.cli.prompt.options import Drawing, Showing

if TYPE_CHECKING:
    from openlvm.model.decoder import DecoderConfig

BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Of a weight, by --dtype; keys and values are float32 on a CPU, whatever the weights are."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What an LVM's description says."""

    config: "DecoderConfig"
    codes_per_image: int
    has_bos: bool
    images_in_context: int


def sizes_of(name: str) -> Sizes:
    """The sizes of an LVM, by its place or name."""
    from openlvm.bundle import META, folder_of
    from openlvm.core.files import read_json
    from openlvm.model.folder import CONFIG, config_of

    at = folder_of(name)
    told = read_json(at / META, "LVM description")
    config_at = at / "decoder" / CONFIG
    has_bos = told["bos"] is not None
    return Sizes(
        config=config_of(read_json(config_at, "decoder config"), config_at),
        codes_per_image=told["codes_per_image"],
        has_bos=has_bos,
        images_in_context=(told["context"] - has_bos) // told["codes_per_image"],
    )


def plan(
    options: Drawing, given: Sequence[int], num_frames: int, *, ensemble: int = 1, may_drop: bool = False
) -> Outcome:
    """What the prompts would cost.

    Args:
        given: pictures of each prompt.
        num_frames: pictures to draw after each.
        ensemble: rows that draw one answer together.
        may_drop: pictures too many for the context are left out; otherwise they are an error, as in drawing.
    """
    from openlvm.prompting.engine.generate import ROWS_AT_ONCE
    from openlvm.prompting.engine.memory import bytes_needed

    sizes = sizes_of(options.lvm)
    codes, fit = sizes.codes_per_image, sizes.images_in_context
    if max(given) >= fit and not may_drop:
        raise ValueError(f"{max(given)} pictures and 1 more do not fit: the context holds {fit}")
    held = [min(count, fit - 1) for count in given]
    is_one_by_one = isinstance(options, Showing) and (options.exact or options.fast)
    memory = bytes_needed(
        sizes.config,
        [count * codes + sizes.has_bos for count in held for _ in range(ensemble)],
        min(num_frames, fit - max(held)) * codes,
        num_candidates=options.candidates,
        rows_at_once=1 if is_one_by_one else max(ROWS_AT_ONCE, ensemble * options.candidates),
        bytes_per_weight=BYTES[options.dtype],
    )
    values: dict[str, Any] = {
        "prompts": len(given),
        "codes_given": ensemble * sum(count * codes + sizes.has_bos for count in held),
        "codes_to_draw": len(given) * options.candidates * num_frames * codes,
        "bytes": memory._asdict(),
    }
    lines = [
        f"{len(given)} prompts of up to {max(held)} pictures; {options.candidates} answers of {num_frames} each",
        f"{values['codes_given']:,} codes given, {values['codes_to_draw']:,} codes to draw",
        *(f"{name:12}{number / 2**20:12,.1f} MiB at most" for name, number in values["bytes"].items()),
    ]
    return Outcome(values, "\n".join(lines))
