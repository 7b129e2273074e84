"""Put trained weights into openlvm/assets/mini, and its scores onto the model card.

    python tools/ship_mini.py --bundle runs/mini/bundle           # rounds to bfloat16
    openlvm evaluate mini --out runs/evaluate-mini                # of the rounded weights, as they ship
    python tools/ship_mini.py --report runs/evaluate-mini         # the card, and the table of the README

The words of the card that no run knows are in tools/mini_card.md.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from openlvm.bundle import load_bundle, save_bundle
from openlvm.core.files import atomic_write, read_json
from openlvm.core.images import read_image, write_image
from openlvm.tokenizer.interface import fingerprint_of

MINI = Path(__file__).parents[1] / "openlvm" / "assets" / "mini"
WORDS = Path(__file__).with_name("mini_card.md")
SCORES = "<!-- scores -->"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- mini -->", "<!-- /mini -->"
UNITS = {
    "iou": "mask IoU {:.2f}", "abs_rel": "AbsRel {:.3f}", "normal_degrees": "{:.0f}°", "edge_f1": "F1 {:.2f}",
    "keypoints": "PCK {:.2f}", "psnr": "{:.1f} dB", "pixels_right": "{:.0%} of pixels right",
    "changed_right": "{:.0%} of changed pixels right",
}  # fmt: skip
RIVALS = ("copy", "mean", "none", "wrong", "shuffled", "ceiling")
PICTURES = ("gallery", "failures")
"""Of the report; kept beside the card as WebP."""


def ship(bundle_at: Path) -> None:
    """Round the weights of a bundle to bfloat16 and put them in place of those that ship; the card comes after."""
    bundle = load_bundle(bundle_at)
    save_bundle(
        MINI, tokenizer=bundle.tokenizer, decoder=bundle.decoder, special=bundle.special, context=bundle.context,
        card=WORDS.read_text(encoding="utf-8"), meta=bundle.meta, tokenizer_dtype=torch.bfloat16,
        decoder_dtype=torch.bfloat16,
    )  # fmt: skip
    print(f"{sum(path.stat().st_size for path in MINI.rglob('*')) / 1e6:.1f} MB in {MINI}")


def write_card(report_at: Path) -> None:
    """The card with the scores of a report on the very weights that ship.

    Raises:
        ValueError: the report is of other weights.
    """
    report = read_json(report_at / "report.json", "report of `openlvm evaluate mini`")
    shipped = load_bundle("mini")
    given = report["tokenizer_fingerprint"], report["decoder_fingerprint"]
    wanted = shipped.tokenizer.fingerprint, fingerprint_of(shipped.decoder.state_dict(), {})
    if given != wanted:
        raise ValueError(f"{report_at} is about other weights than those in {MINI}; evaluate `mini` again")
    scores = (report_at / "report.md").read_text(encoding="utf-8").split("\n", 1)[1].strip()
    for name in PICTURES:
        write_image(MINI / f"{name}.webp", read_image(report_at / f"{name}.png"), quality=70)
    text = WORDS.read_text(encoding="utf-8").replace(SCORES, scores)
    with atomic_write(MINI / "README.md") as file:
        file.write(text.encode())
    write_readme(report)


def readme_table(report: dict[str, Any]) -> str:
    """The packaged tasks and the mean of them, in Markdown; bold where copying, the mean answer and none are beaten."""
    lines = [
        "| task | answer | copy the query | mean answer | no examples | wrong ones | shuffled | ceiling | own metric |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    listed = {name: task for name, task in report["tasks"].items() if task["group"] == "listed"}
    for name, task in listed.items():
        error = {rival: found["value"] for rival, found in task["pixel_error"].items()}
        answer = f"{error['correct']:.3f}"
        answer = f"**{answer}**" if all(task["beats"][rival]["mean"] for rival in ("copy", "mean", "none")) else answer
        cells = [name, answer, *(f"{error[rival]:.3f}" for rival in RIVALS)]
        lines.append(f"| {' | '.join(cells)} | {UNITS[task['metric']].format(task['value']['correct']['value'])} |")
    means = [
        sum(task["pixel_error"][rival]["value"] for task in listed.values()) / len(listed)
        for rival in ("correct", *RIVALS)
    ]
    lines.append(f"| mean | {' | '.join(f'{mean:.3f}' for mean in means)} | |")
    return "\n".join(lines)


def write_readme(report: dict[str, Any]) -> None:
    """Put the table between the marks of the README."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    with atomic_write(README) as file:
        file.write(f"{before}{BEGIN}\n{readme_table(report)}\n{END}{after}".encode())


def main() -> int:
    """Parse, act; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="LVM to round and ship")
    parser.add_argument("--report", type=Path, help="folder of `openlvm evaluate mini`")
    told = parser.parse_args()
    if told.bundle is None and told.report is None:
        parser.error("give --bundle or --report")
    if told.bundle is not None:
        ship(told.bundle)
    if told.report is not None:
        write_card(told.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
