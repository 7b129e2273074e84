"""Which objects of the furniture libraries are used, and what each is called.

The libraries' own categories are rooms ("Kitchen"); LABELS groups the objects by what they are. A label keeps names
that show one thing well; banknotes, trade-marked devices, flat signs and see-through glass are left out.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LABELS = {
    "chair": r"chair|cafe chair|chair with cushion|oak chair|osaka chair|plastic chair|folding chair|ryokan chair|"
    r"teck chair|relax chair|class seat|child chair|children chair|baby high chair|beach chair|bar chair",
    "armchair": r"(modern |winchester |rattan )?armchair( ottoman)?",
    "sofa": r"(burlap |clear |corner |rattan |winchester )?sofa( \d seats)?|couch|futon couch|"
    r"(opened )?convertible sofa bz",
    "bed": r"(baby |bunk |captain's |child |day |hospital |iron |mezzanine )?bed|crib|futon|air mattress",
    "table": r"(round |glass |coffee |oak |cafe |bar |black |folding |rattan |bedside |changing |dressing |"
    r"wooden |technical )?table|table on trestles|table with tablecloth|wooden (alder|teak) table",
    "desk": r"desk|desk table|wooden desk|workbench",
    "stool": r"(bar )?stool|puff|bench|painted bench|concrete bench|wood bank|piano bench",
    "cabinet": r"(drawers |high |lower |sink |filing |small lower |glass door |television |lower corner )?"
    r"cabinet|wardrobe|cupboard|chest|dresser with drawers|tv stand",
    "bookcase": r"(full )?bookcase|(vertical )?shelves",
    "lamp": r"(ceiling |camping |chandelier |desk |little |outdoor |pedestal vase |pendant )?lamp|classic lamppost|"
    r"japanese lantern|stone lantern|park light|porch light|street light|hanging light|wall light|candle",
    "door": r"(exterior |double |garage |elevator )?door|double door with panes",
    "window": r"double-hung window|double arched window|double window \d panes|turn window|window shutter|"
    r"double french window (3|small) panes|triple french window",
    "car": r"chevrolet|concept sedan.*|ford focus|peugeot.*|renault.*|suv|seat leon|smart car|"
    r"vw new beetle|van|car model",
    "truck": r"truck|bus|city bus|fork lift|mower",
    "motorbike": r"motorbike|scooter|yamaha.*",
    "bicycle": r"bicycle|bike|tricycle|indoor bike|wheelchair|stroller|wheelbarrow",
    "person": r"(sitting |holding |lying down )?(boy|girl|female|male)|mannequin (female|male)|doll",
    "animal": r"bulldog|(siamese )?cat|chicken|dog|horse|rabbit|deer|teddy bear|rocking horse",
    "plant": r"(decorative |indoor |little |spider |succulent )?plant|ficus|yucca|cactus|bonsai tree|tulips|"
    r"orchids|flowers|spathiphyllum|white lily|bamboo|flower box|plant box",
    "tree": r"acacia|bended coconut tree|blue pine under snow|bush|coconut tree|copper beech|cypress|japanese maple|"
    r"palm tree|peach blossom|pine|pine under snow|poplar|sycamore maple|christmas tree|high hedge|hedge",
    "vase": r"vase|pottery|old jar|barrel|utensils pot|clothes basket|shopping basket",
    "bottle": r"(beer |wine |yogurt |spray |medicine |baby )?bottle|flacon|salt shaker|milk|cosmetics pot|extinguisher",
    "cup": r"(coffee |plastic )?cup|coffee mug|beer glass|creamer|teapot|espresso kettle|coffee press|"
    r"coffee (brewer|maker|machine)",
    "food": r"apples|birthday cake|bowl with (fruits|salad)|bread|butter|cup cake|french fries|hamburger|hot dog|"
    r"roasted chicken|steak|sushi tray",
    "stove": r"cooker|(large |propane )?stove|(double |small )?oven|microwave|toaster|sandwich maker|"
    r"deep fryer|fireplace",
    "fridge": r"(large )?fridge|refrigerator|chest freezer|clothes washing machine|washing machine|"
    r"dryer machine|water cooler",
    "washbasin": r"washbasin|basin|sink|small lavatory|vanity|double vanity",
    "bath": r"bath|corner bathtub|island bath|shower stall|jacuzzi",
    "toilet": r"toilets unit|bidet|urinal|potty",
    "bag": r"backpack|handbag|suitcase|briefcase|trunck|sleeping bag",
    "clothing": r"dress|jacket|skirt|trousers|suit|hanging clothes|folded clothes|short|cap|hat|helmet|bootie|slippers|"
    r"sneakers|mocassin|woman shoes|glove",
    "box": r"box|cardboard box|open cardboard box|crate|gift|bread box|safe|letters box|mailbox|pallet|recycling bin|"
    r"(bullet trash|park trash|residential trash)can|dustbin",
    "screen": r"tv|tv 16:9|wall flat tv|screen|laptop|radio|mini stereo|speaker|video projector",
    "music": r"grand piano|upright piano|electric guitar|xylophone|headphones",
    "clock": r"clock|cuckoo clock|watch",
    "tool": r"drill|grinder|hammer|saw|cutting pliers|shovel|step ladder|small step ladder|camera|reflex camera|tape|"
    r"table fan|rigged fan|iron|electronic scale|kitchen scale|blender|mixer|kitchen tools|knife stand",
    "ball": r"basketball|soccer ball|punching ball|rubik's cube",
    "toy": r"toy train|wood toy|doll house|chessboard|biplane|puzzle|snowman|skateboard|little bank",
    "playground": r"child hut|child swing|children game|seesaw|sandpit|trampoline|dog house|garden hut|camping tent|"
    r"barnum|rowboat|fountain|fire hydrant|table tennis|pool table|football table|treadmill|basketball net",
    "lounger": r"deck chair|pool lounge|hammock|abdominal bench",
    "rock": r"rock|wood logs",
}
"""Label -> pattern of the whole lower-case catalogue name."""

MAX_PER_LABEL = 12
HELDOUT_SHARE = 0.18

LIBRARIES = {
    "Scopia": ("CC-BY-3.0", "Scopia Visual Interfaces Systems, s.l."),
    "KatorLegaz": ("CC-BY-3.0-US", "Andrew Kator & Jennifer Legaz"),
    "Reallusion": ("CC-BY-3.0-US", "Reallusion"),
    "BlendSwap-CC-BY": ("CC-BY-3.0", "Blend Swap contributor"),
    "BlendSwap-CC-0": ("CC0-1.0", "Blend Swap contributor"),
}
"""Library -> (licence, author where the catalogue names none), as in the Debian package's copyright file."""


