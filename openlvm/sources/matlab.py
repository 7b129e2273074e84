"""MATLAB's files of version 4 to 7, as annotations are often published; read by scipy (extra `catalog`)."""

from pathlib import Path
from typing import Any

MAX_MAT_BYTES = 512 * 2**20
"""Largest file that is read; the largest annotation file known here (MPII) has 13 MB."""


def read_mat(path: Path, *, max_bytes: int = MAX_MAT_BYTES) -> dict[str, Any]:
    """The variables of a .mat file: structs as dicts, arrays of structs and cells as lists, numbers as numpy values.

    An array of one struct comes as that struct, one of none as an empty array: `structs` makes a list of all three.

    Raises:
        ImportError: scipy is not installed.
        FileNotFoundError: there is no such file.
        ValueError: too large, damaged, or of version 7.3 (which is HDF5).
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ImportError(f"{path} is a MATLAB file; reading it needs scipy: pip install openlvm[catalog]") from None
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; the limit is {max_bytes:,}")
    try:
        variables: dict[str, Any] = loadmat(path, simplify_cells=True)
    except Exception as error:  # a damaged file raises whatever scipy's reader stumbles over
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}") from None
    return variables


def structs(value: Any) -> list[dict[str, Any]]:
    """What `read_mat` gives for an array of structs, as a list, whether there are none, one or several."""
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
