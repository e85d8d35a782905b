# make compose [IMAGE=photo.jpg]   music from a picture, into out/
# make test                        ruff, mypy and pytest
# Both make .venv and install what they need first.

IMAGE ?= examples/images/coffee.jpg
BIN := .venv/bin

.PHONY: compose test clean

.venv/.ready: setup.cfg pyproject.toml constraints.txt scripts/setup.sh
	sh scripts/setup.sh

compose: .venv/.ready
	$(BIN)/midivibe compose "$(IMAGE)" -o out/
	@echo "The music is in out/: open the .mid in a DAW, the .wav in a player, the .png to see it."

test: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

clean:
	rm -rf .venv build dist out *.egg-info
