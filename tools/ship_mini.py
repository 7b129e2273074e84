"""Put trained weights into openlvm/assets/mini, and its scores onto the model card.

    python tools/ship_mini.py --bundle runs/mini/bundle           # rounds to bfloat16
    openlvm evaluate mini --out runs/evaluate-mini                # of the rounded weights, as they ship
    python tools/ship_mini.py --report runs/evaluate-mini         # the card: openlvm/assets/mini/README.md

The words of the card that no run knows are in tools/mini_card.md.
"""

import argparse
import sys
from pathlib import Path

import torch

from openlvm.bundle import load_bundle, save_bundle
from openlvm.core.files import atomic_write, read_json
from openlvm.core.images import read_image, write_image
from openlvm.tokenizer.interface import fingerprint_of

MINI = Path(__file__).parents[1] / "openlvm" / "assets" / "mini"
WORDS = Path(__file__).with_name("mini_card.md")
SCORES = "<!-- scores -->"
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
