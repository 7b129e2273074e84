"""A network of transformers from a folder or by its name on the hub: loaded safely, and run on pictures of any size.

Only JSON and .safetensors are fetched and read, no code of a repository is ever run, and a checkpoint that leaves a
weight of its network at random is refused. Works without torchvision: pictures are prepared by Pillow and NumPy.
Letters: B pictures, H W pixels.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError

from openlvm.core.files import read_json, sha256_of
from openlvm.core.picking import pick

CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NOTHING: Mapping[str, Any] = MappingProxyType({})
TRIAL_SIDE = 256  # pixels of the picture that tells whether absent weights matter
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w./-]+)?")
_SHOWN = 3  # names of weights in a message

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network in evaluation mode with the preparation of pictures that belongs to it."""

    name: str
    """Of the repository; of a folder, its last name."""
    version: str
    """The commit of the repository; of a folder, a SHA-256 over its files."""
    files: Mapping[str, str]
    """Name of a file -> its SHA-256."""
    architecture: str
    """model_type of its config.json."""
    library: str
    """transformers and its version."""
    model: Any
    processor: Any
    device: str
    precision: str
    settings: Mapping[str, int]
    """What the network takes beside pictures, by name: one number for all."""

    def describe(self) -> dict[str, Any]:
        """What decides its answers, as JSON values."""
        names = ("name", "version", "architecture", "library", "precision")
        return {**{name: getattr(self, name) for name in names}, "files": dict(self.files)}

    def answers(
        self,
        images: Sequence[np.ndarray],
        read: Callable[[Any, list[tuple[int, int]]], list[Answer]],
        *,
        prepare: Mapping[str, Sequence[Any]] = NOTHING,
    ) -> list[Answer]:
        """Run the network on pictures, those of one prepared shape together, so that none is padded for another.

        Args:
            images: uint8 [H, W, 3], of any sizes.
            read: makes of the network's outputs (float32) and the pictures' sizes (H, W) one answer a picture.
            prepare: more for the preparation, by name: one value a picture.
        """
        groups: dict[tuple, list[tuple[int, Any]]] = {}
        for place, image in enumerate(images):
            more = {name: [values[place]] for name, values in prepare.items()}
            prepared = self.processor(
                images=[image], return_tensors="pt", input_data_format="channels_last", do_convert_rgb=False, **more
            )
            groups.setdefault(tuple(prepared["pixel_values"].shape[1:]), []).append((place, prepared))
        answers: dict[int, Answer] = {}
        for members in groups.values():
            inputs = {name: torch.cat([prepared[name] for _, prepared in members]) for name in members[0][1]}
            inputs |= {name: torch.full((len(members),), value) for name, value in self.settings.items()}
            inputs = {name: self._sent(value) for name, value in inputs.items()}
            places = [place for place, _ in members]
            with torch.inference_mode():
                outputs = self.model(**inputs)
            for name, value in outputs.items():
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    outputs[name] = value.float()
            told = read(outputs, [images[place].shape[:2] for place in places])
            answers.update(zip(places, told, strict=True))
        return [answers[place] for place in range(len(images))]

    def _sent(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self.device, PRECISIONS[self.precision] if value.is_floating_point() else value.dtype)


