"""How long a fit will take on this machine: a step, the first codes of some answers and an encoding are timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from openlvm.bundle import Bundle
from openlvm.jobs.fit.config import FitConfig
from openlvm.jobs.fit.folder import Split
from openlvm.jobs.fit.questions import FEWEST_ASKED, NUM_PAIRS, OLD
from openlvm.prompting.engine.generate import generate
from openlvm.sentences.grammar import MAX_IMAGES
from openlvm.training.decoder.loss import next_code_loss
from openlvm.training.progress import spell_seconds

REPLAY_PICTURES = 6000  # that jobs/fit/replay.py tokenizes, counted 2026-11-21
ROWS = 16  # drawn together when it is timed; more would be a little faster each
PICTURE_SECONDS = 0.0015  # to read or draw one of them before it is encoded, one core of 2026


@dataclass(frozen=True)
class Forecast:
    """Seconds of each stage, as far as can be told beforehand."""

    asking: float
    tokenizing: float
    training: float

    @property
    def seconds(self) -> float:
        """Of all stages; asking comes twice, before and after."""
        return round(2 * self.asking + self.tokenizing + self.training, 1)

    @property
    def spelled(self) -> str:
        """For people."""
        parts = f"asking 2 x {spell_seconds(self.asking)}, tokenizing {spell_seconds(self.tokenizing)}"
        return f"{spell_seconds(self.seconds)} ({parts}, training {spell_seconds(self.training)})"


def forecast(bundle: Bundle, split: Split, config: FitConfig) -> Forecast:
    """Time a little of each kind of work."""
    num_pairs = len(split.training) * config.variants + len(split.heldout)
    replay = REPLAY_PICTURES if config.replay else 0
    encoding = _seconds(lambda: bundle.tokenizer.encode(_blank(bundle, 32))) / 32
    questions = max(FEWEST_ASKED, len(split.heldout)) + config.queries * len(OLD)
    return Forecast(
        asking=_drawing(bundle, questions) + questions * (2 * NUM_PAIRS + 2) * encoding,
        tokenizing=(2 * num_pairs + replay) * encoding + replay * PICTURE_SECONDS,
        training=config.steps * _step(bundle, config.positions),
    )


def _blank(bundle: Bundle, count: int) -> torch.Tensor:
    size = bundle.tokenizer.image_size
    return torch.zeros(count, size, size, 3, dtype=torch.uint8)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _drawing(bundle: Bundle, questions: int) -> float:
    """Of as many prompts of seven pictures: what is read, and a code at a time."""
    per_image, rows = bundle.tokenizer.codes_per_image, min(questions, ROWS)
    prompt = torch.zeros((2 * NUM_PAIRS + 1) * per_image + 1, dtype=torch.int64)
    prompts = [torch.cat([torch.tensor([row % per_image]), prompt[1:]]) for row in range(rows)]  # nothing is shared

    def draw(count: int) -> Callable[[], Any]:
        return lambda: generate(bundle.decoder, prompts, count, num_codes=bundle.tokenizer.codebook_size)

    few, more = min(2, per_image - 1), min(8, per_image)
    short, long = _seconds(draw(few)), _seconds(draw(more))
    each = max(0.0, long - short) / (more - few)
    return (short + each * (per_image - few)) * questions / rows


def _step(bundle: Bundle, positions: int) -> float:
    """Forward and backward of as many positions; the weights stay as they are."""
    decoder, per_image = bundle.decoder, bundle.tokenizer.codes_per_image
    images = min(MAX_IMAGES, bundle.images_in_context)
    device = decoder.model.embed_tokens.weight.device
    codes = torch.zeros(1, images * per_image + 1, dtype=torch.int64, device=device)
    weights = torch.ones(codes.numel(), device=device)
    table = decoder.model.embed_tokens.weight if decoder.config.tie_embeddings else decoder.lm_head.weight

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            hidden = decoder.hidden(codes).flatten(0, 1)  # [T, D]
            next_code_loss(hidden, table, codes.flatten(), weights)[0].backward()

    decoder.requires_grad_(True)
    step()  # warms up
    taken = positions * _seconds(step)
    decoder.zero_grad(set_to_none=True)
    decoder.requires_grad_(False)
    return taken
