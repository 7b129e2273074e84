"""`openlvm serve`: a page for people and an API for programs, on this machine or, with a token, on others."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openlvm.cli.command import parse
from openlvm.serving.limits import Limits

TOKEN = "OPENLVM_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Answer prompts until Ctrl-C; then finish what runs.

    http://HOST:PORT is a page to prompt with pictures (extra `ui`); http://HOST:PORT/docs says how programs ask.
    """

    lvm: tuple[str, ...] = ("mini",)
    """LVMs to serve, by name or folder; clients call a folder by its last part. The first is the default."""
    host: str = "127.0.0.1"
    """Address to listen at. Others than this machine's own need a token, or --open-to-all."""
    port: int = 8000
    """0 takes a free one, which is printed."""
    token: str | None = None
    """That clients must give; better set OPENLVM_TOKEN, since others on this machine can read a command line."""
    open_to_all: bool = False
    """Let whoever reaches the host in without a token."""
    api_only: bool = False
    """Without the page."""
    device: str = "cpu"
    """Where the weights lie: cpu, cuda."""
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    """Of the decoder's weights in memory."""
    limits: Annotated[Limits, tyro.conf.arg(name="")] = field(default_factory=Limits)
    """What one request, one client and all together may take."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Serve, argv, "serve")
    token = options.token or os.environ.get(TOKEN) or None
    names = names_of(options.lvm)

    from openlvm.serving.server import check_exposure, serve

    check_exposure(options.host, token, open_to_all=options.open_to_all)  # before weights are read

    from openlvm.prompting.lvm import LVM

    lvms = {name: LVM.load(at, device=options.device, dtype=options.dtype) for name, at in names.items()}
    serve(
        lvms, host=options.host, port=options.port, token=token, open_to_all=options.open_to_all, limits=options.limits,
        has_page=not options.api_only and _can_show_page(),
    )  # fmt: skip


def _can_show_page() -> bool:
    """Whether Gradio is installed; says how to get it if not."""
    if importlib.util.find_spec("gradio") is not None:
        return True
    print("no page, only the API: the page needs pip install 'openlvm[ui]'", file=sys.stderr)
    return False


def names_of(given: Sequence[str]) -> dict[str, str]:
    """What clients call each LVM: the last part of its place."""
    from openlvm.bundle import EMBEDDED

    names: dict[str, str] = {}
    for at in given:
        name = Path(at).name or at
        if name in EMBEDDED and at != name:
            raise ValueError(f"--lvm: {at} would be called {name}, as an LVM that ships is; rename the folder")
        if name in names:
            raise ValueError(f"--lvm: {names[name]} and {at} are both called {name}; rename one of the folders")
        names[name] = at
    if not names:
        raise ValueError("--lvm needs at least one LVM, such as mini")
    return names
