"""An image is decoded to what it shows, or refused in one sentence; none is clipped, shifted or guessed in silence."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.common.errors import UserError
from bench.plugins import registry
from bench.report.pictures import panel, read_image
from datasets.base import DataError
from datasets.images import read_rgb
from datasets.integrity import DECODING_ERRORS
from datasets.toyscapes_mini import ToyscapesMini
from tests.datasets.miniatures import png

GRADIENT = np.add.outer(np.arange(24), np.arange(32)) * 4
"""(24, 32) grey levels 0 to 216."""
COLOURS = np.stack([GRADIENT, 255 - GRADIENT, GRADIENT // 2], -1).astype(np.uint8)


def saved(path: Path, image: Image.Image, **how: object) -> Path:
    image.save(path, **how)
    return path


def grey_png(levels: np.ndarray) -> bytes:
    """A PNG of 16-bit grey levels."""
    return png(levels.shape[1], levels.shape[0], 16, 0, b"".join(b"\0" + row.tobytes() for row in levels.astype(">u2")))


# Scaled


@pytest.mark.parametrize(
    "mode", ["L", "P", "1", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "La", "RGBa", "RGBX"]
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp", ".gif", ".ppm"])
def test_opaque_images_of_eight_bits_are_decoded_as_they_are(tmp_path, mode, suffix):
    try:
        image = Image.fromarray(COLOURS).convert("RGBA" if mode in ("PA", "RGBa") else "LA" if mode == "La" else "RGB")
        path = saved(tmp_path / f"x{suffix}", image.convert(mode))
    except (OSError, ValueError):
        return  # Pillow writes no such file
    with Image.open(path) as written:
        expected = np.asarray(written.convert("RGB"))
    assert np.array_equal(read_rgb(path), expected)
    assert np.array_equal(read_image(path).numpy().transpose(1, 2, 0), expected)


def test_grey_of_sixteen_bits_is_scaled_over_its_whole_range(tmp_path):
    levels = np.linspace(0, 65535, 24 * 32).round().astype(np.uint16).reshape(24, 32)
    expected = np.repeat((levels / 257).round().astype(np.uint8)[..., None], 3, 2)
    assert (expected.min(), expected.max()) == (0, 255)
    (tmp_path / "x.png").write_bytes(grey_png(levels))
    saved(tmp_path / "x.tif", Image.fromarray(levels))
    header = f"P5 {levels.shape[1]} {levels.shape[0]} 65535\n".encode()
    (tmp_path / "x.ppm").write_bytes(header + levels.astype(">u2").tobytes())
    for name in ("x.png", "x.tif", "x.ppm"):
        assert np.abs(read_rgb(tmp_path / name).astype(int) - expected).max() == 0, name


def test_colours_of_sixteen_bits_are_scaled(tmp_path):
    levels = (COLOURS.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    (tmp_path / "x.png").write_bytes(png(32, 24, 16, 2, rows))
    assert np.array_equal(read_rgb(tmp_path / "x.png"), COLOURS)


def test_eight_bits_stored_in_sixteen_are_dark_and_not_white(tmp_path):
    (tmp_path / "x.png").write_bytes(grey_png(GRADIENT.astype(np.uint16)))
    assert read_rgb(tmp_path / "x.png").max() <= 1


# Refused


def rgba(alpha: int) -> Image.Image:
    return Image.fromarray(np.dstack([COLOURS, np.full(GRADIENT.shape, alpha, np.uint8)]))


def float_tiff(path: Path) -> Path:
    return saved(path.with_suffix(".tif"), Image.fromarray(GRADIENT.astype(np.float32) / 255))


def integer_tiff(path: Path) -> Path:
    return saved(path.with_suffix(".tif"), Image.fromarray(GRADIENT.astype(np.int32)))


def signed_tiff(path: Path) -> Path:
    made = path.with_suffix(".tif")
    Image.fromarray(GRADIENT.astype(np.uint16)).save(made, tiffinfo={339: 2})
    return made


def inverted_tiff(path: Path) -> Path:
    made = path.with_suffix(".tif")
    Image.fromarray(GRADIENT.astype(np.uint16)).save(made)
    content = bytearray(made.read_bytes())
    at = content.index(struct.pack("<HHI", 262, 3, 1))
    content[at + 8] = 0  # white is zero
    made.write_bytes(content)
    return made


def bomb(width: int, height: int) -> bytes:
    """A small file of far more pixels than it has bytes: only the header is looked at."""
    return png(width, height, 8, 2, b"\0")


def content(what: bytes, suffix: str = ".png"):
    def write(path: Path) -> Path:
        path.with_suffix(suffix).write_bytes(what)
        return path.with_suffix(suffix)

    return write


def encoded(suffix: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper()), **how)
    return buffer.getvalue()


PALETTE = png(2, 1, 8, 3, b"\0\0\1", (b"PLTE", bytes(6)), (b"tRNS", b"\0"))
WIDTH = next(tag for kind in (3, 4) if (tag := struct.pack("<HHII", 256, kind, 1, 32)) in encoded(".tif"))
"""The tag of a TIFF."""
BOX = struct.pack("<HHHH", 0, 0, 65535, 65535)
"""Left, top, width and height of a frame of a GIF."""
PAGE = b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>"
REFUSED = {
    "float": float_tiff,
    "32-bit integers": integer_tiff,
    "signed 16 bits": signed_tiff,
    "white is zero": inverted_tiff,
    "half transparent": lambda path: saved(path, rgba(128)),
    "wholly transparent": lambda path: saved(path, rgba(0)),
    "grey and transparent": lambda path: saved(path, rgba(100).convert("LA")),
    "transparent colour of a palette": content(PALETTE),
    "transparent colour": content(png(2, 1, 8, 2, b"\0" + bytes(6), (b"tRNS", bytes(6)))),
    "bomb": content(bomb(100_000, 100_000)),
    "bomb that Pillow only warns of": content(bomb(12_000, 10_000)),
    "bomb as a TIFF": content(encoded(".tif").replace(WIDTH, WIDTH[:2] + struct.pack("<HII", 4, 1, 2**31 - 1)), ".tif"),
    "bomb as a GIF": content(b"GIF89a" + BOX[4:] + bytes(3) + b"," + BOX + b"\0\x02\0;", ".gif"),
    "bomb of text": content(png(2, 1, 8, 2, b"\0" + bytes(6), (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27))))),
    "no width": content(bomb(0, 10)),
    "empty": content(b""),
    "page": content(PAGE, ".jpg"),
    "page as PNG": content(PAGE),
    "text": content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "archive": content(b"PK\x03\x04" + bytes(100)),
    "vector graphics": content(b"<svg xmlns='http://www.w3.org/2000/svg'/>", ".svg"),
    "PostScript": content(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n", ".eps"),
    "header alone": content(encoded(".png")[:33]),
    "half a PNG": content(encoded(".png")[: len(encoded(".png")) // 2]),
    "half a JPEG": content(encoded(".jpg")[: len(encoded(".jpg")) // 2], ".jpg"),
    "half a WebP": content(encoded(".webp", lossless=True)[: len(encoded(".webp", lossless=True)) // 2], ".webp"),
    "half a TIFF": content(encoded(".tif")[: len(encoded(".tif")) // 2], ".tif"),
    "half a bitmap": content(encoded(".bmp")[: len(encoded(".bmp")) // 2], ".bmp"),
    "zeros": content(bytes(5000)),
    "folder": lambda path: path.mkdir() or path,
    "pipe": lambda path: os.mkfifo(path) or path,
    "device without end": lambda path: path.symlink_to("/dev/zero") or path,
    "link to itself": lambda path: path.symlink_to(path) or path,
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("error")
def test_what_is_no_image_to_go_by_is_refused_in_one_sentence(tmp_path, mini_of, kind):
    path = REFUSED[kind](tmp_path / "odd.png")
    with pytest.raises(UserError, match=r"odd\.\w+") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    if "transparent" in kind:
        return  # to data sets, which take the colours that the file holds, see below
    with pytest.raises(DataError, match=r"odd\.\w+") as caught_in_data:
        mini_of(path)[0]
    assert "\n" not in str(caught_in_data.value)


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_data_sets_take_the_colours_that_the_file_holds(tmp_path, alpha):
    assert np.array_equal(read_rgb(saved(tmp_path / "x.png", rgba(alpha))), COLOURS)


@pytest.fixture
def mini_of(data_root):
    """The small data set with another first image."""

    def of(path: Path) -> ToyscapesMini:
        mini = ToyscapesMini(data_root, "train")
        mini.items[0] = mini.items[0]._replace(image=path)
        return mini

    return of


WHOLE = {
    ".png": encoded(".png"),
    ".jpg": encoded(".jpg", exif=Image.Exif()),
    ".tif": encoded(".tif"),
    ".webp": encoded(".webp"),
    ".bmp": encoded(".bmp"),
    ".gif": encoded(".gif"),
    ".ppm": encoded(".ppm"),
}


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), CHANGES, st.floats(0, 1))
def test_damaged_bytes_raise_only_errors_of_decoding(tmp_path_factory, suffix, changes, keep):
    damaged = bytearray(WHOLE[suffix])
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(damaged[: max(int(keep * len(damaged)), 1)])
    for as_seen in (False, True):
        try:
            pixels = read_rgb(path, as_seen=as_seen)
        except DECODING_ERRORS:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3


# Turned


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright_and_data_sets_are_not(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / "x.png", Image.fromarray(COLOURS), exif=exif)
    turns = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
             5: lambda a: a.transpose(1, 0, 2), 6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
             7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1], 8: lambda a: a.transpose(1, 0, 2)[::-1]}  # fmt: skip
    upright = turns.get(orientation, lambda a: a)(COLOURS)
    assert np.array_equal(read_image(path).numpy().transpose(1, 2, 0), upright)
    assert np.array_equal(read_rgb(path), COLOURS)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_a_picture_of_any_shape_has_a_tile(size):
    assert panel([("x", np.zeros((*size, 3), np.uint8))]).height > 0


# The command line

PLUGIN = """
from datasets.toyscapes_mini import ToyscapesMini
from datasets.base import Dataset, Item, Split, list_files

