import json
import threading
from functools import partial

import pytest
import torch
from filelock import FileLock, Timeout

from bench.common import files
from methods.gss.codecs import cache
from methods.gss.codecs.cache import fitted_codec, measured_quality, read_labels
from methods.gss.codecs.quality import reconstruction_report


@pytest.fixture
def notes():
    return []


@pytest.fixture
def fit(make_codec, maps, silent, tmp_path, notes):
    """Fit or load a codec and tell what was fitted on the way."""

    def run(name="vqvae", label_maps=maps, steps=10, **settings):
        codec = make_codec(name, **settings)
        done = []
        for stage in ("fit_latents", "fit_colours"):
            original = getattr(codec, stage)

            def noted(*arguments, stage=stage, original=original):
                done.append(stage)
                original(*arguments)

            setattr(codec, stage, noted)
        fitted_codec(codec, label_maps, steps, tmp_path, silent, notes.append)
        return codec, done

    return run


@pytest.mark.parametrize("name", ["vqvae", "dvae", "patch"])
def test_a_codec_is_fitted_once(name, fit):
    first, fitted = fit(name)
    assert fitted == ["fit_latents"]
    second, fitted = fit(name)
    assert fitted == []
    assert second.fingerprint() == first.fingerprint()
    assert not any(parameter.requires_grad for parameter in second.parameters())


@pytest.mark.parametrize("change", [{"code_decay": 0.5}, {"codec_steps": 11}, {"palette": "grid"}, {"codec_seed": 1}])
def test_other_settings_are_fitted_anew(change, fit):
    fit()
    assert fit(**change)[1] == ["fit_latents"]


def test_other_labels_are_fitted_anew(fit, maps):
    fit()
    changed = [labels.clone() for labels in maps()]
    changed[-1][-1, -1] = (changed[-1][-1, -1] + 1) % 5
    assert fit(label_maps=lambda: iter(changed))[1] == ["fit_latents"]


def test_the_length_of_the_run_counts_only_where_it_decides_the_fit(fit):
    fit(codec_steps=None, steps=3)
    assert fit(codec_steps=None, steps=4)[1] == ["fit_latents"]
    fit("patch", codec_steps=None, steps=3)
    assert fit("patch", codec_steps=None, steps=4)[1] == []


def test_variants_share_what_they_have_in_common(fit):
    free, _ = fit()
    trained, fitted = fit(variant="ft")
    assert fitted == ["fit_colours"]
    assert torch.equal(trained.codebook, free.codebook)
    again, fitted = fit(variant="ft")
    assert fitted == []
    assert again.fingerprint() == trained.fingerprint()
    assert fit(variant="tf")[1] == ["fit_colours"]
    assert fit(variant="ft-w", window_depth=1)[1] == ["fit_colours"]
    assert fit(variant="ft-w", inverse_training="predictions")[1] == []
    assert fit(variant="ff-r")[1] == ["fit_latents"]


def test_another_codec_does_not_wait(fit, tmp_path, monkeypatch):
    fit()
    (lock,) = tmp_path.glob("*.lock")
    monkeypatch.setattr("methods.gss.codecs.cache.FileLock", partial(FileLock, timeout=0, is_singleton=False))
    with FileLock(lock):
        fit(codec_seed=1)
        with pytest.raises(Timeout):
            fit()


def test_sharing_changes_no_result(fit, tmp_path):
    _, fitted = fit(variant="tt")
    assert fitted == ["fit_latents", "fit_colours"]
    alone = fit(variant="tt")[0].fingerprint()
    for path in tmp_path.glob("codec-*"):
        path.unlink()
    fit()
    assert fit(variant="tt")[0].fingerprint() == alone


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "no seal"])
def test_damaged_files_are_fitted_again_with_one_line(damage, fit, tmp_path, notes):
    first, _ = fit()
    (weights,) = tmp_path.glob("codec-*.sealed")
    content = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-5] ^= 1
        weights.write_bytes(content)
    else:
        weights.write_bytes(b"" if damage == "empty" else content.split(b"\n", 3)[3])
    second, fitted = fit()
    assert fitted == ["fit_latents"]
    assert second.fingerprint() == first.fingerprint()
    (note,) = notes
    assert "damaged" in note
    assert "\n" not in note
    assert fit()[1] == []


def test_files_of_another_codec_under_this_ones_name_are_not_taken(fit, tmp_path, notes):
    own, _ = fit(code_decay=0.5)
    (weights,) = tmp_path.glob("codec-*.sealed")
    fit()
    (other,) = set(tmp_path.glob("codec-*.sealed")) - {weights}
    weights.write_bytes(other.read_bytes())
    again, fitted = fit(code_decay=0.5)
    assert fitted == ["fit_latents"]
    assert again.fingerprint() == own.fingerprint()
    (note,) = notes
    assert f"about {other.stem.replace('-', ' ')}, not" in note


def test_a_fit_that_did_not_finish_leaves_nothing_that_counts(fit, tmp_path):
    fit()
    (weights,) = tmp_path.glob("codec-*.sealed")
    weights.rename(weights.with_name(f".{weights.name}.part"))
    assert fit()[1] == ["fit_latents"]
    assert not list(tmp_path.glob(".codec-*"))


def test_the_description_says_what_the_weights_are(fit, tmp_path):
    fit()
    (weights,) = tmp_path.glob("codec-*.sealed")
    content = files.read_sealed(weights, weights.stem.replace("-", " "))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"]["codec"])
    assert about["codec"] == "vqvae"
    assert about["steps"] == 12
    assert about["classes"] == 5


def test_what_needs_no_fit_leaves_no_file(fit, tmp_path):
    for name in ("identity", "colour"):
        fit(name)
    assert not list(tmp_path.glob("codec-*"))


def test_two_processes_that_want_one_codec_fit_it_once(fit):
    fits, barrier = [], threading.Barrier(2)

    def want():
        barrier.wait()
        fits.extend(fit("patch")[1])

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fits == ["fit_latents"]


def test_what_a_codec_can_express_is_measured_once_for_the_same_labels(fit, maps, silent, tmp_path, monkeypatch):
    codec, _ = fit("patch")
    measured = []

    def counted(codec, label_maps, collectives):
        measured.append(codec)
        return reconstruction_report(codec, label_maps)

    monkeypatch.setattr(cache, "reconstruction_report", counted)

    def quality(label_maps):
        return measured_quality(codec, label_maps, read_labels(label_maps, silent), tmp_path, silent)

    expected = reconstruction_report(codec, maps()).as_dict()
    assert quality(maps) == quality(maps) == expected
    assert len(measured) == 1
    fewer = list(maps())[:2]
    assert quality(lambda: iter(fewer)) == reconstruction_report(codec, fewer).as_dict()
    assert len(measured) == 2
    for stored in tmp_path.glob("quality-*.json"):
        stored.write_text(stored.read_text()[:20])
    assert quality(maps) == expected
    assert len(measured) == 3


def test_it_is_measured_on_label_maps_that_are_evenly_spread(fit, maps, silent, tmp_path, monkeypatch):
    codec, _ = fit("patch")
    monkeypatch.setattr(cache, "MEASURED_MAPS", 2)
    quality = measured_quality(codec, maps, read_labels(maps, silent), tmp_path, silent)
    assert quality == reconstruction_report(codec, list(maps())[::3]).as_dict()
