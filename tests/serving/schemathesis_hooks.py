"""What the description calls a picture, for Schemathesis: base64 of small PNGs (loaded by its command)."""

import base64

import numpy as np
import schemathesis
from http_calls import picture_file
from hypothesis import strategies

FILES = [picture_file(np.full((8, 8, 3), 40 * number, dtype=np.uint8)) for number in range(5)]

schemathesis.openapi.format("picture", strategies.sampled_from([base64.b64encode(file).decode() for file in FILES]))
