"""Pixels: the same everywhere, of valid classes, and different where the splits say so."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from datasets.base import DataError
from datasets.toyscapes.__main__ import main
from datasets.toyscapes.classes import CLASSES, ROAD, SKY
from datasets.toyscapes.draws import Draw
from datasets.toyscapes.render import STREAMS, render_scene

COMMITTED = Path(__file__).with_name("pixels.json")
SMALL = (64, 128)


def fingerprint(index: int, split: str) -> str:
    image, label = render_scene(index, split)
    return hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()


@pytest.mark.parametrize("split", STREAMS)
def test_pixels_are_the_committed_ones(split: str):
    committed = json.loads(COMMITTED.read_text())[split]
    found = {index: fingerprint(int(index), split) for index in committed}
    assert found == committed, "pixels changed: if that is meant, raise VERSION and commit these instead"


@pytest.mark.parametrize("split", ["train", "night", "anomaly"])
def test_a_picture_does_not_depend_on_what_was_rendered_before(split: str):
    first = render_scene(5, split, SMALL)
    render_scene(6, split, SMALL)
    second = render_scene(5, split, SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_picture_is_another():
    seen = {render_scene(index, split, SMALL)[0].tobytes() for split in STREAMS for index in range(3)}
    assert len(seen) == 3 * len(STREAMS)


@pytest.mark.parametrize("size", [(32, 64), (64, 128), (96, 160)])
def test_any_size_renders(size: tuple[int, int]):
    for split in STREAMS:
        image, label = render_scene(1, split, size)
        assert image.shape == (*size, 3)
        assert label.shape == size
        assert image.dtype == label.dtype == np.uint8
        assert label.max() < (2 if split == "anomaly" else len(CLASSES))


@pytest.mark.parametrize("split", ["train", "val", "test", "night", "fog", "rain", "other-town"])
def test_every_class_occurs_in_every_split(split: str):
    missing = set(range(len(CLASSES)))
    for index in range(40):
        missing -= set(np.unique(render_scene(index, split, SMALL)[1]).tolist())
        if not missing:
            break
    assert not missing, [CLASSES.names[ident] for ident in missing]


def test_domains_look_different():
    def mean_brightness(split: str, ident: int) -> float:
        pairs = [render_scene(index, split, SMALL) for index in range(6)]
        return float(np.mean([image[label == ident].mean() for image, label in pairs if (label == ident).any()]))

    day = mean_brightness("test", SKY)
    assert mean_brightness("night", SKY) < 0.4 * day
    assert mean_brightness("night", ROAD) < mean_brightness("test", ROAD)
    assert mean_brightness("rain", SKY) < 0.85 * day
    assert mean_brightness("fog", ROAD) > 1.1 * mean_brightness("test", ROAD)


def test_labels_have_no_noise_at_boundaries():
    """Hardly a pixel differs in class from all of its four neighbours."""
    alone = total = 0
    for index in range(8):
        label = render_scene(index, "test")[1].astype(int)
        middle = label[1:-1, 1:-1]
        around = (label[:-2, 1:-1], label[2:, 1:-1], label[1:-1, :-2], label[1:-1, 2:])
        alone += int(np.all([middle != other for other in around], axis=0).sum())
        total += middle.size
    assert alone / total < 0.003


def test_unknown_split_is_one_sentence():
    with pytest.raises(DataError, match="no split 'dusk'"):
        render_scene(0, "dusk")


def test_draws_are_the_raw_stream_of_pcg64():
    """The values of 53 bits each, so that no other NumPy and no other compiler can change them."""
    draw = Draw(1, 2)
    values = [draw.unit() for _ in range(3)]
    raw = np.random.PCG64(np.random.SeedSequence([1, 2])).random_raw(256).tolist()
    assert values == [(word >> 11) / 2**53 for word in raw[::-1][:3]]
    field = Draw(3).bell_field(64, 64, 3)
    assert abs(float(field.mean())) < 0.03
    assert float(field.std()) == pytest.approx(1.0, abs=0.03)


def test_contact_sheet(tmp_path: Path):
    out = tmp_path / "sheet.png"
    arguments = ["--out", str(out), "--split", "fog", "--split", "anomaly", "--columns", "2", "--height", "32"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    with Image.open(out) as sheet:
        assert sheet.width == 2 * (64 + 4)
