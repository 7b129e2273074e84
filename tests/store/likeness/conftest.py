"""Real pictures and a real tokenizer; small stores are written by the dozen, and not waited for."""

import sys
from pathlib import Path
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def small():
    """The embedded tokenizer of 64 pixels: 64 codes an image, 1024 codes."""
    from openlvm.tokenizer.folder import load_tokenizer

    return load_tokenizer("tokenizer_64_f8")


@pytest.fixture(scope="session")
def gallery():
    """101 real pictures by key."""
    from gallery import real_pictures

    return real_pictures()


@pytest.fixture(scope="session")
def colors(small):
    """Of the codes of `small`, by the way for large codebooks, which decodes less."""
    from openlvm.store.likeness import looks

    with mock.patch.object(looks, "MAX_DECODED", 0):
        return looks.code_colors(small)


@pytest.fixture(autouse=True)
def _colors_are_decoded_once(monkeypatch, request):
    def known(tokenizer):
        return request.getfixturevalue("colors") if tokenizer.codebook_size == 1024 else code_colors(tokenizer)

    from openlvm.store.likeness.looks import code_colors

    for file in ("duplicates", "contamination"):
        monkeypatch.setattr(f"openlvm.store.likeness.{file}.code_colors", known)
