"""The renderer: views of models per second at 128 pixels, drawing alone and with reading the models, on all cores.

    python benchmarks/render.py
    python benchmarks/render.py --models DIR       # a folder of .glb, .gltf and .obj instead of models made here

The models made here are as large as those of a furniture library (820 objects: median 4 254 triangles, 10 % above
27 000, 1 % above 126 000), have four parts each, and a texture of 1024 x 1024 in every second one. Each process draws
with one thread (LP_NUM_THREADS=0) and takes every n-th model; beside them, one process whose driver uses all cores.
"""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from measure import emit

from openlvm.core.records import BadRecord
from openlvm.sources.interface import Part
from openlvm.sources.rendered.camera import FOV_DEGREES, drawn_turn
from openlvm.sources.rendered.folder import Accepted
from openlvm.sources.rendered.meshes import RenderedMeshes, read_model
from openlvm.sources.rendered.pieces import normalized
from openlvm.sources.rendered.renderer import shared_renderer

VIEWS, SIZE = 24, 128
LOG_TRIANGLES = (8.36, 1.45)  # mean and deviation of a normal distribution with those percentiles
ANY = {"lost_textures": "gray"}


def make_models(at: Path, number: int) -> None:
    """Models as .glb: four bent spheres side by side, each with normals; textures of color noise."""
    import trimesh
    from PIL import Image

    for model in range(number):
        chance = np.random.default_rng(model)
        triangles = int(np.exp(np.clip(chance.normal(*LOG_TRIANGLES), 4, 12)))
        rings = max(3, int(np.sqrt(triangles / 4 / 4)))  # 4 rings² triangles a part
        scene = trimesh.Scene()
        for part in range(4):
            ball = trimesh.creation.uv_sphere(radius=1.0, count=[rings, 2 * rings])
            bent = ball.vertices * chance.uniform(0.3, 1, 3) * (1 + 0.2 * np.sin(3 * ball.vertices[:, :1])) + [
                part,
                0,
                0,
            ]
            uv = np.stack(
                [np.arctan2(*ball.vertices[:, :2].T) / 2 / np.pi + 0.5, ball.vertices[:, 2] / 2 + 0.5], axis=1
            )
            noise = chance.integers(0, 256, (32, 32, 3), np.uint8)
            image = Image.fromarray(noise).resize((1024, 1024)) if model % 2 and part == 0 else None
            color = [*chance.integers(0, 256, 3), 255]
            material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, baseColorFactor=color)
            visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
            scene.add_geometry(trimesh.Trimesh(bent, ball.faces, visual=visual, process=False))
        scene.export(at / f"{model:03d}.glb")


def draw(at: Path, items: tuple[str, ...]) -> dict[str, float]:
    """Time drawing alone: the models are in memory, and each has been drawn once."""
    renderer = shared_renderer(SIZE, FOV_DEGREES)
    accepted = Accepted(lost_textures="gray")
    keys_and_paths = [item.split("//")[:2] for item in items]
    models = {key: normalized(read_model(at / path, accepted)) for key, path in keys_and_paths}
    turns = {key: drawn_turn(0, key).cameras(VIEWS, 360 / VIEWS) for key in models}
    for key, pieces in models.items():
        renderer.draw(pieces, turns[key][:1])
    wall, cpu = time.perf_counter(), time.process_time()
    for key, pieces in models.items():
        renderer.draw(pieces, turns[key])
    return {
        "views": VIEWS * len(models),
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "triangles": sum(len(piece.triangles) for pieces in models.values() for piece in pieces),
    }


def read(at: Path, items: tuple[str, ...]) -> dict[str, float]:
    """Time the source: read, draw, and make records with all annotations; the renderer is warm, the models are not."""
    source = RenderedMeshes(at=at, size=SIZE, **ANY)
    list(source.read(Part("warm", items[:1])))
    wall, cpu = time.perf_counter(), time.process_time()
    views = sum(VIEWS for record in source.read(Part("all", items)) if not isinstance(record, BadRecord))
    return {"views": views, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measure(name: str, work: Any, at: Path, shares: list[tuple[str, ...]], runs: int, threads: str) -> None:
    """Run `work` on every share at once, `runs` times, and print the median run by its wall time."""
    os.environ["LP_NUM_THREADS"] = threads  # inherited by the processes started below
    found = []
    with ProcessPoolExecutor(len(shares), mp_context=get_context("spawn")) as pool:
        for _ in range(runs + 1):
            found.append(list(pool.map(work, [at] * len(shares), shares)))
    combine = {"views": sum, "wall": max, "cpu": sum}
    totals = [{name: over(one[name] for one in run) for name, over in combine.items()} for run in found[1:]]
    middle = sorted(totals, key=lambda total: total["wall"])[len(totals) // 2]
    emit(
        name,
        round(middle["views"] / middle["wall"], 1),
        "views/s",
        processes=len(shares),
        views_per_cpu_second=round(middle["views"] / middle["cpu"], 1),
        best=round(max(total["views"] / total["wall"] for total in totals), 1),
        runs=runs,
        size=SIZE,
        models=sum(len(share) for share in shares),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of models; default: made here")
    parser.add_argument("--number", type=int, default=24, help="models used")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="two models, one run")
    options = parser.parse_args()
    number, runs = (2, 1) if options.tiny else (options.number, options.runs)
    with tempfile.TemporaryDirectory() as folder:
        at = options.models or Path(folder)
        if options.models is None:
            make_models(at, number)
        items = [item for part in RenderedMeshes(at=at, **ANY).parts() for item in part.items]
        items = items[:: max(1, len(items) // number)][:number]
        cores = os.cpu_count() or 1
        shares = [tuple(items[first::cores]) for first in range(min(cores, len(items)))]
        for name, work in (("render draw", draw), ("render with loading", read)):
            measure(f"{name} {len(shares)} processes", work, at, shares, runs, "0")
            measure(f"{name} 1 process", work, at, [tuple(items)], runs, str(cores))


if __name__ == "__main__":
    main()
