"""`openlvm tokenizer train|encode|decode`: a tokenizer learned; pictures into codes, and codes into pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from openlvm.cli import train
from openlvm.cli.command import Outcome, find_pictures, parse, report


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Write the codes of pictures into a file (.npz: `codes`, `names`, `codes_fingerprint`)."""

    images: tyro.conf.Positional[tuple[str, ...]]
    """Pictures, folders or patterns."""
    tokenizer: str = "demo"
    """Folder of a tokenizer, or the name of an embedded one."""
    out: Path = Path("codes.npz")
    """The file written."""
    batch_size: int = 32
    """Pictures encoded together."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Draw the pictures of codes that `encode` wrote."""

    codes: tyro.conf.Positional[Path]
    """The file of codes."""
    tokenizer: str = "demo"
    """Folder of the tokenizer they were made with, or its embedded name."""
    out: Path = Path("runs/decoded")
    """Folder of the pictures, PNG."""
    batch_size: int = 32
    """Pictures decoded together."""
    json: bool = False
    """Print one JSON object on stdout."""


Verbs = Annotated[Encode, tyro.conf.subcommand("encode")] | Annotated[Decode, tyro.conf.subcommand("decode")]

USAGE = """usage: openlvm tokenizer train RECIPE ... | encode IMAGES ... | decode CODES ...

  train   run a recipe that trains a tokenizer
  encode  write the codes of pictures into a file
  decode  draw the pictures of codes"""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if list(argv[:1]) in (["-h"], ["--help"]):
        print(USAGE)
    elif list(argv[:1]) == ["train"]:
        train.run(argv[1:], verb="tokenizer train")
    else:
        options = parse(Verbs, argv, "tokenizer")
        report(lambda: _encode(options) if isinstance(options, Encode) else _decode(options), as_json=options.json)


def _encode(options: Encode) -> Outcome:
    import numpy as np
    import torch

    from openlvm.core.files import atomic_write
    from openlvm.core.images import read_image
    from openlvm.tokenizer.folder import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer)
    paths = find_pictures(options.images)
    codes = []
    for start in range(0, len(paths), options.batch_size):
        pictures = [tokenizer.preparation(read_image(path)) for path in paths[start : start + options.batch_size]]
        codes.append(tokenizer.encode(torch.from_numpy(np.stack(pictures))).cpu().numpy())
    rows = np.concatenate(codes).astype(np.uint16 if tokenizer.codebook_size <= 2**16 else np.uint32)
    names = np.array([str(path) for path in paths])
    with atomic_write(options.out) as file:
        np.savez(file, codes=rows, names=names, codes_fingerprint=np.array(tokenizer.codes_fingerprint))
    values = {"out": options.out, "images": len(rows), "codes_per_image": rows.shape[1]}
    return Outcome(values, f"{options.out}: {len(rows)} images of {rows.shape[1]} codes")


def _decode(options: Decode) -> Outcome:
    import numpy as np
    import torch

    from openlvm.core.images import write_image
    from openlvm.tokenizer.folder import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer)
    rows, names = _read_codes(options.codes, tokenizer.codes_fingerprint)
    written: list[Path] = []
    for start in range(0, len(rows), options.batch_size):
        batch = torch.from_numpy(rows[start : start + options.batch_size].astype(np.int64))
        for picture in tokenizer.decode(batch).cpu().numpy():
            written.append(options.out / f"{len(written):05d}-{Path(names[len(written)]).stem}.png")
            write_image(written[-1], picture)
    return Outcome({"images": written}, f"{len(written)} pictures in {options.out}")


def _read_codes(at: Path, codes_fingerprint: str) -> tuple[Any, list[str]]:
    """Codes int [images, N] and names of a file of `encode`; another tokenizer's are refused."""
    import numpy as np

    try:
        with np.load(at, allow_pickle=False) as file:
            rows, names, made_with = file["codes"], file["names"].tolist(), str(file["codes_fingerprint"])
    except FileNotFoundError:
        raise FileNotFoundError(f"no file of codes at {at}") from None
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{at} is not a file of codes as `openlvm tokenizer encode` writes them: {error}") from None
    if made_with != codes_fingerprint:
        raise ValueError(
            f"{at} was made with the tokenizer {made_with[:12]}, not {codes_fingerprint[:12]}; "
            "give that one with --tokenizer"
        )
    return rows, names
