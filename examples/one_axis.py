"""Raise one axis: the same seed and instruments, three densities; prints the density that was asked for and heard."""

from midivibe import Studio

studio = Studio.open()
for density in (0.1, 0.5, 0.9):
    piece = studio.compose(
        text="calm, in C major", vibe=f"density={density}", tempo=96, instruments="piano,bass", bars=4, seed=11
    )
    print(f"density asked {density:.1f}, heard {piece.heard['density']:.2f}, {piece.score.note_num()} notes")
    piece.save(f"density-{density:.1f}.mid")
