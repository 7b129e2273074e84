"""What a worker is, wherever it runs: one thread that has loaded its models and writes one part after the other."""

import errno
import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from openlvm.annotators.interface import Annotator
from openlvm.annotators.load import load_annotator
from openlvm.sources.interface import Part
from openlvm.store.engines.crew import Report
from openlvm.store.part import Job, write_part
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.interface import Tokenizer
from openlvm.tokenizer.speed.prepare import Precision, prepare_for_inference

ANNOTATORS_CALL_IT = {"fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Models:
    """Which models a worker loads, and where they compute."""

    tokenizer: str
    """Its folder or name, the same on every machine; "" where it is given as an object."""
    annotators: tuple[str, ...]
    """Each as `annotators.load.load_annotator` takes it."""
    device: str
    precision: Precision

    def load(self, given: Tokenizer | None = None) -> "Loaded":
        """Load them; a tokenizer that is given is left as it is.

        Raises:
            FileNotFoundError, ValueError, ImportError: a model is not there, or cannot be what was asked for.
        """
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device={self.device!r}, but PyTorch finds no GPU here")
        precision = ANNOTATORS_CALL_IT[self.precision]
        annotators = [load_annotator(words, device=self.device, precision=precision) for words in self.annotators]
        if given is not None:
            return Loaded(given, annotators)
        tokenizer: Any = load_tokenizer(self.tokenizer)
        if self.device != "cpu":
            tokenizer = tokenizer.to(self.device)
        if self.precision != "fp32":
            tokenizer = prepare_for_inference(tokenizer, self.precision)
        return Loaded(tokenizer, annotators)


class Loaded(NamedTuple):
    """A tokenizer and annotators, ready."""

    tokenizer: Tokenizer
    annotators: list[Annotator]

    def facts(self) -> dict[str, Any]:
        """What decides codes and annotations, as JSON values; equal on every machine that works on one store."""
        return {
            "codes_fingerprint": self.tokenizer.codes_fingerprint,
            "annotators": [annotator.describe() for annotator in self.annotators],
        }


class Worker:
    """Writes parts; made in the process that it is to work in. Its work never raises: it is told in reports."""

    def __init__(self, number: int, job: Job, models: Models, facts: dict[str, Any], folder: str):
        """A worker that has not started.

        Args:
            number: what the crew calls it.
            job: of the store.
            models: to load.
            facts: of the command's models.
            folder: the command's working folder, which relative paths begin at on every machine.
        """
        self.number, self.job, self.models, self.facts, self.folder = number, job, models, facts, folder
        self.loaded: Loaded | None = None

    def start(self) -> Report:
        """Load the models, and see that they are those of the command."""
        torch.set_num_threads(1)  # the order of a sum may depend on the number of threads
        try:
            os.chdir(self.folder)
        except OSError as error:
            told = f"a worker cannot go to {self.folder} ({error.strerror}); start the command where all machines can"
            return Report(self.number, error=FileNotFoundError(told))
        try:
            self.loaded = self.models.load()
            found = self.loaded.facts()
        except (ValueError, OSError, ImportError) as error:
            return Report(self.number, error=plain(error))
        differs = sorted(name for name in found if found[name] != self.facts[name])
        if differs:
            told = f"a worker loaded other models than the command: {', '.join(differs)} differ"
            return Report(self.number, error=ValueError(told))
        return Report(self.number)

    def write(self, part: Part) -> Report:
        """Write a part; after a failure the worker is not to be used again."""
        assert self.loaded is not None
        try:
            return Report(self.number, told=write_part(self.job, part, self.loaded.tokenizer, self.loaded.annotators))
        except ValueError as error:
            return Report(self.number, error=plain(error))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return Report(self.number, error=plain(error))
            return Report(self.number, failure=str(error))
        except Exception as error:  # out of memory on a device, say; whatever it is, it is told when it comes back
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
            return Report(self.number, failure=told)


def plain(error: Exception) -> Exception:
    """The error as one of the standard types, which any process can read."""
    if isinstance(error, OSError) and error.errno:
        return OSError(error.errno, error.strerror, error.filename)
    for kind in (ValueError, ImportError, FileNotFoundError):
        if isinstance(error, kind):
            return kind(str(error))
    return OSError(str(error))
