import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bench.common.grid import Grid, downsample_labels, subsample, upsample
from bench.common.labels import UNLABELLED

CPU = torch.device("cpu")
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@settings(deadline=None)
@given(SIZES, st.integers(1, 33))
def test_cells_are_whole_and_cover_the_image_with_none_to_spare(size, stride):
    grid = Grid(size, stride)
    for pixels, cells, span in zip(size, grid.cells, grid.span, strict=True):
        assert span == cells * stride
        assert span - stride < pixels <= span
    assert F.pad(torch.zeros(1, 1, *size), grid.padding).shape[-2:] == grid.span


@settings(deadline=None)
@given(SIZES, st.integers(1, 33))
def test_a_pixel_lies_in_the_cell_of_its_stride_and_the_centre_of_a_cell_in_the_cell(size, stride):
    grid = Grid(size, stride)
    for axis in (0, 1):
        of_pixels, centres = grid.of_pixels(CPU)[axis], grid.centres(CPU)[axis]
        assert of_pixels.tolist() == [pixel // stride for pixel in range(size[axis])]
        assert centres.tolist() == [min(c * stride + stride // 2, size[axis] - 1) for c in range(grid.cells[axis])]
        assert of_pixels[centres].tolist() == list(range(grid.cells[axis]))


@settings(deadline=None)
@given(SIZES, st.integers(1, 33))
def test_the_stride_is_found_from_the_cells_unless_a_smaller_one_makes_as_many(size, stride):
    cells = Grid(size, stride).cells
    least = next(s for s in range(1, stride + 1) if Grid(size, s).cells == cells)
    assert Grid.of(size, cells) == Grid(size, least)


def test_the_stride_of_a_narrow_image_is_told_by_its_longer_side():
    assert Grid.of((3, 64), (1, 16)) == Grid((3, 64), 4)
    assert Grid.of((64, 9), (16, 3)) == Grid((64, 9), 4)


def test_cells_that_no_stride_makes_fill_the_image_exactly():
    grid = Grid.of((12, 16), (5, 3))
    assert grid.stride is None
    assert grid.span == grid.size
    assert grid.of_pixels(CPU)[0].tolist() == [row * 5 // 12 for row in range(12)]
    assert grid.centres(CPU)[1].tolist() == [2, 8, 13]


@settings(deadline=None, max_examples=30)
@given(SIZES, st.integers(1, 9))
def test_enlarged_maps_are_those_of_the_padded_image_cut(size, stride):
    grid = Grid(size, stride)
    maps = torch.rand(2, 3, *grid.cells, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(maps, scale_factor=float(stride), mode="bilinear", align_corners=False)
    assert torch.equal(grid.enlarge(maps), whole[..., : size[0], : size[1]])


def test_the_functions_find_their_grid():
    labels = torch.randint(5, (2, 13, 18), generator=torch.Generator().manual_seed(0))
    labels[:, 6:, :9] = UNLABELLED
    grid = Grid((13, 18), 4)
    assert torch.equal(subsample(labels, grid.cells), grid.sample(labels))
    assert torch.equal(downsample_labels(labels, grid.cells), grid.sample_labels(labels))
    maps = torch.rand(1, 2, *grid.cells)
    assert torch.equal(upsample(maps, (13, 18)), grid.enlarge(maps))


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32])
def test_cutting_leaves_the_cells_of_the_smaller_image(stride):
    maps = torch.arange(64 * 64).view(64, 64)[::stride, ::stride]
    cut = Grid((33, 17), stride).cut(maps)
    assert cut.shape == Grid((33, 17), stride).cells
    assert torch.equal(cut, maps[: cut.shape[0], : cut.shape[1]])
