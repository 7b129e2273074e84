"""OpenLVM: visual sentences, one autoregressive transformer, visual prompts; pictures in, pictures out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openlvm.model.folder import load_decoder as load_decoder
    from openlvm.prompting.lvm import LVM as LVM
    from openlvm.prompting.sampling import Sampling as Sampling
    from openlvm.tokenizer.folder import load_tokenizer as load_tokenizer

__version__ = "0.1.0"

_HOMES = {  # loaded at first use (PEP 562), so that `import openlvm` takes no torch
    "LVM": "openlvm.prompting.lvm",
    "Sampling": "openlvm.prompting.sampling",
    "load_decoder": "openlvm.model.folder",
    "load_tokenizer": "openlvm.tokenizer.folder",
}
__all__ = ["LVM", "Sampling", "__version__", "load_decoder", "load_tokenizer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'openlvm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
