"""What a piece will be before its notes: chords, form, and a header that suits the vibe."""
