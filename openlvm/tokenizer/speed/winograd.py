"""A 3x3 convolution by Winograd's minimal filtering, F(4x4, 3x3): a quarter of the multiplications, in float32.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308): output tiles of 4x4 come from
input tiles of 6x6 as A'[(G w G') * (B' d B)]A (eq. 8 there, ' the transpose), 36 matrix products over channels instead
of 144 a tile. Interpolation points 0, +-1/sqrt 2, +-sqrt 2, infinity instead of their 0, +-1, +-2, infinity: half the
rms rounding error, a fifth of the largest. The picture is worked off in strips that stay in cache, and the norm and
SiLU before the convolution happen within the strip. Letters: B pictures, H W pixels, C channels; all maps [B, H, W, C].
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 4
"""Side of an output tile: height and width must be multiples of it."""
LOW, HIGH = 0.5**0.5, 2**0.5  # the interpolation points besides 0 and infinity; HIGH = 2 LOW, LOW^2 = 1/2
VALUES_AT_ONCE = 2**15  # rows times channels of each of 36 matrices: more leave the cache, fewer starve the product
KERNELS_AT_ONCE = 32  # while transforming the weights; bounds the float64 copies


def _kernel_transform() -> Tensor:
    """G, float64 [6, 3]: row p is (1, p, p^2) / prod(p - q) over other points q; rows of +-LOW halved (`_after`)."""
    rows = [[1.0, 0.0, 0.0]]
    for point, norm in ((LOW, -1.5), (-LOW, -1.5), (HIGH, 6.0), (-HIGH, 6.0)):
        scale = 0.5 if norm < 0 else 1.0
        rows.append([scale / norm, scale * point / norm, scale * point**2 / norm])
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)


def _products(weight: Tensor) -> Tensor:
    """(G w G')' of kernels [C_out, C_in, 3, 3]: float32 [36, C_in, C_out], computed in float64, few kernels at once."""
    made, channels = weight.shape[:2]
    transform, found = _kernel_transform(), weight.new_empty(6, 6, channels, made)
    for first in range(0, made, KERNELS_AT_ONCE):
        some = slice(first, first + KERNELS_AT_ONCE)
        found[..., some] = torch.einsum("ia,ocab,jb->jico", transform, weight[some].double(), transform)
    return found.view(36, channels, made)


def _before(d: list[Tensor], t: Tensor, spare: Tensor) -> None:
    """B' along one axis: six inputs d to six outputs t[0..5]; `spare` has the shape of one of them."""
    torch.sub(d[0], d[2], alpha=2.5, out=t[0]).add_(d[4])
    torch.sub(d[4], d[2], alpha=2, out=t[2])
    torch.sub(d[3], d[1], alpha=2, out=spare)
    torch.add(t[2], spare, alpha=LOW, out=t[1])
    t[2].sub_(spare, alpha=LOW)
    torch.sub(d[4], d[2], alpha=0.5, out=t[4])
    torch.sub(d[3], d[1], alpha=0.5, out=spare)
    torch.add(t[4], spare, alpha=HIGH, out=t[3])
    t[4].sub_(spare, alpha=HIGH)
    torch.sub(d[1], d[3], alpha=2.5, out=t[5]).add_(d[5])


def _after(m: Tensor, y: list[Tensor], spare: Tensor) -> None:
    """A' along one axis: six products m[0..5], overwritten, to four outputs y; `spare` is [2, ...] of their shape.

    y0 = m0 + 2 s1 + s2, y1 = HIGH (d1 + d2), y2 = s1 + 2 s2, y3 = LOW d1 + 2 HIGH d2 + m5, with s and d sums and
    differences of m1, m2 (halved by G) and of m3, m4.
    """
    s1, d1, s2, d2 = spare[0], spare[1], m[1], m[2]
    torch.add(m[1], m[2], out=s1)
    torch.sub(m[1], m[2], out=d1)
    torch.add(m[3], m[4], out=s2)
    torch.sub(m[3], m[4], out=d2)
    torch.add(m[0], s1, alpha=2, out=y[0]).add_(s2)
    torch.add(d1, d2, out=y[1]).mul_(HIGH)
    torch.add(s1, s2, alpha=2, out=y[2])
    torch.add(m[5], d1, alpha=LOW, out=y[3]).add_(d2, alpha=2 * HIGH)


def activate(x: Tensor, affine: tuple[Tensor, Tensor] | None, out: Tensor) -> None:
    """silu(x * scale + shift) into `out`, or a copy without `affine`; x [B, H, W, C], scale and shift [B, 1, 1, C]."""
    if affine is None:
        out.copy_(x)
    else:
        scale, shift = affine
        F.silu(torch.addcmul(shift, x, scale, out=out), inplace=True)


class Winograd3x3(nn.Module):
    """A 3x3 convolution with padding 1 of fixed weights, on the CPU."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("products", _products(weight.detach()))  # [6 columns x 6 rows, C_in, C_out]
        self.register_buffer("bias", bias.detach())
        self.products: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor, out: Tensor, affine: tuple[Tensor, Tensor] | None, adds: bool) -> None:
        """Convolve silu(x * scale + shift), or x where `affine` is None, into `out`.

        Args:
            x: float32 [B, H, W, C_in], contiguous; H and W multiples of 4.
            out: float32 [B, H, W, C_out], contiguous, not x; written, or added to if `adds`.
            affine: scale and shift, each [B, 1, 1, C_in].
        """
        batch, height, width, channels = x.shape
        made, across = out.shape[-1], width // TILE
        down = _rows_of_tiles(height // TILE, VALUES_AT_ONCE // (across * batch * max(channels, made)))
        padded = x.new_zeros(batch, TILE * down + 2, width + 2, channels)
        half = x.new_empty(6, batch, down, width + 2, channels)
        tiles = x.new_empty(6, 6, batch, down, across, channels)
        products = x.new_empty(6, 6, batch, down, across, made)
        halves = x.new_empty(6, batch, down, across, TILE, made)
        strip = x.new_empty(batch, down, TILE, across, TILE, made)
        spares = [x.new_empty(half[0].shape), x.new_empty(tiles[0].shape)]
        pairs = [x.new_empty(2, *products[0].shape), x.new_empty(2, *halves[0].shape)]
        for top in range(0, height, TILE * down):
            below = top + TILE * down
            first, last = max(0, top - 1), min(height, below + 1)
            activate(x[:, first:last], affine, padded[:, first - top + 1 : last - top + 1, 1:-1])
            if below == height:
                padded[:, -1].zero_()
            _before([padded[:, row : row + TILE * down - 3 : TILE] for row in range(6)], half, spares[0])
            _before([half[:, :, :, column : column + width - 3 : TILE] for column in range(6)], tiles, spares[1])
            torch.bmm(tiles.view(36, -1, channels), self.products, out=products.view(36, -1, made))
            _after(products, [halves[..., column, :] for column in range(TILE)], pairs[0])
            _after(halves, [strip[:, :, row] for row in range(TILE)], pairs[1])
            target = out[:, top:below]
            made_now = strip.view(target.shape)
            if adds:
                target.add_(made_now).add_(self.bias)
            else:
                torch.add(made_now, self.bias, out=target)


def _rows_of_tiles(available: int, wanted: int) -> int:
    """The largest divisor of `available` that is at most `wanted`, at least 1."""
    return max((rows for rows in range(1, available + 1) if available % rows == 0 and rows <= wanted), default=1)
