"""A run of GSS as its user meets it: the commands that are made for it, on a finished run."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from methods.gss import generation
from tests.command_line import call

RUN = "toyscapes_mini-dense-gss"
SETTINGS = ("method.codec=patch", "method.vocabulary=64", "recipe.steps=1", "method.samples=2")


@pytest.fixture(scope="module")
def finished(data_root, tmp_path_factory):
    """A results folder with one finished run."""
    results = tmp_path_factory.mktemp("gss") / "results"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    where = ["--results", str(results), "--data-root", str(data_root), "--device", "cpu"]
    asked = ["--method", "gss", "--dataset", "toyscapes_mini", "--encoder", "resnet18", "--protocol", "closed-set"]
    outcome = call("run", *asked, *settings, *where)
    assert outcome.exit_code == 0, outcome.output
    assert "codec patch on the training labels: codec_miou" in outcome.stderr
    return results


def ids(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_masks_of_an_image_have_its_size_and_differ(bench, finished, photo, tmp_path):
    outcome = bench(
        "sample", RUN, "--image", str(photo), "--count", "2", "--out", str(tmp_path / "out"), results=finished
    )
    assert outcome.exit_code == 0, outcome.output
    first, second = (ids(tmp_path / "out" / f"photo_sample_{i}.png") for i in range(2))
    assert first.shape == second.shape == (61, 94)
    assert (first != second).any()


def test_label_maps_are_drawn_without_an_image_and_the_same_again(bench, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "STEPS", 2)
    for name in ("one", "two"):
        outcome = bench("sample", RUN, "--count", "2", "--out", str(tmp_path / name), results=finished)
        assert outcome.exit_code == 0, outcome.output
    maps = [ids(tmp_path / "one" / f"sample_{i}.png") for i in range(2)]
    assert maps[0].shape == (64, 128), "of the training label maps"
    assert len(np.unique(maps)) > 1
    assert all(np.array_equal(maps[i], ids(tmp_path / "two" / f"sample_{i}.png")) for i in range(2))


def test_a_run_is_taken_apart(bench, finished):
    outcome = bench("show", RUN, "--results", str(finished))
    assert outcome.exit_code == 0, outcome.output
    for part in ("codec_bound", "token_accuracy", "decoded_accuracy", "auxiliary", "soft", "prediction", "boundary_f1"):
        assert part in outcome.output


def test_its_own_score_is_shown_of_a_prediction(bench, finished, photo, tmp_path):
    outcome = bench("predict", RUN, str(photo), "--out", str(tmp_path / "out"), results=finished)
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "out" / "photo_gss_entropy.png").exists()


def test_a_checkpoint_with_another_codec_is_refused_in_one_sentence(bench, finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    (model,) = results.rglob("model.safetensors")
    state = load_file(model)
    name = next(n for n in state if n.startswith("codec.") and state[n].numel() > 1)
    state[name] = state[name].flip(0)
    save_file(state, model)
    (record,) = (results / "records").glob("*.json")
    told = json.loads(record.read_text())
    told["checkpoint_hash"] = hashlib.sha256(model.read_bytes()).hexdigest()
    record.write_text(json.dumps(told))
    outcome = bench("evaluate", RUN, results=results)
    assert outcome.exit_code == 2, outcome.output
    assert "the codec in the checkpoint is not" in outcome.stderr
    assert "Traceback" not in outcome.output
