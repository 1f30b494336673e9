"""Profiles in the cache: what comes back is what was written, whole or not at all, and only for the same inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from socsim.errors import SocsimError
from socsim.numerics import profiles
from socsim.numerics.decoder import Decoder
from socsim.numerics.fetching import add_weights
from socsim.numerics.profile import Profile, profile_text
from socsim.numerics.profiles import Calibration, calibration, load_profile, read_profile, write_profile
from socsim.numerics.texts import Text, default_text, split_text
from socsim.numerics.tokenizer import load_tokenizer
from socsim.numerics.weights import Weights, load_weights, weights_folder

TEXT = Text("mine", "hello world 12 " * 200)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> Weights:
    """Return weights of a tiny model in a cache of its own."""
    monkeypatch.setenv("SOCSIM_CACHE", str(tmp_path / "cache"))
    add_weights(tiny, "small")
    return load_weights("small")


def assert_equal(found: Profile | None, expected: Profile) -> None:
    assert found is not None
    assert list(found) == list(expected)
    for place, tensor in expected.items():
        for name in ("chunk_max", "channel_rms", "histogram"):
            values = getattr(found[place], name)
            np.testing.assert_array_equal(values, getattr(tensor, name))
            assert values.dtype == getattr(tensor, name).dtype
        assert found[place].output_rms == tensor.output_rms
        assert found[place].output_max == tensor.output_max


def test_computed_once_then_read(small: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    made_of, steps = calibration(small, TEXT, 600), list[str]()
    computed = load_profile(made_of, progress=steps.append)
    assert steps == ["profile, from token 0 of 600", "profile, from token 512 of 600"]
    windows = split_text(TEXT, load_tokenizer("small"), 600).tokens
    expected = profile_text(Decoder(small), windows)
    assert_equal(computed, {place: expected[place] for place in computed})
    assert {len(tensor.chunk_max) for tensor in computed.values()} == {3}  # 256, 256 and 88 tokens

    def refused(*_: Any) -> Any:
        raise AssertionError("computed twice")

    monkeypatch.setattr(profiles, "profile_text", refused)
    assert_equal(load_profile(made_of, progress=steps.append), {place: expected[place] for place in computed})
    assert len(steps) == 2
    with pytest.raises(AssertionError, match="computed twice"):
        load_profile(made_of, force=True)
    assert [path.name for path in weights_folder("small").glob("*profile*")] == [made_of.path.name]


def test_others_have_files_of_their_own(small: Weights) -> None:
    first = calibration(small, TEXT, 64)
    others = [calibration(small, TEXT, 65), calibration(small, Text("mine", TEXT.text + "!"), 64)]
    assert len({first.path, *(other.path for other in others)}) == 3
    assert calibration(small, Text("another name", TEXT.text), 64).path == first.path
    load_profile(first)
    assert all(read_profile(other) is None for other in others)
    first.path.rename(others[0].path)  # a file under a wrong name is not believed
    assert read_profile(others[0]) is None


@pytest.mark.parametrize("damage", ["truncate", "empty", "text", "array missing"])
def test_damaged_file_is_made_anew(small: Weights, damage: str) -> None:
    made_of = calibration(small, TEXT, 64)
    expected, data = load_profile(made_of), made_of.path.read_bytes()
    if damage == "array missing":
        with np.load(made_of.path) as file:
            np.savez(made_of.path, about=file["about"])
    else:
        made_of.path.write_bytes({"truncate": data[: len(data) // 2], "empty": b"", "text": b"no archive"}[damage])
    assert read_profile(made_of) is None
    assert_equal(load_profile(made_of), expected)
    assert_equal(read_profile(made_of), expected)


def test_interrupted_writing_leaves_nothing(small: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    made_of = calibration(small, TEXT, 64)
    profile = load_profile(made_of)
    made_of.path.unlink()

    def interrupted(file: Path, **_: Any) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    before = sorted(weights_folder("small").iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_profile(made_of, profile)
    assert sorted(weights_folder("small").iterdir()) == before


def test_disk_that_is_full(small: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    made_of = calibration(small, TEXT, 64)
    with pytest.raises(SocsimError, match=f"{made_of.path.name}: cannot be written: No space left on device"):
        load_profile(made_of)


def test_defaults_and_bad_input(small: Weights) -> None:
    usual = calibration(small)
    assert isinstance(usual, Calibration)
    assert (usual.tokens, usual.text.sha256) == (8192, default_text("calibration").sha256)
    assert usual.about == {"profile_version": 1, "weights_sha256": small.sha256, "text_sha256": usual.text.sha256, "tokens": 8192}
    with pytest.raises(SocsimError, match="--tokens 5: allowed: whole numbers from 64"):
        calibration(small, TEXT, 5)
    with pytest.raises(SocsimError, match=r"mine: has .* tokens, fewer than the 100,000 asked for"):
        load_profile(calibration(small, TEXT, 100_000))
