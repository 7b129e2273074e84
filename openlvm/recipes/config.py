"""What a recipe for a whole LVM is: data to tokenize, or stores that are there, and the decoder to train on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.model.decoder import DecoderConfig
from openlvm.prompting.sampling import Sampling
from openlvm.recipes.papers.mixture import Mix
from openlvm.sentences.grammar import MAX_IMAGES
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
    """Start the decoder's embeddings from the tokenizer's code vectors (training/decoder/starts.py)."""
    start: str = ""
    """LVM (bundle folder or embedded name) from whose decoder training continues, with a fresh optimizer and a rate
    that is warmed up anew; "" starts from random weights."""
    look_back: bool = True
    """Let heads begin by attending to the same place of the image before (training/decoder/starts.py)."""

    def __post_init__(self):
        known = {store.name for store in self.stores}
        asked = (*self.decoder.components, *self.decoder.heldout)
        strange = [str(component.store) for component in asked if str(component.store) not in known]
        if strange:
            raise ValueError(
                f"components of the stores {strange}, which the recipe does not make; it makes {sorted(known)}"
            )

    @property
    def model(self) -> DecoderConfig:
        """Shape of the decoder."""
        return self.decoder.model


@dataclass(frozen=True, kw_only=True)
class StoresConfig:
    """A decoder trained on stores that are on disk; which sentences they give follows from what they hold."""

    tokenizer: str
    """Folder of the tokenizer the stores were made with, or its embedded name."""
    stores: tuple[Path, ...] = ()
    """Folders of the stores (`openlvm tokenize` makes them)."""
    sources: tuple[StoreConfig, ...] = ()
    """Tokenized into the run folder and trained on where no `stores` are given."""
    heldout: tuple[Path, ...] = ()
    """Folders of stores of the evaluation, of records that no store of the training holds."""
    mix: Mix = "size"
    """Shares of the stores (papers/mixture.py)."""
    max_images: int = MAX_IMAGES
    """Images in the longest sentences; the decoder's context holds as many."""
    strides: tuple[int, ...] = (1,)
    """Frames from one image of a clip to the next; one is drawn for each sentence."""
    one_epoch: bool = True
    """Train one pass over the stores, at most decoder.train.steps steps; warm-up and decay shrink with it. False
    refuses stores that do not suffice for these steps."""
    decoder: DecoderTrainConfig
    """Its components are made from the stores."""
    teacher_size: str = ""
    """Size (model/sizes.py) of the teacher of a distillation, for the estimate of `--dry-run`."""
    workers: int = 2
    """Processes that tokenize `sources`."""
    sampling: Sampling = Sampling()
    """How answers are drawn unless a call says otherwise; kept in the bundle."""
    codebook_start: bool = False
    """As in LVMConfig."""
    look_back: bool = False
    """As in LVMConfig."""

    def __post_init__(self):
        if self.decoder.components or self.decoder.heldout:
            raise ValueError("a recipe on stores makes its components from `stores` and `heldout`; leave them out")
        if not 1 <= self.max_images <= MAX_IMAGES:
            raise ValueError(f"max_images={self.max_images} must lie in 1..{MAX_IMAGES}")

    @property
    def model(self) -> DecoderConfig:
        """Shape of the decoder."""
        return self.decoder.model