def load_network(
    what: str,
    architectures: Mapping[str, str],
    *,
    slot: str,
    device: str,
    precision: str,
    settings: Callable[[Any], Mapping[str, int]] = lambda config: NOTHING,
    prepare: Mapping[str, Sequence[Any]] = NOTHING,
) -> Network:
    """The network in a folder, or by its name on the hub, from the cache or the net.

    Args:
        what: a folder as `save_pretrained` writes it, or "owner/name@revision" (a commit, a branch, a tag).
        architectures: model_type -> the class of transformers that opens it for this slot.
        slot: for messages.
        device: of PyTorch.
        precision: of PRECISIONS.
        settings: what the network takes beside pictures, of its configuration.
        prepare: as `Network.answers` takes it, of a picture of TRIAL_SIDE pixels.

    Raises:
        FileNotFoundError: no such folder, or neither in the cache nor on the net.
        ValueError: not a network for this slot, or files that do not hold all of its weights.
        ImportError: transformers, or a package that this network needs, is not installed.
    """
    pick(PRECISIONS, precision, "precision")
    transformers = _transformers()
    folder, name, commit = _found(what)
    config = read_json(folder / "config.json", "configuration of a network")
    architecture = config.get("model_type", "") if isinstance(config, dict) else ""
    opener = pick(architectures, str(architecture), f"architecture for slot {slot}")
    files = {path.name: sha256_of(path) for path in _needed_files(folder, name)}
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quietly(transformers):
            processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **safe)
            model, told = getattr(transformers, opener).from_pretrained(
                folder, dtype=PRECISIONS[precision], use_safetensors=True, output_loading_info=True, **safe
            )
    except ImportError as error:
        raise ImportError(f"{name} needs a package that is not installed: {_first_line(error)}") from None
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ValueError(f"{name} cannot be loaded for slot {slot}: {_first_line(error)}") from None
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    network = Network(
        name=name, version=commit or digest, files=files, architecture=str(architecture),
        library=f"transformers {transformers.__version__}", model=model.to(device).eval().requires_grad_(False),
        processor=processor, device=device, precision=precision, settings=settings(model.config),
    )  # fmt: skip
    missing = sorted(told["missing_keys"])
    if missing and _are_used(missing, network, prepare):
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        kind = type(model).__name__
        raise ValueError(f"{name} lacks {len(missing)} weights of {kind} ({shown}); it was made for another use")
    return network


def _are_used(missing: Sequence[str], network: Network, prepare: Mapping[str, Sequence[Any]]) -> bool:
    """Whether weights that a checkpoint lacks decide answers: they become NaN, which then comes out.

    Some checkpoints rightly lack a few, Intel/dpt-large those of a layer that is never called (transformers issue
    28292). Integers and tables that are computed when the network is made are left as they are.
    """
    tensors = {**dict(network.model.named_parameters()), **dict(network.model.named_buffers())}
    for name in missing:
        if isinstance(tensors[name], torch.nn.Parameter) or name.endswith(("running_mean", "running_var")):
            tensors[name].fill_(torch.nan)
    gray = np.full((TRIAL_SIDE, TRIAL_SIDE, 3), 128, dtype=np.uint8)
    (outputs,) = network.answers([gray], lambda outputs, sizes: [outputs], prepare=prepare)
    floats = (value for value in outputs.values() if isinstance(value, torch.Tensor) and value.is_floating_point())
    return any(bool(value.isnan().any()) for value in floats)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ImportError("models of Hugging Face need transformers: pip install openlvm[annotators]") from None
    return transformers


@contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
    """No bars of progress and no warnings while a network is loaded: each of many workers would print them."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _found(what: str) -> tuple[Path, str, str]:
    """The folder of a network, its name and its commit ("" of a user's folder)."""
    folder = Path(what)
    if folder.is_dir():
        return folder, folder.resolve().name, ""
    if not _HUB_NAME.fullmatch(what):
        raise FileNotFoundError(f"no folder {what}; give a folder of a network, or its name on the hub: owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = what.partition("@")
    try:
        at = Path(snapshot_download(name, revision=revision or None, allow_patterns=[*CONFIGS, *WEIGHTS]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"{what} is no folder here, not in the cache of Hugging Face, and cannot be fetched: {_first_line(error)}"
        ) from None
    return at, name, at.name  # a snapshot's folder is called after its commit


def _needed_files(folder: Path, name: str) -> list[Path]:
    """Configuration and weights, in order of name."""
    weights = [path for pattern in WEIGHTS for path in folder.glob(pattern)]
    if not any(path.suffix == ".safetensors" for path in weights):
        others = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".h5"))
        raise ValueError(
            f"{name} has no model.safetensors" + (f" (it has {', '.join(others)})" if others else "")
            + "; pickles are not read: give a revision with safetensors, or convert it"
        )  # fmt: skip
    return sorted([*weights, *(folder / config for config in CONFIGS if (folder / config).is_file())])


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
