import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.gss import label_maps
from methods.gss.label_maps import CropSampler, fill_void, pad_to_cells, whole_maps


def distances_to(labels, value):
    """Squared distance of each pixel to the nearest pixel of ``value``, by brute force."""
    points = (labels == value).nonzero()
    everywhere = torch.ones_like(labels).nonzero()
    return (everywhere[:, None] - points[None]).square().sum(2).amin(1).view(labels.shape)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    share=st.floats(0, 0.95),
)
def test_void_takes_a_nearest_class(height, width, seed, share):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (height, width), generator=generator)
    void = torch.rand(height, width, generator=generator) < share
    labels[void] = torch.randint(254, 256, (int(void.sum()),), generator=generator)
    filled = fill_void(labels)
    assert torch.equal(filled[~void], labels[~void])
    if void.all():
        assert not filled.any()
        return
    nearest = torch.stack([distances_to(labels, value) for value in range(4) if (labels == value).any()]).amin(0)
    for value in filled.unique().tolist():
        chosen = filled == value
        assert torch.equal(distances_to(labels, value)[chosen], nearest[chosen])


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 10_000),
    share=st.floats(0, 1),
    candidates=st.sampled_from((1, 50, 1 << 25)),
)
def test_void_filled_at_once_is_as_near_as_void_filled_map_by_map(size, seed, share, candidates):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, size, generator=generator)
    void = torch.rand(size, generator=generator) < share
    labels[void] = torch.randint(254, 256, (int(void.sum()),), generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_maps, "CANDIDATES", candidates)
        at_once = label_maps._filled_at_once(labels)
    assert torch.equal(at_once[~void], labels[~void])
    for one, other, given_labels in zip(at_once, fill_void(labels), labels, strict=True):
        if not (given_labels < 254).any():
            assert not one.any()
            continue
        far = torch.full_like(one, 1 << 20)
        distances = [distances_to(given_labels, v) if (given_labels == v).any() else far for v in range(4)]
        assert torch.equal(torch.stack(distances).gather(0, one[None]), torch.stack(distances).gather(0, other[None]))


def test_maps_of_a_batch_are_filled_each_on_its_own():
    labels = torch.tensor([[[0, 255]], [[254, 3]], [[255, 255]]])
    assert fill_void(labels).tolist() == [[[0, 0]], [[3, 3]], [[0, 0]]]


def test_maps_without_a_class_are_left_out():
    maps = [torch.full((2, 2), 255), torch.tensor([[255, 1]]), torch.full((2, 2), 254)]
    assert [labels.tolist() for labels in whole_maps(lambda: iter(maps))] == [[[1, 1]]]


@pytest.mark.parametrize("size", [(1, 1), (4, 8), (5, 7), (3, 9)])
def test_padding_repeats_the_edge_and_moves_nothing(size):
    labels = torch.arange(size[0] * size[1]).view(1, *size)
    padded = pad_to_cells(labels, 4)
    assert padded.shape[1] % 4 == padded.shape[2] % 4 == 0
    assert torch.equal(padded[:, : size[0], : size[1]], labels)
    expected = torch.nn.functional.pad(
        labels[None].double(), (0, padded.shape[2] - size[1], 0, padded.shape[1] - size[0]), mode="replicate"
    )
    assert torch.equal(padded, expected[0].long())


def sampler(maps, crop=16, seed=0):
    return CropSampler(maps, crop, torch.Generator().manual_seed(seed))


def test_crops_repeat_with_their_generator_and_show_only_what_the_maps_hold():
    maps = [torch.arange(40 * 50).view(40, 50) % 7, torch.full((5, 6), 9)]
    crops = sampler(maps).draw(30)
    assert crops.shape == (30, 16, 16)
    assert crops.dtype == torch.int64
    assert set(crops.unique().tolist()) == {*range(7), 9}
    assert torch.equal(crops, sampler(maps).draw(30))
    assert not torch.equal(crops, sampler(maps, seed=1).draw(30))


def test_crops_are_scaled_and_mirrored():
    # Columns count upwards, so a row of a crop tells direction and scale.
    ramp = torch.arange(200).repeat(64, 1)
    steps = sampler([ramp]).draw(200)[:, 0].diff(dim=1).float().mean(1)
    assert (steps > 0).any()
    assert (steps < 0).any()
    assert steps.abs().min() < 0.6
    assert steps.abs().max() > 1.6


def test_too_many_maps_are_sampled_evenly_within_the_memory(monkeypatch):
    monkeypatch.setattr(label_maps, "WINDOW", 8)
    monkeypatch.setattr(label_maps, "KEPT_BYTES", 20 * 32 * 32)
    kept = sampler([torch.full((40, 40), value) for value in range(200)])
    values = [int(window[0, 0]) for window in kept.kept]
    assert len(kept) == len(set(values)) == 20
    assert all(window.shape == (32, 32) for window in kept.kept)
    assert 60 < sum(values) / 20 < 140
