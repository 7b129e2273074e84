"""For tests of the server: requests by hand, in the standard library."""

import http.client
import io
import json

import numpy as np
from PIL import Image


def picture_file(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """uint8 [H, W, 3] as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=form)
    return file.getvalue()


def multipart(asked, files, **more: bytes) -> tuple[str, bytes]:
    """Content type and body of a request with pictures, uint8 arrays or bytes, and other parts."""
    parts = {"request": json.dumps(asked).encode(), **more}
    body = [
        f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n'.encode() + v + b"\r\n" for n, v in parts.items()
    ]
    for file in files:
        data = file if isinstance(file, bytes) else picture_file(file)
        body.append(b'--b\r\nContent-Disposition: form-data; name="pictures"; filename="x"\r\n\r\n' + data + b"\r\n")
    return "multipart/form-data; boundary=b", b"".join([*body, b"--b--\r\n"])


def post(url: str, verb: str, body, kind: str = "application/json", timeout: float = 30):
    """Status, and what was told: the JSON, or the text of a stream."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
    try:
        connection.request("POST", f"/v1/{verb}", data, {"Content-Type": kind})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    is_json = response.getheader("content-type", "") == "application/json"
    return response.status, json.loads(text) if is_json else text.decode()
