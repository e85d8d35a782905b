"""Settings check themselves, the same from flags, Python, JSON and a settings file."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from midivibe.config import SampleConfig, TrainConfig
from midivibe.errors import InputError
from midivibe.piece import Settings
from midivibe.requests import Accompany, Compose, Continue, Inpaint, Vary
from midivibe.studio import Studio
from midivibe.vibe.axes import Vibe

GOOD = Settings(bars=2, seed=1, vibes=(Vibe.of(valence=0.3),), meter=(3, 4), programs=(0, -1), key="D minor").to_json()


def test_what_settings_write_they_read() -> None:
    assert Settings.from_json(json.loads(json.dumps(GOOD))).to_json() == GOOD
    assert Settings.from_json({**GOOD, "result": {"tempo": 90}}).to_json() == GOOD


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mode": "dorian"}, "mode 'dorian'"), ({"meter": [13, -16]}, "meter"), ({"meter": [4]}, "meter"),
        ({"excluded": [400]}, "excluded holds 400"), ({"programs": [0, 0]}, "programs"), ({"programs": []}, "programs"),
        ({"programs": [1.5]}, "programs holds 1.5"), ({"bars": 0}, "bars is 0"), ({"bars": True}, "bars is True"),
        ({"bars": 2.5}, "bars is 2.5"), ({"seed": -1}, "seed is -1"), ({"tempo": "fast"}, "tempo is 'fast'"),
        ({"tempo": 1000}, "tempo is 1000"), ({"style": "polka"}, "style 'polka'"), ({"vibes": []}, "vibes is empty"),
        ({"key": "H major"}, "H major"), ({"key": "C major", "mode": "minor"}, "mode is 'minor'"), ({"title": 3}, "title is 3"),
        ({"sampling": {"temperature": 99}}, "temperature is 99"), ({"sampling": {"temprature": 1}}, "temprature"),
        ({"tmepo": 90}, "no 'tmepo'; did you mean tempo"),
    ],
)  # fmt: skip
def test_a_settings_file_that_nobody_can_mean_is_refused_in_words(change: dict, match: str) -> None:
    with pytest.raises(InputError, match=f"not the settings of a piece.*{match}"):
        Settings.from_json({**GOOD, **change})


def test_a_meter_that_the_model_does_not_know_is_refused_before_anything_is_written(studio: Studio) -> None:
    settings = Settings.from_json({**GOOD, "meter": [13, 16]})
    with pytest.raises(InputError, match=r"unknown time signature '13/16'; the model knows"):
        studio.perform([settings])
    with pytest.raises(InputError, match="13/16"):
        studio.follow(settings)


@pytest.mark.parametrize("config", [SampleConfig, TrainConfig, Compose, Inpaint, Continue, Accompany, Vary])
def test_every_bound_of_every_setting_holds(config: type) -> None:
    needed = {"song": "a.mid", "instruments": "bass"} if config is Accompany else {"song": "a.mid"}
    needed = needed if "song" in {f.name for f in fields(config)} else {}
    config(**needed)
    bounded = 0
    for field in fields(config):
        rule = field.metadata
        for name, wrong in (("low", -1), ("high", 1), ("above", 0), ("below", 0)):
            if rule.get(name) is not None:
                bounded += 1
                value = rule[name] + wrong
                with pytest.raises(InputError, match=field.name.replace("_", "-")):
                    config(**{**needed, field.name: value})
        if rule.get("choices"):
            with pytest.raises(InputError, match="unknown"):
                config(**{**needed, field.name: "nonsense"})
    assert bounded


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean temperature"):
        SampleConfig.from_dict({"temprature": 1.0})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seed": 10**400}, "seed has too many digits"), ({"tempo": 10**400}, "tempo has too many digits"),
        ({"programs": list(range(-1, 128))}, "channels for 15"), ({"excluded": list(range(128))}, "excluded leaves"),
        ({"vibes": [{**GOOD["vibes"][0], "reasons": [1, 2]}]}, "reasons"),
        ({"vibes": [{**GOOD["vibes"][0], "reasons": {"valence": {"a": 1}}}]}, "reasons"),
        ({"source": "abc"}, "source must be a list"), ({"source": [[1]]}, "source must be a list"),
    ],
)  # fmt: skip
def test_hostile_settings_are_refused_in_words(change: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Settings.from_json({**GOOD, **change})
