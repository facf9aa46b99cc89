import pytest
import torch
from torch.nn import functional as F

from methods.segsort.clustering import cluster_images, spherical_kmeans
from methods.segsort.location import coordinates, seed_cells


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def plain_kmeans(vectors, assignment, clusters, iterations):
    """One image without void pixels, cluster by cluster, in float64."""
    vectors, assignment = vectors.double(), assignment.clone()
    centres = torch.zeros(clusters, vectors.shape[1], dtype=torch.float64)
    for _ in range(iterations):
        similarity = torch.full((len(vectors), clusters), -torch.inf, dtype=torch.float64)
        for k in range(clusters):
            members = vectors[assignment == k]
            if len(members):
                centres[k] = F.normalize(members.sum(0), dim=0)
                similarity[:, k] = vectors @ centres[k]
        assignment = similarity.argmax(1)
    return assignment, centres


def blobs(size=(20, 24), dim=8, seed=0, noise=0.05):
    """Embeddings (1, D, h, w) of four quadrants in four directions, and the quadrant of each cell."""
    rows, columns = torch.arange(size[0]) * 2 // size[0], torch.arange(size[1]) * 2 // size[1]
    quadrant = rows[:, None] * 2 + columns
    directions = unit(4, dim, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    cells = directions[quadrant] + noise * torch.randn(*size, dim, generator=generator)
    return F.normalize(cells, dim=2).permute(2, 0, 1)[None], quadrant


def same_partition(one, other):
    pairs = torch.stack([one.flatten(), other.flatten()]).unique(dim=1)
    return pairs.shape[1] == len(one.unique()) == len(other.unique())


def test_separable_blobs_become_the_clusters():
    embeddings, quadrant = blobs()
    everything = torch.ones(1, *quadrant.shape, dtype=torch.bool)
    found = cluster_images(embeddings, everything, clusters=4, iterations=10, location_weight=1.0)
    assert same_partition(found[0], quadrant)


def test_kmeans_is_its_definition():
    vectors, start = unit(3, 200, 6), torch.randint(7, (3, 200), generator=torch.Generator().manual_seed(1))
    valid = torch.ones(3, 200, dtype=torch.bool)
    found = spherical_kmeans(vectors, valid, start, 7, 10)
    for image in range(3):
        assignment, centres = plain_kmeans(vectors[image], start[image], 7, 10)
        assert torch.equal(found.assignment[image], assignment)
        torch.testing.assert_close(found.centres[image].double(), centres, atol=1e-6, rtol=1e-5)
        assert torch.equal(found.counts[image].long(), assignment.bincount(minlength=7))


def test_void_pixels_and_other_images_have_no_influence():
    vectors, start = unit(2, 150, 6), torch.randint(5, (2, 150), generator=torch.Generator().manual_seed(1))
    valid = torch.rand(2, 150, generator=torch.Generator().manual_seed(2)) < 0.6
    together = spherical_kmeans(vectors, valid, start, 5, 10)
    for image in range(2):
        rest = valid[image]
        alone = spherical_kmeans(vectors[image, rest][None], rest[rest][None], start[image, rest][None], 5, 10)
        assert torch.equal(together.assignment[image, rest], alone.assignment[0])
        torch.testing.assert_close(together.centres[image], alone.centres[0])
        assert torch.equal(together.counts[image], alone.counts[0])


def test_empty_clusters_attract_nothing():
    # The last pixel has a negative cosine with the only centre there is, where a zero centre would win.
    vectors = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]])
    found = spherical_kmeans(vectors, torch.ones(1, 3, dtype=torch.bool), torch.tensor([[1, 1, 1]]), 5, 10)
    assert found.assignment.tolist() == [[1, 1, 1]]
    assert found.counts.tolist() == [[0, 3, 0, 0, 0]]
    assert torch.isfinite(found.centres).all()


def test_a_centre_that_loses_its_pixels_stays():
    # Cluster 1 starts with the same direction as 0 and loses every tie.
    vectors = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    found = spherical_kmeans(vectors, torch.ones(1, 3, dtype=torch.bool), torch.tensor([[0, 1, 2]]), 3, 5)
    assert found.assignment.tolist() == [[0, 0, 2]]
    torch.testing.assert_close(found.centres[0, 1], torch.tensor([1.0, 0.0]))


def test_an_image_without_valid_pixels_is_harmless():
    vectors = unit(2, 20, 4)
    valid = torch.stack([torch.zeros(20, dtype=torch.bool), torch.ones(20, dtype=torch.bool)])
    start = torch.arange(20).remainder(3).expand(2, -1)
    found = spherical_kmeans(vectors, valid, start, 3, 10)
    assert torch.isfinite(found.centres).all()
    assert found.counts[0].sum() == 0
    alone = spherical_kmeans(vectors[1:], valid[1:], start[1:], 3, 10)
    assert torch.equal(found.assignment[1:], alone.assignment)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (40, 2)])
def test_images_smaller_than_the_grid_and_narrow_ones_are_clustered(size):
    embeddings = unit(2, *size, 5).permute(0, 3, 1, 2)
    found = cluster_images(embeddings, torch.ones(2, *size, dtype=torch.bool), 25, 10, 1.0)
    assert found.shape == (2, *size)
    assert found.min() >= 0
    assert found.max() < 25


def test_padding_changes_no_segment():
    embeddings, _ = blobs(noise=0.3)
    height, width = embeddings.shape[2:]
    bare = cluster_images(embeddings, torch.ones(1, height, width, dtype=torch.bool), 9, 10, 1.0)
    padded = F.pad(embeddings, (3, 6, 5, 2), value=0.4)
    valid = F.pad(torch.ones(1, height, width, dtype=torch.bool), (3, 6, 5, 2))
    found = cluster_images(padded, valid, 9, 10, 1.0)[:, 5 : 5 + height, 3 : 3 + width]
    assert torch.equal(found, bare)


def test_location_separates_what_looks_the_same():
    embeddings = F.normalize(torch.ones(1, 4, 10, 10), dim=1)
    everything = torch.ones(1, 10, 10, dtype=torch.bool)
    near = cluster_images(embeddings, everything, 4, 10, location_weight=1.0)
    assert len(near.unique()) == 4
    assert len(cluster_images(embeddings, everything, 4, 10, location_weight=0.0).unique()) == 1


def test_coordinates_are_centred_on_the_valid_box():
    valid = torch.zeros(2, 6, 8, dtype=torch.bool)
    valid[0] = True
    valid[1, 2:5, 1:3] = True
    found = coordinates(valid)
    torch.testing.assert_close(found[0, :, 0, 0], (torch.arange(6) + 0.5) / 6 - 0.5)
    torch.testing.assert_close(found[1, 2:5, 1, 0], torch.tensor([-1 / 3, 0, 1 / 3]))
    torch.testing.assert_close(found[1, 2, 1:3, 1], torch.tensor([-0.25, 0.25]))


def test_seeds_are_a_grid_of_nearly_equal_cells():
    position = coordinates(torch.ones(1, 60, 60, dtype=torch.bool))
    square = seed_cells(position, 25)[0]
    expected = torch.arange(60).div(12, rounding_mode="floor")
    assert torch.equal(square, expected[:, None] * 5 + expected)
    for clusters in (1, 2, 3, 5, 10, 64):
        counts = seed_cells(position, clusters).flatten().bincount()
        assert len(counts) == clusters
        assert counts.max() <= 2 * counts.min()