class Odd(Dataset):
    name = "odd"
    title = "Odd names"
    classes = ToyscapesMini.classes
    splits = {"train": Split(None), "val": Split(None)}
    layout = "SPLIT/NAME.png and SPLIT/NAME_label.png"
    home = "nowhere"

    def find(self):
        labels = list_files(self.folder / self.split, "_label.png")
        return [Item(p.stem[:-6], p.with_name(p.stem[:-6] + ".png"), p) for p in labels]
"""
SMALL = ("recipe.steps=1", "recipe.augmentation.crop=[32,32]")
ODD = ["--dataset", "odd", "--method", "softmax", "--encoder", "resnet18", *(a for s in SMALL for a in ("--set", s))]


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A data set in which names are not UTF-8, and the plugin for it, which is forgotten after the test."""
    monkeypatch.setattr(registry.datasets, "_classes", {n: registry.datasets.get(n) for n in registry.datasets.names()})
    (tmp_path / "odd.py").write_text(PLUGIN)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        folder = tmp_path / "data" / "odd" / split
        folder.mkdir(parents=True)
        for i in range(10):
            name = os.fsdecode(b"caf\xe9 \xff%d" % i)
            Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(folder / f"{name}.png")
            Image.fromarray(rng.integers(0, 8, (40, 48), np.uint8)).save(folder / f"{name}_label.png")
    return tmp_path


