"""First-person films out of ViZDoom: Freedoom's pictures, with depth and classes of what is seen.

A walker goes ahead, turning to where it is farther, with some chance; films that are dark, flat or stand still are
thrown away, and one gamma a film brings dark ones nearer to middle gray. The engine's depth, along the viewing axis,
has 255 levels of 7.2 map units each (measured 2026-11-21 by walking straight at walls in three scenarios: 7.20, 7.20,
7.20); a meter is 32 map units, as is usual, so that a level is 0.225 meters.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vizdoom
from PIL import Image
from sample_pack.strips import write_film

from openlvm.core.seeds import rng, seed_of

SIZE, FRAMES, TICS = 128, 16, 3  # TICS: of the game's 35 a second, between frames
METERS_PER_LEVEL = 7.2 / 32
CLASSES = {"Monster": 1, "Weapon": 2, "Ammo": 2, "Health": 3, "Armor": 3}  # other things are 4, scenery 0
MIDDLE_LUMA, LEAST_GAMMA = 95.0, 0.45
MIN_LUMA, MIN_SPREAD, MIN_DEPTH_SPREAD = 55.0, 20.0, 3.0  # of every frame's gray values and depth levels
MIN_CHANGE, MIN_STEP = 6.0, 5.0  # gray values and map units, from frame to frame, on average
TRIES = 60  # films begun in one game before it is given up


@dataclass(frozen=True)
class Place:
    """Where films are made: a scenario's configuration, and a map in it ("" is the scenario's own)."""

    scenario: str
    map: str = ""
    split: str = "train"
    films: int = 8


PLACES = (  # scenarios for several players wait for others; take_cover, my_way_home and the corridors are nearly flat
    Place("deathmatch", films=18),
    Place("health_gathering", films=5),
    Place("health_gathering_supreme"),
    Place("defend_the_center", films=5),
    Place("basic", films=4),
    *(Place("freedoom1", f"E1M{n}") for n in (1, 2, 3, 4, 6, 7, 8)),
    *(Place("freedoom1", f"E2M{n}", films=6) for n in (1, 2, 4, 5)),
    *(Place("freedoom2", f"MAP{n:02d}", films=6) for n in (1, 2, 3, 5, 7, 8, 11, 13)),
    *(Place("freedoom1", name, "heldout", 4) for name in ("E1M5", "E2M3", "E3M1")),
    *(Place("freedoom2", name, "heldout", 4) for name in ("MAP04", "MAP06", "MAP12")),
)


@dataclass(frozen=True, eq=False)
class Film:
    """One film."""

    pixels: np.ndarray
    """uint8 [F, 128, 128, 3]."""
    depth_levels: np.ndarray
    """uint8 [F, 128, 128] of the engine."""
    ids: np.ndarray
    """uint8 [F, 128, 128]: 0 scenery, 1 monster, 2 weapon or ammunition, 3 health or armor, 4 other things."""


def opened(place: Place, seed: int) -> vizdoom.DoomGame:
    """A started game without weapon, crosshair or display."""
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / f"{place.scenario}.cfg"))
    if place.map:
        game.set_doom_map(place.map)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_256X192)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_depth_buffer_enabled(True)
    game.set_labels_buffer_enabled(True)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(vizdoom.Mode.PLAYER)
    for draw in ("hud", "weapon", "crosshair", "messages", "particles", "screen_flashes", "effects_sprites"):
        getattr(game, f"set_render_{draw}")(False)
    game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA, vizdoom.Button.MOVE_FORWARD_BACKWARD_DELTA])
    game.set_available_game_variables([vizdoom.GameVariable.POSITION_X, vizdoom.GameVariable.POSITION_Y])
    game.set_episode_timeout(35 * 120)
    game.set_doom_skill(1)
    game.set_seed(seed_of("game", seed, place.scenario, place.map) % 2**31)
    game.add_game_args("+sv_cheats 1 +god 1 +viz_nocheat 0")
    with contextlib.chdir(tempfile.gettempdir()):  # the engine leaves its settings in the current folder
        game.init()
    return game


def films(place: Place, *, seed: int) -> Iterator[Film]:
    """Up to `place.films` good films of one place."""
    game = opened(place, seed)
    found = 0
    for attempt in range(TRIES):
        chance = rng("film", seed, place.scenario, place.map, attempt)
        if attempt == 0 or game.is_episode_finished():
            game.new_episode()
            game.send_game_command("god")
        film = _film(game, chance)
        if film is not None and is_good(film):
            yield film
            found += 1
            if found == place.films:
                break
    game.close()


def _film(game: vizdoom.DoomGame, chance: np.random.Generator) -> Film | None:
    """Walk on for a while, then film; None when the episode ends on the way or the walker is stuck."""
    frames, places = [], []
    speed, spin = chance.uniform(7, 18), 5.0 if chance.random() < 0.5 else -5.0
    lead = int(chance.integers(15, 70))
    for step in range(lead + FRAMES):
        if game.is_episode_finished() or (state := game.get_state()) is None:
            return None
        if step >= lead:
            frames.append(_frame(state))
            places.append(state.game_variables)
        game.make_action([_steered(state.depth_buffer, spin, chance), float(speed)], TICS)
    if np.linalg.norm(np.diff(places, axis=0), axis=1).mean() < MIN_STEP:
        return None
    pixels, depth_levels, ids = (np.stack(column) for column in zip(*frames, strict=True))
    return Film(_exposed(pixels), depth_levels, ids)


def _steered(depth: np.ndarray, spin: float, chance: np.random.Generator) -> float:
    """Degrees to turn in a tic, right positive: to the side that is farther; `spin` before a wall that is near."""
    rows = depth[depth.shape[0] * 2 // 5 : depth.shape[0] * 3 // 5].astype(np.float64)
    left, middle, right = (part.mean() for part in np.array_split(rows, 3, axis=1))
    if middle < 9:
        return spin
    toward = (right - left) / (right + left + 1)
    return float(np.clip((6 if middle < 15 else 1.5) * toward + chance.normal(0, 0.5), -5, 5))


def _exposed(pixels: np.ndarray) -> np.ndarray:
    """A dark film with one gamma for all frames that brings its mean nearer to MIDDLE_LUMA."""
    mean = np.clip(pixels.mean() / 255, 0.02, 0.98)
    gamma = np.clip(np.log(MIDDLE_LUMA / 255) / np.log(mean), LEAST_GAMMA, 1)
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)[pixels]


def _frame(state: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle square of a state's buffers at 128 x 128: picture, depth levels, class ids."""
    table = np.zeros(256, np.uint8)
    for seen in state.labels:
        table[seen.value] = CLASSES.get(seen.object_category, 4)
    margin = (state.screen_buffer.shape[1] - state.screen_buffer.shape[0]) // 2
    middle = slice(margin, margin + state.screen_buffer.shape[0])
    picture = Image.fromarray(np.ascontiguousarray(state.screen_buffer[:, middle]))
    flat = [state.depth_buffer[:, middle], table[state.labels_buffer[:, middle]]]
    nearest = [Image.fromarray(np.ascontiguousarray(plane)).resize((SIZE, SIZE), 0) for plane in flat]
    color = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX))
    return color, np.asarray(nearest[0]), np.asarray(nearest[1])


