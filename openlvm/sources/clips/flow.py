"""Optical flow as its publishers store it: Middlebury's .flo files and KITTI's 16-bit PNGs."""

from pathlib import Path

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import Flow
from openlvm.sources.video import opened_video

FLO_MAGIC = 202021.25  # "PIEH" as a little-endian float32; vision.middlebury.edu/flow, code/flow-code/README.txt
FLO_UNKNOWN = 1e9  # the same: larger values are unknown
KITTI_ZERO, KITTI_STEP = 2.0**15, 64.0  # readme.txt of the KITTI 2015 development kit


def read_flo_file(path: Path, max_pixels: int = MAX_PIXELS) -> Flow:
    """A Middlebury .flo file (also of Sintel, FlyingChairs), vectors in pixels; unknown ones are NaN.

    Raises:
        ValueError: another format, too large, or not as long as its header says.
    """
    with open(path, "rb") as file:
        header = file.read(12)
        if len(header) < 12 or np.frombuffer(header, "<f4", 1)[0] != FLO_MAGIC:
            raise ValueError(f"{path} is no .flo file: it does not begin with 'PIEH' and a size")
        width, height = (int(number) for number in np.frombuffer(header, "<i4", 2, offset=4))
        if width < 1 or height < 1 or width * height > max_pixels:
            raise ValueError(f"{path} has {width} x {height} pixels; the limit is {max_pixels:,}")
        data = file.read(width * height * 8 + 1)
    if len(data) != width * height * 8:
        raise ValueError(f"{path} is not of the {width} x {height} pixels its header says; it may be truncated")
    vectors = np.frombuffer(data, "<f4").reshape(height, width, 2)
    unknown = ~(np.abs(vectors) < FLO_UNKNOWN).all(axis=-1, keepdims=True)  # NaN is unknown too
    return Flow(np.where(unknown, np.nan, vectors).astype(np.float32))


def read_kitti_flow_file(path: Path, max_pixels: int = MAX_PIXELS) -> Flow:
    """A KITTI flow PNG: 16-bit RGB of (u, v, valid), steps of 1/64 pixel around 32768; not valid ones are NaN.

    Pillow cuts such files to 8 bits, so PyAV (extra `video`) decodes them.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: another format, too large or damaged.
    """
    with opened_video(path, max_pixels) as (container, stream):
        if stream.codec_context.pix_fmt != "rgb48be":
            raise ValueError(f"its pixels are {stream.codec_context.pix_fmt}; expected 16-bit RGB (u, v, valid)")
        frame = next(container.decode(stream), None)
        if frame is None:
            raise ValueError("it holds no picture")
        values = frame.to_ndarray(format="rgb48le").astype(np.float32)
    vectors = (values[..., :2] - KITTI_ZERO) / KITTI_STEP
    return Flow(np.where(values[..., 2:] > 0, vectors, np.nan).astype(np.float32))
