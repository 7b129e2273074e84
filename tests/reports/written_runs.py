"""Run folders written by hand: what tests of reports share."""

import json

from openlvm.core.runs import as_json
from openlvm.model.sizes import SIZES
from openlvm.sentences.grammar import Pairs, Sequence
from openlvm.store.plan import Component

TRAIN = {"steps": 100, "positions_per_step": 2, "seed": 3, "checkpoint_every": 30, "log_every": 10}
KINDS = (Pairs(target="mask", pairs=4), Sequence(num_images=8, strides=(1, 2)))
POSITION = 2 * (8 * 64 + 1)


def write_run(at, *, size="mini", lines=10, heldout=True, kinds=KINDS, seed=3, loss=5.0):
    """A run of `lines` lines, one every ten steps, each told by a loop that counts anew after every 30th step."""
    at.mkdir(parents=True)
    components = [Component("stores/views", kind) for kind in kinds]
    config = {"model": as_json(SIZES[size]), "train": {**TRAIN, "seed": seed}, "components": as_json(components)}
    (at / "config.json").write_text(json.dumps(config))
    with open(at / "metrics.jsonl", "w") as file:
        for step in range(10, 10 * lines + 1, 10):
            tokens = 10 * TRAIN["positions_per_step"] * POSITION
            line = {"step": step, "loss": loss - step / 100}
            line["timing"] = {"seconds": 4.0, "tokens_per_second": tokens / 4}
            if heldout and step % 50 == 0:
                line["evaluation"] = {"heldout/loss": loss + 0.5 - step / 100}
            file.write(json.dumps(line) + "\n")
    return at
