"""`openlvm tokenizer train|encode|decode|evaluate`: a tokenizer learned, used and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openlvm.cli import tokenizer_train
from openlvm.cli.command import Outcome, find_pictures, parse, report
from openlvm.cli.tokenizer_evaluate import Evaluate, evaluate


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Write the codes of pictures into a file (.npz: `codes`, `names`, `codes_fingerprint`)."""

    images: tyro.conf.Positional[tuple[str, ...]]
    """Pictures, folders or patterns."""
    tokenizer: str = "demo"
    """Folder of a tokenizer, or the name of an embedded one."""
    out: Path = Path("codes.npz")
    """The file written."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is about twice as fast and changes a share of the codes, which is measured on these pictures and printed."""
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


Verbs = (
    Annotated[Encode, tyro.conf.subcommand("encode")]
    | Annotated[Decode, tyro.conf.subcommand("decode")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
)

USAGE = """usage: openlvm tokenizer train RECIPE|--from NAME ... | encode IMAGES ... | decode CODES ... | evaluate NAMES

  train     train a tokenizer by a recipe, or go on from one that exists
  encode    write the codes of pictures into a file
  decode    draw the pictures of codes
  evaluate  measure tokenizers side by side, on pictures and on annotation maps"""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if list(argv[:1]) in (["-h"], ["--help"]):
        print(USAGE)
    elif list(argv[:1]) == ["train"]:
        tokenizer_train.run(argv[1:])
    else:
        options = parse(Verbs, argv, "tokenizer")
        report(lambda: _run(options), as_json=options.json)


def _run(options: Encode | Decode | Evaluate) -> Outcome:
    match options:
        case Encode():
            return _encode(options)
        case Decode():
            return _decode(options)
        case Evaluate():
            return evaluate(options)


def _encode(options: Encode) -> Outcome:
    import numpy as np
    import torch

    from openlvm.core.files import atomic_write
    from openlvm.core.images import read_image
    from openlvm.tokenizer.folder import load_tokenizer
    from openlvm.tokenizer.speed.prepare import compare_precisions, prepare_for_inference
    from openlvm.tokenizer.vqgan import VQGAN

    tokenizer = load_tokenizer(options.tokenizer)
    paths = find_pictures(options.images)

    def prepared(first: int) -> torch.Tensor:
        pictures = [tokenizer.preparation(read_image(path)) for path in paths[first : first + options.batch_size]]
        return torch.from_numpy(np.stack(pictures))

    values: dict[str, Any] = {"out": options.out, "images": len(paths), "codes_per_image": tokenizer.codes_per_image}
    told, encode = "", tokenizer.encode
    if options.precision == "bf16":
        if not isinstance(tokenizer, VQGAN):
            raise ValueError(f"--precision bf16 is for VQGANs; {options.tokenizer} is a {type(tokenizer).__name__}")
        change = compare_precisions(tokenizer, prepared(0))
        values |= change._asdict()
        told = f"; bf16: {change.share_equal:.2%} of the codes as in fp32, {change.psnr_change:+.3f} dB"
        encode = prepare_for_inference(tokenizer, "bf16").encode
    codes = [encode(prepared(first)).cpu().numpy() for first in range(0, len(paths), options.batch_size)]
    rows = np.concatenate(codes).astype(np.uint16 if tokenizer.codebook_size <= 2**16 else np.uint32)
    names = np.array([str(path) for path in paths])
    with atomic_write(options.out) as file:
        np.savez(file, codes=rows, names=names, codes_fingerprint=np.array(tokenizer.codes_fingerprint))
    return Outcome(values, f"{options.out}: {len(rows)} images of {rows.shape[1]} codes{told}")


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
