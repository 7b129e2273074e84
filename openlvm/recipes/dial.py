"""One dial: from a number of parameters to shape, batch, learning rate and length of a training.

Shape: `model.sizes.shape_near`. Batch and rate: Step Law (Li et al., arXiv 2503.04715), fitted to 3700 language models
of 59M to 1B parameters trained with AdamW and a cosine that ends at 1e-5:

    lr = 1.79 N^-0.713 D^0.307        batch = 0.58 D^0.571 tokens        N weights of the blocks, D tokens trained on

It was never fitted to codes of pictures; it is a start to search from, not an optimum.
"""

from dataclasses import dataclass

from openlvm.model.decoder import DecoderConfig
from openlvm.model.sizes import shape_near
from openlvm.sentences.grammar import MAX_IMAGES
from openlvm.training.config import OptimConfig, TrainConfig

MAX_LR = 3e-3  # the law's rate for its smallest model at 20 tokens a parameter; below 59M it would be extrapolated
FINAL_LR = 1e-5  # of every training the law was fitted to
MAX_WARMUP_STEPS = 2000  # the law's, of long trainings


@dataclass(frozen=True, kw_only=True)
class Dial:
    """A decoder's shape and how to train it."""

    model: DecoderConfig
    """Shape."""
    positions_per_step: int
    """Global batch: a power of two of rows of 16 images."""
    steps: int
    """Optimizer steps."""
    lr: float
    """Peak learning rate of AdamW."""
    codes_per_position: int
    """16 N."""

    @property
    def tokens(self) -> int:
        """Codes trained on."""
        return self.steps * self.positions_per_step * self.codes_per_position

    @property
    def optim(self) -> OptimConfig:
        """AdamW with warm-up and a cosine down to `FINAL_LR`."""
        warmup_steps = min(MAX_WARMUP_STEPS, self.steps // 50)
        return OptimConfig(lr=self.lr, warmup_steps=warmup_steps, final_share=FINAL_LR / self.lr)

    @property
    def train(self) -> TrainConfig:
        """The training; positions of one forward and cadences are left to the recipe."""
        return TrainConfig(steps=self.steps, positions_per_step=self.positions_per_step, optim=self.optim)


def dial(
    parameters: float,
    *,
    tokens: float,
    codes_per_image: int = 256,
    vocab_size: int = 8292,
    tie_embeddings: bool = False,
) -> Dial:
    """Everything from the number of parameters and of tokens (20 a parameter: Chinchilla, arXiv 2203.15556).

    Args:
        parameters: of the decoder, tables included.
        tokens: codes to train on; at least one row of 16 images.
        codes_per_image, vocab_size, tie_embeddings: as the tokenizer and the decoder's tables have them.
    """
    codes_per_position = MAX_IMAGES * codes_per_image
    if tokens < codes_per_position:
        raise ValueError(
            f"tokens={tokens:,.0f} do not fill one row of {MAX_IMAGES} images ({codes_per_position} codes)"
        )
    model = shape_near(parameters, vocab_size=vocab_size, context=codes_per_position + 1, tie_embeddings=tie_embeddings)
    tables = (1 if tie_embeddings else 2) * vocab_size * model.hidden_size
    positions_per_step = _power_of_two(0.58 * tokens**0.571 / codes_per_position)
    return Dial(
        model=model,
        positions_per_step=positions_per_step,
        steps=max(1, round(tokens / (positions_per_step * codes_per_position))),
        lr=float(f"{min(MAX_LR, 1.79 * (model.num_parameters - tables) ** -0.713 * tokens**0.307):.2g}"),
        codes_per_position=codes_per_position,
    )


def _power_of_two(value: float) -> int:
    """The nearest by ratio, at least 1: 5.6 -> 4, 5.7 -> 8."""
    power = 1
    while power * 2**0.5 < value:
        power *= 2
    return power
