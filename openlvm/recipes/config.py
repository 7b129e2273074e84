"""What a recipe for a whole LVM is: data to tokenize, and the decoder to train on it."""

from dataclasses import dataclass
from typing import Any

from openlvm.model.decoder import DecoderConfig
from openlvm.prompting.sampling import Sampling
from openlvm.training.decoder.train import DecoderTrainConfig


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """A source and the slots to generate from its pictures; becomes the folder stores/<name> of the run."""

    name: str
    """Names the store; components refer to it."""
    source: Any
    """A `sources.interface.Source`."""
    generated: tuple[str, ...] = ()
    """Names of `sentences.generated.GENERATED`."""


@dataclass(frozen=True, kw_only=True)
class LVMConfig:
    """A tokenizer that exists, stores made with it, and a decoder trained on them."""

    tokenizer: str
    """Folder or embedded name."""
    stores: tuple[StoreConfig, ...]
    """Tokenized first, unless they are there already."""
    decoder: DecoderTrainConfig
    """Its components name stores of this recipe instead of folders."""
    workers: int = 2
    """Processes that tokenize."""
    sampling: Sampling = Sampling()
    """How answers are drawn unless a call says otherwise; kept in the bundle."""
    codebook_start: bool = True
    """Start the decoder's embeddings from the tokenizer's code vectors (training.decoder.starts.embedding_from_codebook)."""
    start: str = ""
    """LVM (bundle folder or embedded name) from whose decoder training continues, with a fresh optimizer and a rate
    that is warmed up anew; "" starts from random weights."""
    look_back: bool = True
    """Let heads begin by attending to the same place of the image before (training.decoder.starts.look_back)."""

    def __post_init__(self):
        known = {store.name for store in self.stores}
        strange = [str(c.store) for c in self.decoder.components if str(c.store) not in known]
        if strange:
            raise ValueError(
                f"components of the stores {strange}, which the recipe does not make; it makes {sorted(known)}"
            )

    @property
    def model(self) -> DecoderConfig:
        """Shape of the decoder."""
        return self.decoder.model
