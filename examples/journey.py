"""One piece whose mood moves from the first picture to the last over the bars."""

from pathlib import Path

from midivibe import Studio

images = Path(__file__).parent / "images"
studio = Studio.open()
piece = studio.compose([images / "rocket.jpg", images / "flower.jpg"], bars=12, instruments="piano,strings,bass", seed=3)
print(piece.why())
piece.save("journey.mid")
