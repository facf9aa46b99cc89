"""Whole files pass and cut files do not, without decoding."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.integrity import DECODING_ERRORS, check_image, reason
from tests.datasets.miniatures import photo

FORMATS = ("png", "jpg", "webp")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return {f: photo(folder / f"x.{f}", 3).read_bytes() for f in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
class TestFormats:
    def test_gives_width_and_height(self, whole, kind, tmp_path):
        (tmp_path / "x").write_bytes(whole[kind])
        assert check_image(tmp_path / "x") == (32, 24)

    def test_bytes_after_the_end_are_legal(self, whole, kind, tmp_path):
        (tmp_path / "x").write_bytes(whole[kind] + bytes(5000))
        assert check_image(tmp_path / "x") == (32, 24)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
    @given(data=st.data())
    def test_any_cut_is_found(self, whole, kind, tmp_path, data):
        keep = data.draw(st.integers(0, len(whole[kind]) - 2))
        (tmp_path / "x").write_bytes(whole[kind][:keep])
        with pytest.raises(DECODING_ERRORS):
            check_image(tmp_path / "x")

    def test_zeros_in_place_of_the_rest_are_found(self, whole, kind, tmp_path):
        if kind == "webp":
            pytest.skip("a WebP says how long it is and has no end marker")
        data = whole[kind]
        (tmp_path / "x").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        with pytest.raises(DECODING_ERRORS, match="cut off"):
            check_image(tmp_path / "x")


def test_the_end_of_a_thumbnail_is_not_the_end(tmp_path):
    """Cameras put a whole small JPEG into the header of the large one."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (8, 8)).save(thumbnail, "JPEG")
    path = photo(tmp_path / "x.jpg", 0, exif=b"Exif\0\0" + thumbnail.getvalue())
    assert check_image(path) == (32, 24)
    data = path.read_bytes()
    assert data.count(b"\xff\xd9") == 2
    path.write_bytes(data[: data.rfind(b"\xff\xda") + 30])
    with pytest.raises(DECODING_ERRORS, match="cut off"):
        check_image(path)


def test_progressive_jpegs_have_several_scans(tmp_path):
    path = photo(tmp_path / "x.jpg", 0, progressive=True)
    assert path.read_bytes().count(b"\xff\xda") > 1
    assert check_image(path) == (32, 24)
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert check_image(path) == (32, 24)


def test_a_bomb_is_an_error_and_not_a_crash(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DECODING_ERRORS):
        check_image(photo(tmp_path / "x.png", 0))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("the file is empty"), "the file is empty"),
        (OSError("broken data stream.\nmore"), "broken data stream"),
        (EOFError(), "EOFError"),
    ],
)
def test_reasons_fit_within_a_sentence(error, text):
    assert reason(error) == text


def test_seven_hundred_files_take_less_than_a_second(tmp_path):
    from time import process_time  # what else runs here does not count

    pixels = np.random.default_rng(0).integers(0, 256, (360, 480, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.{kind}" for i in range(2) for kind in ("png", "jpg")]
    for path in paths:
        Image.fromarray(pixels).save(path)
    best = np.inf
    for _ in range(3):
        start = process_time()
        for path in paths * 25:
            check_image(path)
        best = min(best, (process_time() - start) / 100)
    assert best < 1 / 700
