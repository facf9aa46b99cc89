"""``bench sample``: what is written, from which draws, and what is said to a run that draws nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from bench.report.samples import disagreement

QUICK = ("--dataset", "toyscapes_mini", "--encoder", "resnet18", "--set", "recipe.steps=1", "--protocol", "closed-set")

DRAWING = '''
import torch
from methods.base import Prediction
from methods.capabilities import DrawsLabelMaps
from methods.softmax import Softmax


class Drawing(DrawsLabelMaps, Softmax):
    """Draws the prediction with the left half replaced by a random class each time, and copies of training maps."""

    name = "drawing"

    def sample(self, images, count, generator):
        drawn = self.predict(images).logits.argmax(1)[None].repeat(count, 1, 1, 1)
        drawn = drawn.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, : images.shape[2], : images.shape[3]]
        classes = torch.randperm(count, generator=generator)
        drawn[..., : images.shape[3] // 2] = classes.view(-1, 1, 1, 1)
        return drawn

    def generate(self, context, count, generator):
        maps = list(context.label_maps())
        chosen = torch.randint(len(maps), (count,), generator=generator).tolist()
        return torch.stack([maps[i] for i in chosen])
'''


@pytest.fixture(scope="module")
def drawing(finish, tmp_path_factory):
    """A results folder with a finished run of a method that draws, and one of softmax; and the plugin's file."""
    plugin = tmp_path_factory.mktemp("drawing") / "drawing.py"
    plugin.write_text(DRAWING)
    return finish("run", "--method", "drawing", "--method", "softmax", "--plugin", str(plugin), *QUICK), plugin


def call(bench, drawing, *arguments, name="toyscapes_mini-dense-drawing"):
    results, plugin = drawing
    return bench("sample", name, "--plugin", str(plugin), *arguments, results=results)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_draws_of_an_image_are_written_with_their_disagreement(bench, drawing, photo, tmp_path):
    outcome = call(bench, drawing, "--image", str(photo), "--count", "3", "--out", str(tmp_path / "out"))
    assert outcome.exit_code == 0, outcome.output
    draws = np.stack([read(tmp_path / "out" / f"photo_sample_{i}.png") for i in range(3)])
    assert draws.shape == (3, 61, 94)
    assert sorted(draws[:, 0, 0].tolist()) == [0, 1, 2]
    away = read(tmp_path / "out" / "photo_disagreement.png")
    assert (away[:, :47] == 255).all(), "three classes in three draws"
    assert (away[:, 47:] == 0).all()
    assert "50.00 %" in outcome.output
    assert read(tmp_path / "out" / "photo_samples.png").shape[2] == 3


def test_draws_without_an_image_are_written_beside_training_labels(bench, drawing, tmp_path):
    outcome = call(bench, drawing, "--count", "5", "--out", str(tmp_path / "out"))
    assert outcome.exit_code == 0, outcome.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {*(f"sample_{i}.png" for i in range(5)), "samples.png"}
    assert read(tmp_path / "out" / "sample_0.png").ndim == 2


@pytest.mark.parametrize("with_image", [True, False])
def test_the_seed_decides_the_draws(bench, drawing, photo, tmp_path, with_image):
    found = []
    for number, seed in enumerate(("1", "1", "2")):
        out = tmp_path / str(number)
        image = ("--image", str(photo)) if with_image else ()
        assert call(bench, drawing, *image, "--count", "4", "--seed", seed, "--out", str(out)).exit_code == 0
        paths = sorted(out.glob("*sample_*.png"))
        found.append(np.concatenate([read(path).ravel() for path in paths]))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("image", [True, False])
def test_a_method_that_draws_nothing_says_so_in_one_sentence(bench, drawing, photo, tmp_path, image):
    arguments = ("--image", str(photo)) if image else ()
    name = "toyscapes_mini-dense-softmax"
    outcome = call(bench, drawing, *arguments, "--out", str(tmp_path / "out"), name=name)
    assert outcome.exit_code == 2
    assert "softmax draws no label maps" in outcome.stderr
    assert "Traceback" not in outcome.output
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_not_there_is_one_sentence(bench, drawing, tmp_path):
    outcome = call(bench, drawing, "--image", str(tmp_path / "none.png"), "--out", str(tmp_path / "out"))
    assert outcome.exit_code == 2
    assert "none.png" in outcome.stderr


def test_disagreement_is_the_chance_that_two_draws_differ():
    drawn = torch.randint(4, (6, 5, 7), generator=torch.Generator().manual_seed(0))
    pairs = list(itertools.combinations(range(6), 2))
    expected = torch.stack([(drawn[i] != drawn[j]).float() for i, j in pairs]).mean(0)
    torch.testing.assert_close(disagreement(drawn, 4), expected)
    assert not disagreement(drawn[:1], 4).any()
