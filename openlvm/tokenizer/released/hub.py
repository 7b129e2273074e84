"""Released tokenizers on the Hugging Face hub: config.json and one file of weights, through huggingface_hub's cache."""

import re
from contextlib import suppress
from pathlib import Path

from openlvm.tokenizer.released.table import RELEASED, Release

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def release_called(name: str) -> tuple[str | None, Release] | None:
    """(name in the table or None, release) for a name of the table or for "owner/name" on the hub; None for others."""
    if name in RELEASED:
        return name, RELEASED[name]
    if not HUB_NAME.fullmatch(name):
        return None
    same = [known for known, release in RELEASED.items() if release.hub == name]
    if len(same) > 1:
        raise ValueError(f"{name} on the hub holds several tokenizers; name one: {', '.join(same)}")
    return (same[0], RELEASED[same[0]]) if same else (None, Release(layout="muse", hub=name))


def download(name: str, release: Release) -> Path:
    """The file of weights of a release, its config.json beside it; downloaded unless the cache of the hub has it.

    HF_HUB_OFFLINE and the other settings of huggingface_hub hold.

    Raises:
        FileNotFoundError: not on the hub, not reachable, or it has no such file; the message says which.
        ImportError: huggingface_hub is not installed.
    """
    hub = release.hub
    if hub is None:
        raise FileNotFoundError(
            f"{name} is not on the Hugging Face hub; get it from {release.elsewhere}, give its path"
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise ImportError(f"{name} is on the Hugging Face hub; for that: pip install huggingface_hub") from None

    def get(file: str) -> Path:
        return Path(hf_hub_download(hub, file, subfolder=release.folder or None))

    try:
        if release.has_config:
            get("config.json")
        for file in release.files:
            with suppress(EntryNotFoundError):  # not there; or, with the hub out of reach, not in the cache
                return get(file)
    except Exception as error:  # no such repository, no network, no leave: each with its own exception
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(f"no tokenizer folder {name}, and not got from the hub: {reason}") from None
    raise FileNotFoundError(f"{hub} on the hub has none of {', '.join(release.files)}, or they are not in the cache")
