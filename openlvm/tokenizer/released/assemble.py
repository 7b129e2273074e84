"""A network from its config and the tensors of a file: checked without taking memory, then built and filled."""

from collections.abc import Mapping
from pathlib import Path

import torch

from openlvm.core.seeds import nothing_drawn
from openlvm.tokenizer.released.configs import NetworkConfig
from openlvm.tokenizer.released.maskgit import MaskGIT, MaskGITConfig
from openlvm.tokenizer.released.weights import check_fits
from openlvm.tokenizer.vqgan import VQGAN

AnyTokenizer = VQGAN | MaskGIT
"""A tokenizer that can be saved and loaded."""


def build(config: NetworkConfig) -> AnyTokenizer:
    """The network of a config, with weights at random."""
    return MaskGIT(config) if isinstance(config, MaskGITConfig) else VQGAN(config)


def shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of the network of a config; takes no memory for them."""
    with nothing_drawn(), torch.device("meta"):
        state = build(config).shipped_state()
    return {name: tuple(value.shape) for name, value in state.items()}


def assemble(
    config: NetworkConfig,
    tensors: Mapping[str, torch.Tensor],
    at: Path,
    *,
    names: Mapping[str, str] | None = None,
    to: str = "its config",
) -> AnyTokenizer:
    """The network of a config with the weights of a file; float32, in evaluation mode, on the CPU.

    Args:
        tensors: of the file `at`, by the names they have there.
        names: our name -> name in the file, where they differ.
        to: what the file must fit, for the message of the ValueError.
    """
    wanted = shapes_of(config)
    names = {name: name for name in wanted} if names is None else names
    given = dict(tensors)
    for ours, theirs in names.items():  # diffusers keeps 1x1 convolutions of attention as matrices
        if len(wanted[ours]) == 4 and theirs in given and given[theirs].ndim == 2:
            given[theirs] = given[theirs][..., None, None]
    check_fits(given, {names[ours]: shape for ours, shape in wanted.items()}, at, to=to)
    network = build(config)
    network.load_state_dict({ours: given[theirs].float() for ours, theirs in names.items()}, strict=False)
    return network.eval().requires_grad_(False)