def is_good(film: Film) -> bool:
    """Bright, varied in color and depth, and moving."""
    gray = film.pixels.mean(-1)
    change = np.abs(gray[1:] - gray[:-1]).mean((1, 2))
    spread = film.depth_levels.std((1, 2))
    bright = gray.mean((1, 2)).min() > MIN_LUMA and gray.std((1, 2)).min() > MIN_SPREAD
    return bool(bright and spread.min() > MIN_DEPTH_SPREAD and change.mean() > MIN_CHANGE)


def write_films(at: Path, place: Place, found: Iterable[Film], *, frames: int = FRAMES) -> list[dict[str, Any]]:
    """Write the first `frames` of each film of a place below `at`/game; pack.json's entries."""
    entries = []
    scenario = "-".join(part for part in (place.scenario, place.map.lower()) if part)
    credit = {"source": "vizdoom", "credit": "Freedoom project; ViZDoom scenarios", "license": "BSD-3-Clause"}
    for number, film in enumerate(found):
        name = f"{scenario}-{number:02d}"
        depth_m = (film.depth_levels[:frames] + 0.5) * METERS_PER_LEVEL
        measured = write_film(at / "game" / place.split / name, film.pixels[:frames], depth_m, film.ids[:frames])
        entry = {"name": name, "scenario": scenario, "split": place.split, "frames": frames, "tics_a_frame": TICS}
        entries.append(entry | credit | measured)
    return entries