def test_names_that_are_not_utf_8_work_from_the_data_to_the_tables(bench, odd):
    where = ["--plugin", str(odd / "odd.py"), "--data-root", str(odd / "data")]
    for supervision in ("dense", "points"):
        outcome = bench("run", *ODD, *where, "--supervision", supervision)
        assert outcome.exit_code == 0, outcome.output
    shown = bench("leaderboard", str(odd / "results"), "--format", "html", "--out", str(odd / "tables"))
    assert shown.exit_code == 0, shown.output
    photograph = odd / "data" / "odd" / "val" / os.fsdecode(b"caf\xe9 \xff0.png")
    run = next(p.stem for p in (odd / "results" / "records").glob("*dense*.json"))
    predicted = bench("predict", run, str(photograph), "--out", str(odd / "out"), "--plugin", str(odd / "odd.py"))
    assert predicted.exit_code == 0, predicted.output
    assert os.fsencode("caf\udce9 \udcff0_classes.png") in os.listdir(os.fsencode(odd / "out"))
    photograph.write_bytes(bomb(100_000, 100_000))
    refused = bench("predict", run, str(photograph), "--out", str(odd / "out"), "--plugin", str(odd / "odd.py"))
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.splitlines()[-1].startswith("error: image ")
    assert "decompression bombs" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize("value", [255, 254])
def test_a_split_without_a_labelled_pixel_is_found_before_training(bench, odd, value):
    for path in (odd / "data" / "odd" / "train").glob("*_label.png"):
        Image.fromarray(np.full((40, 48), 255, np.uint8)).save(path)
    kind = ["--supervision", "points"] if value == 254 else []
    outcome = bench("run", *ODD, *kind, "--plugin", str(odd / "odd.py"), "--data-root", str(odd / "data"))
    assert outcome.exit_code == 2, outcome.output
    assert "no pixel of the 10 training images of odd has a class" in outcome.stderr.splitlines()[-1]
    assert not list((odd / "results" / "records").glob("*.json"))
    assert not list((odd / "results" / "runs").glob("odd-*/*.ckpt"))
