"""From an annotator's words to the annotator: `load_annotator("depth=hf:Intel/dpt-large")`.

What a kind is made of is imported when it is asked for: none needs the packages of another.
"""

from collections.abc import Callable

from openlvm.annotators.interface import Annotator
from openlvm.annotators.spec import Spec, read_spec
from openlvm.core.picking import pick


def load_annotator(text: str, *, device: str = "cpu", precision: str = "float32") -> Annotator:
    """The annotator of `slot=kind:what[,option=value]`, its weights in memory.

    Args:
        text: see spec.py and docs/annotators.md.
        device: "cpu" or "cuda", for networks of PyTorch; MediaPipe's always work on the CPU.
        precision: "float32", or "bfloat16" for networks of Hugging Face.

    Raises:
        ValueError: wrong words, a kind that does not make this slot, or a model that is not for it.
        FileNotFoundError: no such model.
        ImportError: a package that the kind needs is not installed; names the extra.
    """
    spec = read_spec(text)
    slots = pick(KINDS, spec.kind, "kind of annotator")
    return pick(slots, spec.slot, f"slot that {spec.kind} can make")(spec, device, precision)


def _depth(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.huggingface.depth import load_depth

    return load_depth(spec, device, precision)


def _segmentation(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.huggingface.segmentation import load_segmentation

    return load_segmentation(spec, device, precision)


def _boxes(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.huggingface.detection import load_boxes

    return load_boxes(spec, device, precision)


def _pose(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.huggingface.pose import load_pose

    return load_pose(spec, device, precision)


def _normals(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.normals import FIELD_OF_VIEW, NormalsOfDepth

    others = {name: value for name, value in spec.options.items() if name != "fov"}
    own = {name: value for name, value in spec.options.items() if name == "fov"}
    options = Spec(spec.slot, spec.kind, spec.what, own).read_options({"fov": float})
    words = f"depth={spec.what}" + "".join(f",{name}={value}" for name, value in others.items())
    depth = load_annotator(words, device=device, precision=precision)
    return NormalsOfDepth(slot=spec.slot, depth=depth, fov=options.get("fov", FIELD_OF_VIEW))


def _hed(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.hed import load_hed

    return load_hed(spec, device)


def _people_mask(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.mediapipe.mask import load_mask

    return load_mask(spec)


def _people_pose(spec: Spec, device: str, precision: str) -> Annotator:
    from openlvm.annotators.mediapipe.pose import load_pose

    return load_pose(spec)


KINDS: dict[str, dict[str, Callable[[Spec, str, str], Annotator]]] = {
    "hf": {
        "depth": _depth, "segmentation": _segmentation, "instances": _segmentation, "mask": _segmentation,
        "boxes": _boxes, "pose": _pose,
    },
    "depth": {"normals": _normals},
    "hed": {"edges": _hed},
    "mediapipe": {"mask": _people_mask, "pose": _people_pose},
}  # fmt: skip
"""Kind -> slots it makes, each with what loads it of (spec, device, precision)."""
