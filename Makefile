# make compose [IMAGE=photo.jpg]   music from a picture, into out/
# make test                        ruff, mypy and pytest
# make docs                        the documentation as a site, into site/
# Each makes .venv and installs what it needs first.

IMAGE ?= examples/images/coffee.jpg
BIN := .venv/bin

.PHONY: compose test docs clean

.venv/.ready: setup.cfg pyproject.toml constraints.txt scripts/setup.sh
	sh scripts/setup.sh

compose: .venv/.ready
	$(BIN)/midivibe compose "$(IMAGE)" -o out/
	@echo "The music is in out/: open the .mid in a DAW, the .wav in a player, the .png to see it."

test: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

docs: .venv/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The documentation is in site/: open site/index.html."

clean:
	rm -rf .venv build dist out site *.egg-info
