import pytest
import torch

from datasets.base import ClassSet
from methods.base import MethodError
from methods.gss import generation
from methods.gss.codecs import build_codec
from methods.gss.codecs.settings import CodecSettings
from methods.gss.generation import token_prior, training_tokens

CLASSES = ClassSet("three", ("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def silently(items, description, total):
    return items


@pytest.fixture
def codec():
    return build_codec(CodecSettings(codec="identity"), CLASSES)


def stripes(count, height=6, width=8):
    """Label maps with class 0 above, 1 below and void at the right."""
    labels = torch.zeros(count, height, width, dtype=torch.int64)
    labels[:, height // 2 :] = 1
    labels[:, :, -1] = 255
    return list(labels)


def test_tokens_are_those_of_the_most_frequent_size_with_void_filled(codec):
    maps = [torch.full((4, 4), 2), *stripes(3), torch.full((6, 8), 255), torch.full((6, 8), 254)]
    tokens = training_tokens(codec, lambda: iter(maps), silently)
    assert tokens.shape == (3, 6, 8)
    assert (tokens[:, :3] == 0).all()
    assert (tokens[:, 3:] == 1).all()


def test_large_maps_are_subsampled_and_many_maps_are_thinned(codec, monkeypatch):
    monkeypatch.setattr(generation, "MAX_CELLS", 12)
    monkeypatch.setattr(generation, "MAX_MAPS", 2)
    tokens = training_tokens(codec, lambda: iter(stripes(5)), silently)
    assert tokens.shape == (2, 3, 4)
    assert tokens[0, 0].tolist() == [0] * 4
    assert tokens[0, -1].tolist() == [1] * 4


@pytest.mark.parametrize("maps", [[], [torch.full((4, 4), 254)]])
def test_nothing_labelled_is_one_sentence(codec, maps):
    with pytest.raises(MethodError, match="take a run with labels"):
        training_tokens(codec, lambda: iter(maps), silently)


def test_a_codec_without_tokens_is_one_sentence(tmp_path):
    codec = build_codec(CodecSettings(codec="colour"), CLASSES)
    with pytest.raises(MethodError, match=r"method\.codec"):
        token_prior(codec, lambda: iter(stripes(2)), 0, tmp_path, silently)


def test_the_prior_is_estimated_once_and_again_if_its_file_is_cut_off(codec, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "STEPS", 2)
    fits = []
    fit = generation.fit_token_prior
    monkeypatch.setattr(generation, "fit_token_prior", lambda *a: fits.append(1) or fit(*a))

    def state():
        prior = token_prior(codec, lambda: iter(stripes(4)), 0, tmp_path, silently)
        return torch.cat([t.flatten() for t in prior.state_dict().values()])

    first = state()
    assert torch.equal(state(), first)
    assert len(fits) == 1
    (path,) = tmp_path.glob("token-prior-*")
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(state(), first)
    assert len(fits) == 2


def test_draws_are_like_the_training_maps(codec, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "STEPS", 40)
    prior = token_prior(codec, lambda: iter(stripes(8)), 0, tmp_path, silently)
    drawn = prior.sample(6, torch.Generator().manual_seed(0), silently)
    assert (drawn[:, :3] == 0).float().mean() > 0.95
    assert (drawn[:, 3:] == 1).float().mean() > 0.95