@dataclass(frozen=True)
class Furniture:
    """One object of a furniture library."""

    key: str
    """Unique, a file name: "chair-scopia-chair2"."""
    label: str
    name: str
    category: str
    """The library's own group: a room, "Vehicles", "Characters"."""
    library: str
    creator: str
    license: str
    model: Path
    size: tuple[float, float, float]
    """Width, height, depth in meters."""
    rotation: np.ndarray
    """float64 [3, 3], applied to the model before it is scaled to `size`."""


def _entries(properties: Path) -> list[dict[str, str]]:
    entries: dict[int, dict[str, str]] = defaultdict(dict)
    for line in properties.read_text(encoding="latin-1").splitlines():
        if found := re.match(r"(\w+)#(\d+)=(.*)", line.strip()):
            entries[int(found[2])][found[1]] = found[3]
    return [entries[number] for number in sorted(entries)]


def _label(name: str) -> str | None:
    return next((label for label, pattern in LABELS.items() if re.fullmatch(pattern, name.lower())), None)


def furniture_of(library_at: Path, *, other: str | None = None) -> list[Furniture]:
    """The labelled objects of one unpacked library, in catalogue order.

    Args:
        other: pattern of lower-case names to leave out; where given, the rest is taken too, as "other-<category>".
    """
    license_id, author = LIBRARIES[library_at.name]
    found = []
    for entry in _entries(library_at / "PluginFurnitureCatalog.properties"):
        label = _label(entry["name"])
        if label is None and other is not None and not re.fullmatch(other, entry["name"].lower()):
            label = "other-" + re.sub(r"[^a-z]+", "-", entry["category"].lower())
        model = library_at / entry["model"].lstrip("/")
        if label is None or not model.exists():
            continue
        numbers = [float(value) for value in entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()]
        stem = re.sub(r"[^a-z0-9]+", "", entry["id"].split("#")[1].lower())
        found.append(
            Furniture(
                key=f"{label}-{library_at.name.lower().replace('-', '')}-{stem}",
                label=label,
                name=entry["name"],
                category=entry["category"],
                library=library_at.name,
                creator=author if entry["creator"] in ("Scopia", "Kator Legaz") else entry["creator"],
                license=license_id,
                model=model,
                size=tuple(float(entry[side]) / 100 for side in ("width", "height", "depth")),
                rotation=np.array(numbers).reshape(3, 3),
            )
        )
    return found
