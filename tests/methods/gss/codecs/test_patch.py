import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.base import MethodError
from methods.gss.codecs import patch
from methods.gss.codecs.patch import nearest_codes
from methods.gss.codecs.quality import reconstruction_report

STRIPES = torch.tensor([0, 0, 1, 1]).repeat(4, 1)
CORNER = torch.tensor([[2, 0, 0, 0], *[[0, 0, 0, 0]] * 3])


def tiled(*patches):
    return torch.cat(patches, dim=1)


def flat(value):
    return torch.full((4, 4), value)


def test_few_mixed_patches_are_all_kept_and_nothing_is_lost(make_codec, silent):
    maps = [tiled(flat(0), STRIPES, CORNER), tiled(flat(2), STRIPES, flat(1))]
    codec = make_codec("patch", classes=3, vocabulary=8)
    codec.fit_latents(lambda: iter(maps), 0, silent)
    assert codec.codes[3].tolist() == STRIPES.flatten().tolist()
    assert codec.codes[4].tolist() == CORNER.flatten().tolist()
    assert codec.encode(maps[0][None]).tolist() == [[[0, 3, 4]]]
    report = reconstruction_report(codec, maps)
    assert report.miou == report.boundary_f == 1
    assert report.used_codes == 5


def test_pure_patches_alone_give_the_known_bound(make_codec, silent):
    # A corner of one pixel of class 2 is lost, and half of a striped patch: class 0 wins the tie.
    maps = [tiled(STRIPES, CORNER, flat(1), flat(2))]
    codec = make_codec("patch", classes=3, vocabulary=3)
    codec.fit_latents(lambda: iter(maps), 0, silent)
    iou = reconstruction_report(codec, maps).iou
    assert iou == pytest.approx((23 / 32, 16 / 24, 16 / 17))


def test_leftover_codes_are_never_chosen(make_codec, silent):
    codec = make_codec("patch", classes=3, vocabulary=9)
    codec.fit_latents(lambda: iter([tiled(flat(0), STRIPES)]), 0, silent)
    labels = torch.randint(3, (4, 32, 32), generator=torch.Generator().manual_seed(0))
    assert codec.encode(labels).max() == 3


def test_frequent_patches_win_a_place(make_codec, silent):
    codec = make_codec("patch", classes=3, vocabulary=4)
    codec.fit_latents(lambda: iter([tiled(CORNER, STRIPES), tiled(STRIPES, STRIPES)]), 0, silent)
    assert codec.codes[3].tolist() == STRIPES.flatten().tolist()


def test_clustering_beats_the_most_frequent_patches(make_codec, silent):
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randint(2, (64, 64), generator=generator) for _ in range(2)]
    codec = make_codec("patch", classes=2, vocabulary=40)

    def errors():
        filled = torch.stack(maps)
        return (codec.decode(codec.encode(filled)).argmax(1) != filled).sum()

    codec.fit_latents(lambda: iter(maps), 0, silent)
    clustered = errors()
    patches, _ = codec._patches(torch.stack(maps))
    unique, counts = patches.unique(dim=0, return_counts=True)
    codec.codes[2:] = unique[counts.argsort(descending=True, stable=True)[:38]]
    assert clustered < errors()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), patches=st.integers(0, 40), codes=st.integers(1, 12), classes=st.integers(1, 5))
def test_the_nearest_code_has_the_fewest_wrong_pixels(seed, patches, codes, classes):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(classes, (patches, 9), generator=generator).to(torch.uint8)
    table = torch.randint(classes, (codes, 9), generator=generator).to(torch.uint8)
    wrong = (rows[:, None] != table[None]).sum(2)
    assert torch.equal(nearest_codes(rows, table), wrong.argmin(1))


def test_soft_decoding_is_the_mixture_of_pasted_patches(make_codec, silent):
    codec = make_codec("patch", classes=3, vocabulary=5)
    codec.fit_latents(lambda: iter([tiled(STRIPES, CORNER)]), 0, silent)
    stripes, corner = codec.encode(tiled(STRIPES, CORNER)[None]).flatten().tolist()
    assert {stripes, corner} == {3, 4}
    probabilities = torch.zeros(1, 5, 1, 2)
    probabilities[0, [0, stripes], 0, 0] = 0.5
    probabilities[0, [2, corner], 0, 1] = torch.tensor([0.25, 0.75])
    found = codec.decode(probabilities).exp()
    assert found.shape == (1, 3, 4, 8)
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(found[0, :, 0, 3], torch.tensor([0.5, 0.5, 0]))
    torch.testing.assert_close(found[0, :, 0, 4], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(found[0, :, 3, 7], torch.tensor([0.75, 0, 0.25]))


def test_memory_for_counting_is_bounded(make_codec, silent, monkeypatch):
    monkeypatch.setattr(patch, "COUNTED", 10)
    generator = torch.Generator().manual_seed(0)
    maps = [tiled(STRIPES, STRIPES, torch.randint(3, (4, 40), generator=generator)) for _ in range(20)]
    codec = make_codec("patch", classes=3, vocabulary=4)
    codec.fit_latents(lambda: iter(maps), 0, silent)
    assert codec.codes[3].tolist() == STRIPES.flatten().tolist()


def test_counting_adds_up():
    rows = np.array([[1, 2], [3, 4], [1, 2]], np.uint8)
    patches, counts = patch._count(np.empty((0, 2), np.uint8), np.empty(0, np.int64), [rows])
    patches, counts = patch._count(patches, counts, [np.array([[3, 4], [3, 4]], np.uint8)])
    assert patches.tolist() == [[3, 4], [1, 2]]
    assert counts.tolist() == [3, 2]


def test_a_vocabulary_without_room_for_the_classes_is_refused(make_codec):
    with pytest.raises(MethodError, match=r"set method\.vocabulary to at least 5"):
        make_codec("patch", classes=5, vocabulary=4)
