"""The command `openlvm`: finds the verb, runs it, and turns a user's mistake into one line on stderr.

Imports nothing heavy: torch, tyro and rich are loaded by the verb that needs them, so that `--help` answers at once.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from openlvm.core.picking import pick

VERBS = {
    "demo": ("prompt the LVM that ships, once for every task; --train makes an LVM", "openlvm.cli.demo"),
    "prompt": (
        "continue a sequence, answer by analogy, compose tasks, choose, score, a batch of lines",
        "openlvm.cli.prompt",
    ),
    "evaluate": ("ask models the questions of published evaluations; write an honest report", "openlvm.cli.evaluate"),
    "serve": ("answer prompts over HTTP, for programs here or, with a token, elsewhere", "openlvm.cli.serve"),
    "tokenizer": ("train a tokenizer; turn pictures into codes and back", "openlvm.cli.tokenizer"),
    "tokenize": (
        "turn a folder of pictures, clips or views, or a dataset, into a store of codes",
        "openlvm.cli.tokenize",
    ),
    "catalog": ("the datasets that are read as they are published; check a folder", "openlvm.cli.catalog"),
    "look": ("draw any visual sentence of a store as a contact sheet", "openlvm.cli.look"),
    "store": ("look into, merge, split, sample, export, import stores; find duplicates", "openlvm.cli.store"),
    "convert": (
        "weights of others in, ours out for transformers and vLLM; which ids were trained",
        "openlvm.cli.convert",
    ),
    "train": ("run a recipe: a named, whole training configuration", "openlvm.cli.train"),
    "report": ("training runs as curves and a scaling plot, or evaluations side by side", "openlvm.cli.report"),
    "fit": ("teach an LVM a task from a folder of pairs, and say what it gained and forgot", "openlvm.cli.fit"),
}
"""Verb -> (one line of help, the module whose `run(argv)` does it)."""

USER_ERROR = 2  # exit status for bad input
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of our output went away


def usage() -> str:
    """What `openlvm --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {help_line}" for verb, (help_line, _) in VERBS.items()]
    return "\n".join(
        [
            "usage: openlvm VERB ...        (openlvm VERB --help for its options)",
            "",
            "Pictures become visual sentences, a transformer learns them, and visual prompts get pictures as answers.",
            "",
            *lines,
            "",
            "  --version  the version;  OPENLVM_TRACEBACK=1 shows where an error came from",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the words after `openlvm`; those of this process by default.

    Returns:
        the exit status: 0, 2 for bad input, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else USER_ERROR
    if words[0] == "--version":
        print(f"openlvm {_version()}")
        return 0
    try:
        _, module = pick(VERBS, words[0], "verb")
        importlib.import_module(module).run(words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush complains
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("openlvm: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get("OPENLVM_TRACEBACK"):
            raise
        print(f"openlvm: error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return USER_ERROR
    return 0


def _version() -> str:
    try:
        return version("openlvm")
    except PackageNotFoundError:
        return "(not installed)"
