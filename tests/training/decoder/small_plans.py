"""A plan of drawn codes and a decoder of width 32, for the tests of decoder training."""

import numpy as np

from openlvm.bundle import SpecialIds
from openlvm.core.seeds import rng
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.store.plan import Sentences
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.decoder.task import DecoderTask

K, N = 16, 4
SPECIAL = SpecialIds(bos=K, eos=K + 1, pad=K + 2)


class DrawnPlan:
    """Components of S = 16, 4 and 3 images in turn: 1, 4, 5 sentences a position; roles alternate in the last two."""

    def __init__(self, images: tuple[int, ...] = (16, 4, 3), num_positions: int = 64, different: int = 64):
        self.images, self.num_positions, self.different = list(images), num_positions, different
        self.names = [f"of {size}" for size in images]
        self.codes_per_image = N

    def batch(self, positions: range) -> list[Sentences]:
        return [self.sentences(position) for position in positions]

    def sentences(self, position: int) -> Sentences:
        component = position % len(self.images)
        size = self.images[component]
        start = rng("sentence", position % self.different).integers(K, size=(16 // size, 1))
        codes = (start + np.arange(size * N) * (1 + component)) % K
        roles = np.arange(size) % 2 + 1 if component else np.zeros(size, dtype=int)
        return Sentences(component, codes, np.tile(roles, (16 // size, 1)))


def small_decoder(seed: int = 0, **changes) -> Decoder:
    values = {"vocab_size": K + 100, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "mlp_size": 64}
    return Decoder(DecoderConfig(**{**values, "context": 16 * N + 1, **changes}), seed=seed)


def small_task(
    layout: str = "dense", *, plan=None, decoder=None, per_forward: int = 2, loss=None, **more
) -> DecoderTask:
    return DecoderTask(
        decoder or small_decoder(),
        plan or DrawnPlan(),
        more.pop("special", SPECIAL),
        layout=layout,
        loss=loss or LossConfig(query=0.5, answer=2.0),
        positions_per_forward=per_forward,
        **more,
    )
