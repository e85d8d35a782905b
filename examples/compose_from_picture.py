"""Compose from a picture: python examples/compose_from_picture.py [PICTURE]"""

import sys
from pathlib import Path

import midivibe
from midivibe.vibe.axes import AXES

picture = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "coffee.jpg"
piece = midivibe.compose(picture, bars=8, seed=7)
print(piece.why())
for axis in AXES:
    print(f"  {axis:<11} {piece.vibe[axis]:.2f} asked, {piece.heard[axis]:.2f} heard   {piece.vibe.reasons.get(axis, '')}")
piece.save("picture.mid")
piece.plot("picture.png")
