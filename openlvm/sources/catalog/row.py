"""One row of the catalogue: a dataset as a paper used it, and how its official folder becomes records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from openlvm.core.picking import pick
from openlvm.sources.interface import Source

Sentence = Literal["single", "category", "pairs", "free_form", "sequence", "clip_pairs", "views"]
"""Kind of visual sentence that the row is for (sentences/grammar.py)."""
Paper = Literal["LVM", "DeLVM", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A dataset for one use. Several rows may read one folder (COCO: boxes, masks, poses)."""

    name: str
    """What it is called on the command line: "ade20k", "coco_pose"."""
    dataset: str
    """Its published name."""
    sentence: Sentence
    """Kind of visual sentence that it is for."""
    annotation: str = ""
    """What is annotated: "semantic segmentation", "depth"; "" where there are pictures alone."""
    annotated_by: str = ""
    """"ground truth", or the model ("DPT"); where the paper took another one, both: "ViTPose (LVM: MMPose)"."""
    tokens: float | None = None
    """Million tokens in the paper's table (LVM, appendix); None where it gives none."""
    tokens_shared: str = ""
    """Names the other rows that share this number, where the paper gives one for several."""
    paper: Paper = "LVM"
    """Who used it."""
    licence: str
    """A note on its terms; read them at its home before use."""
    home: str
    """Address of its page."""
    layout: str
    """Files below the dataset's folder, as its publisher has them; several lines."""
    layout_source: str = ""
    """The public loader or document that shows this layout; "" where none was found: then it is unverified."""
    splits: Mapping[str, Callable[[Path], Source]]
    """Split -> the source of its folder, "train" first."""
    promised: Mapping[str, int] = field(default_factory=dict)
    """Split -> items of its source (pictures, pairs, films, objects) the publisher says are there, where known."""
    generated: tuple[str, ...] = ()
    """Slots made from the pictures when it is tokenized (sentences/generated.py)."""
    annotators: tuple[str, ...] = ()
    """"slot=annotator" for slots that a model draws when it is tokenized (annotators/)."""
    styles: Mapping[str, str] = field(default_factory=dict)
    """Slot -> how its annotation is drawn, where that is not the usual way (sentences/render.py)."""

    def source(self, at: Path, split: str = "") -> Source:
        """The source of a split of the dataset in the folder `at`; "" is the first split."""
        make = pick(self.splits, split or next(iter(self.splits)), f"split of {self.name}")
        return make(Path(at))

    @property
    def is_verified(self) -> bool:
        """Whether the layout follows a public loader or document."""
        return bool(self.layout_source)
