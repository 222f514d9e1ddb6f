"""What a walker looks like: one `Look` per person, drawn from that person's random stream and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SKIN: tuple[Colour, ...] = (
    (244, 208, 177), (231, 188, 150), (214, 164, 124), (186, 132, 92), (141, 92, 60), (98, 62, 42),
)  # fmt: skip
HAIR: tuple[Colour, ...] = (
    (24, 20, 20), (46, 32, 24), (78, 52, 32), (122, 84, 46), (176, 138, 82), (150, 146, 142), (128, 58, 34),
)  # fmt: skip
CLOTH: tuple[Colour, ...] = (
    (26, 26, 30), (58, 60, 66), (128, 130, 134), (232, 232, 228), (28, 38, 78), (44, 84, 168), (140, 182, 224),
    (190, 30, 38), (112, 22, 40), (232, 138, 168), (230, 118, 34), (240, 204, 56), (98, 102, 48), (38, 118, 62),
    (28, 132, 136), (104, 56, 140), (108, 72, 44), (206, 182, 140),
)  # fmt: skip
BOTTOMS: tuple[Colour, ...] = (
    (28, 28, 32), (54, 56, 62), (36, 48, 84), (70, 98, 148), (112, 140, 184), (120, 118, 114), (190, 168, 126),
    (104, 82, 56), (84, 90, 54), (226, 224, 218), (122, 32, 40), (140, 60, 110),
)  # fmt: skip
SHOES: tuple[Colour, ...] = (
    (22, 22, 24), (238, 238, 236), (96, 62, 36), (200, 40, 44), (48, 74, 150), (240, 150, 40), (130, 130, 132),
)  # fmt: skip
# What nearly everybody wears when clothes are asked to be similar.
UNIFORM: tuple[Colour, ...] = ((30, 31, 38), (52, 56, 68))


@dataclass(frozen=True, kw_only=True)
class Look:
    """Body, gait, clothes and bag of one person. Lengths are factors of the average body."""

    stature: float
    width: float
    legs: float  # length of the legs over the average, at the same stature
    stride: float  # amplitude of the thighs, radians
    swing: float  # amplitude of the arms, radians
    cadence: float  # gait phase per frame, radians
    skin: Colour
    hair: Colour
    hair_style: str  # short | long | bun | bald
    hat: str  # none | cap | beanie
    hat_colour: Colour
    top: str  # shirt | hoodie | jacket | coat | dress
    sleeve: float  # covered share of the arm
    top_colour: Colour
    accent: Colour
    pattern: str  # plain | stripes | columns | checks | dots | logo | halves
    bottom: str  # trousers | shorts | skirt
    bottom_colour: Colour
    flare: float  # width of the trouser leg
    shoe_colour: Colour
    boots: bool
    bag: str  # none | backpack | handbag | messenger
    bag_colour: Colour
    bag_side: int  # +1 the person's left, -1 their right


class Wardrobe:
    """Random choices for one person; with the chance ``similar_clothes`` a garment is a common dark one."""

    def __init__(self, rng: np.random.Generator, similar_clothes: float) -> None:
        self.rng, self.similar_clothes = rng, similar_clothes

    def one_of(self, names: str, *weights: float) -> str:
        return str(self.rng.choice(names.split(), p=np.array(weights) / sum(weights)))

    def dyed(self, palette: tuple[Colour, ...]) -> Colour:
        base = np.array(palette[self.rng.integers(len(palette))], float) + self.rng.uniform(-14, 14, 3)
        return _colour(base)

    def garment(self, palette: tuple[Colour, ...]) -> Colour:
        own, common = self.dyed(palette), UNIFORM[self.rng.integers(len(UNIFORM))]
        return common if self.rng.random() < self.similar_clothes else own

    def ordinary(self, own: str, usual: str) -> str:
        return usual if self.rng.random() < self.similar_clothes else own


def make_look(rng: np.random.Generator, *, similar_clothes: float = 0.0) -> Look:
    """Draw a person. `similar_clothes` is the chance that each garment is taken from a small common dark wardrobe."""
    draw = Wardrobe(rng, similar_clothes)
    top = draw.ordinary(draw.one_of("shirt hoodie jacket coat dress", 42, 16, 20, 9, 13), "jacket")
    bare = rng.random() < 0.6  # drawn for every top, so that similar clothes do not change the rest of a person
    short = top in ("shirt", "dress") and bare
    sleeve = rng.uniform(0.25, 0.5)
    top_colour = draw.garment(CLOTH)
    pattern = draw.ordinary(
        draw.one_of("plain stripes columns checks dots logo halves", 32, 16, 8, 11, 7, 16, 10), "plain"
    )
    bottom = draw.ordinary(draw.one_of("trousers shorts skirt", 66, 18, 16), "trousers")
    return Look(
        stature=rng.uniform(0.88, 1.06),
        width=rng.uniform(0.86, 1.22),
        legs=rng.uniform(0.95, 1.05),
        stride=rng.uniform(0.3, 0.46),
        swing=rng.uniform(0.2, 0.6),
        cadence=rng.uniform(0.5, 0.85),
        skin=draw.dyed(SKIN),
        hair=draw.dyed(HAIR),
        hair_style=draw.one_of("short long bun bald", 52, 28, 10, 10),
        hat=draw.one_of("none cap beanie", 76, 14, 10),
        hat_colour=draw.dyed(CLOTH),
        top=top,
        sleeve=sleeve if short else 0.95,
        top_colour=top_colour,
        accent=_apart(top_colour, draw.dyed(CLOTH)),
        pattern=pattern,
        bottom=bottom,
        bottom_colour=draw.garment(BOTTOMS),
        flare=rng.uniform(0.9, 1.35),
        shoe_colour=draw.dyed(SHOES),
        boots=bool(rng.random() < 0.2),
        bag=draw.one_of("none backpack handbag messenger", 44, 26, 16, 14),
        bag_colour=draw.dyed(CLOTH),
        bag_side=1 if rng.random() < 0.5 else -1,
    )


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` of `b` in it."""
    return _colour(np.array(a, float) * (1 - share) + np.array(b, float) * share)


def _colour(values: np.ndarray) -> Colour:
    r, g, b = (int(v) for v in values.clip(0, 255))
    return r, g, b


def _apart(base: Colour, accent: Colour) -> Colour:
    """An accent that contrasts with its base: a colour too close to it is replaced by a light or a dark one."""
    if sum(abs(p - q) for p, q in zip(base, accent, strict=True)) >= 150:
        return accent
    return (236, 236, 230) if sum(base) < 380 else (34, 34, 44)
