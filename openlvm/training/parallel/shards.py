"""Checkpoints in shards: every rank writes what it holds, and any number of ranks reads them (torch's DCP).

step-00001000/
  shards/.metadata      where each piece of each tensor lies; a pickle, of which only DCP's own classes are read
  shards/__<rank>_*.distcp
  files.json, state.json   as of every checkpoint

All ranks write into one folder that all can see (a shared file system), under a temporary name, and each digests what
it wrote. Rank 0 gives the folder its name when the last file of the last rank is on disk.
"""

import copy
import io
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openlvm.core.files import TEMPORARY, sync_folder
from openlvm.training.guards.damage import GO_BACK, digests_of, files_of, refuse_damage, share_of, write_list
from openlvm.training.optim import Optimizers
from openlvm.training.parallel.collectives import gathered

Module = TypeVar("Module", bound=nn.Module)
SHARDS = "shards"
_TRUSTED = {  # what DCP's .metadata is made of
    *(("torch.distributed.checkpoint.metadata", name) for name in (
        "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
        "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    )),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
}  # fmt: skip


def tensors_of(modules: Mapping[str, nn.Module], optimizers: Optimizers | None) -> dict[str, Any]:
    """weights/<module>.<name> and optimizer/<optimizer>/<module>.<name>/<what it keeps>, as they lie in memory."""
    tensors = {f"weights/{name}.{key}": value for name, module in modules.items() for key, value in _state(module)}
    if optimizers is None:
        return tensors
    names = _names(modules)
    for name, optimizer in optimizers.optimizers.items():
        for param, kept in optimizer.state.items():
            tensors |= {f"optimizer/{name}/{names[param]}/{key}": value for key, value in kept.items()}
    return tensors


def _state(module: nn.Module) -> list[tuple[str, Any]]:
    return list(module.state_dict().items())


def _names(modules: Mapping[str, nn.Module]) -> dict[Tensor, str]:
    return {param: f"{name}.{key}" for name, module in modules.items() for key, param in module.named_parameters()}


class ShardWriter:
    """Writes checkpoints in shards, one at a time; the process group, if there is one, must outlive it.

    Args:
        is_main: on the rank that gives folders their names.
        in_background: go on training while the files are written, from a copy in host memory.
    """

    def __init__(self, *, is_main: bool, in_background: bool):
        self.is_main, self.in_background = is_main, in_background
        # Its own messages: those of a writing thread must not meet the training's in one group.
        self.group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self.pending: Future | None = None

    def save(self, at: Path, tensors: dict[str, Any], finish: Callable[[Path], None]) -> None:
        """Write the checkpoint folder `at`; all ranks call this.

        Args:
            tensors: of `tensors_of`.
            finish: called on the main rank with the folder when all shards are there, before it takes its name.
        """
        import torch.distributed.checkpoint as dcp

        self.wait()
        temporary = at.with_name(f"{TEMPORARY}{SHARDS}-{at.name}")
        if self.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
            (temporary / SHARDS).mkdir(parents=True)
        if self.group is not None:
            dist.barrier(self.group)
        writer = dcp.FileSystemWriter(temporary / SHARDS)
        if not self.in_background or self.group is None:
            with _alone_is_fine():
                dcp.save(tensors, storage_writer=writer, process_group=self.group)
            self._publish(temporary, at, finish)
        else:
            written: Any = dcp.async_save(tensors, storage_writer=writer, process_group=self.group)
            self.pending = _then(written, lambda: self._publish(temporary, at, finish))

    def _publish(self, temporary: Path, at: Path, finish: Callable[[Path], None]) -> None:
        """All ranks call this; DCP ends only when every rank has written, and files are on disk."""
        digests = gathered(list(digests_of(temporary, share_of(files_of(temporary))).items()), self.group)
        if not self.is_main:
            return
        finish(temporary)
        write_list(temporary, dict(digests))
        sync_folder(temporary / SHARDS)
        sync_folder(temporary)
        os.replace(temporary, at)
        sync_folder(at.parent)

    def wait(self) -> None:
        """Until what was begun is there under its name, on all ranks; raises what went wrong in the background."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.result()
        if self.group is not None:
            dist.barrier(self.group)


@contextmanager
def _alone_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process on purpose
        yield


def _then(first: Future, after: Callable[[], None]) -> Future:
    """A future that is done when `first` is and `after` has been called; `after` is not called if `first` failed."""
    both: Future = Future()

    def run(done: Future) -> None:
        try:
            done.result()
            after()
            both.set_result(None)
        except BaseException as error:
            both.set_exception(error)

    first.add_done_callback(run)
    return both


def load_shards(at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers | None) -> None:
    """Fill modules, and optimizers where given, in place from the checkpoint folder `at`; all ranks call this.

    What the modules hold decides how it is cut: whole on one process, in shares of any number of ranks.
    """
    import torch.distributed.checkpoint as dcp

    refuse_damage(at)
    found = _read_metadata(at / SHARDS / ".metadata").state_dict_metadata
    tensors = tensors_of(modules, None)
    _refuse_another_size(at, tensors, found)
    if optimizers is not None:
        tensors |= _optimizer_places(at, modules, optimizers, found)
    try:
        with _alone_is_fine():
            dcp.load(tensors, storage_reader=_reader(at / SHARDS))
    except dcp.api.CheckpointException as error:
        first = next(iter(error.failures.values()))[0]
        raise ValueError(f"{at / SHARDS} is damaged ({str(first).splitlines()[0]}); {GO_BACK}") from None
    for name, module in modules.items():  # in place already; scalars that DCP replaced are put back
        own = dict(_state(module))
        for key, value in own.items():
            if tensors[f"weights/{name}.{key}"] is not value and value.ndim == 0:
                value.copy_(tensors[f"weights/{name}.{key}"])
    if optimizers is not None:
        _fill_optimizers(modules, optimizers, tensors)


def without_weights(module: Module) -> Module:
    """A copy whose weights take no memory, made before a module is split: `filled` makes it the whole module again."""
    state = module.state_dict(keep_vars=True)
    memo: dict[int, Any] = {}
    for tensor in state.values():
        empty = torch.empty_like(tensor, device="meta")
        is_weight = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_weight else empty
    return copy.deepcopy(module, memo)


def filled(empty: Module, at: Path, name: str) -> Module:
    """A copy of `without_weights` with the weights of module `name` in the checkpoint `at`; one process, on the CPU."""
    empty._apply(lambda tensor: torch.empty_like(tensor, device="cpu") if tensor.is_meta else tensor)
    load_shards(at, {name: empty}, None)
    return empty


def _refuse_another_size(at: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    has = {name: list(entry.size) for name, entry in found.items() if name.startswith("weights/")}
    wants = {name: list(tensor.shape) for name, tensor in wanted.items()}
    if has != wants:
        name = min(key for key in {*has, *wants} if has.get(key) != wants.get(key))
        short = name.removeprefix("weights/")
        raise ValueError(
            f"checkpoint {at} is of another model: {short} is {has.get(name, 'absent')} there, "
            f"{wants.get(name, 'absent')} here; resume with the model it was trained with"
        )


def _optimizer_places(
    at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers, found: Mapping[str, Any]
) -> dict[str, Any]:
    """A tensor to read into for everything an optimizer kept, cut as its parameter is."""
    params = {name: param for param, name in _names(modules).items()}
    places: dict[str, Any] = {}
    for name, entry in found.items():
        if not name.startswith("optimizer/"):
            continue
        _, optimizer, param_name, _ = name.split("/")
        if optimizer not in optimizers.optimizers or param_name not in params:
            raise ValueError(f"checkpoint {at} holds {name}, which this run has not; resume with the same optimizer")
        param = params[param_name]
        if entry.size == param.shape and len(entry.size):
            places[name] = torch.zeros_like(param, dtype=entry.properties.dtype)
        else:
            places[name] = torch.zeros(entry.size, dtype=entry.properties.dtype, device=param.device)
    return places


def _fill_optimizers(modules: Mapping[str, nn.Module], optimizers: Optimizers, tensors: Mapping[str, Any]) -> None:
    params = {name: param for param, name in _names(modules).items()}
    kept: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, optimizer, param_name, key = name.split("/")
            kept.setdefault((optimizer, param_name), {})[key] = tensor
    for each in optimizers.optimizers.values():
        each.state.clear()
    for (name, param_name), state in kept.items():
        optimizers.optimizers[name].state[params[param_name]] = state


class _Unpickler(pickle.Unpickler):
    """Reads what DCP's metadata is made of; a pickle that names anything else is refused before it can run."""

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype | torch.layout)
        if is_dtype or (module, name) in _TRUSTED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint holds")


def _read_metadata(at: Path) -> Any:
    try:
        return _Unpickler(io.BytesIO(at.read_bytes())).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
        raise ValueError(f"{at} is damaged or no part of a checkpoint ({error}); {GO_BACK}") from None


def _reader(at: Path) -> Any:
    """DCP's reader of a folder, with `_read_metadata` in place of an unpickler that runs anything."""
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import StorageMeta

    class Reader(FileSystemReader):
        def read_metadata(self, *args: Any, **how: Any) -> Any:
            metadata = _read_metadata(at / ".metadata")
            if getattr(metadata, "storage_meta", None) is None:
                metadata.storage_meta = StorageMeta()
            metadata.storage_meta.load_id = self.load_id
            return metadata

    return Reader(at)
