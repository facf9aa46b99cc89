import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from methods.gss.codecs.cache import measured_quality, read_labels
from methods.gss.codecs.quality import boundary_counts, reconstruction_report


class Recorded(nn.Module):
    """A codec that decodes to given maps, whatever it encoded."""

    continuous = False
    num_classes = 4
    vocabulary = 6
    stride = 1

    def __init__(self, decoded):
        super().__init__()
        self.decoded = iter(decoded)

    def encode(self, labels):
        assert labels.max() < 4
        return labels

    def decode(self, tokens):
        return nn.functional.one_hot(next(self.decoded), 4).movedim(2, 0)[None].float()


def test_scores_are_those_of_one_confusion_without_void_and_absent_classes():
    truth = [torch.tensor([[0, 0, 1, 255], [0, 1, 1, 254]]), torch.tensor([[1, 1, 1, 1], [3, 3, 3, 3]])]
    decoded = [torch.tensor([[0, 1, 1, 2], [0, 1, 1, 2]]), torch.tensor([[1, 1, 1, 2], [3, 3, 3, 3]])]
    report = reconstruction_report(Recorded(decoded), truth)
    # Class 2 occurs in no label: it has no IoU, but its pixels count against class 1.
    assert report.iou[:2] + report.iou[3:] == pytest.approx((2 / 3, 6 / 8, 1.0))
    assert math.isnan(report.iou[2])
    assert report.miou == pytest.approx((2 / 3 + 6 / 8 + 1) / 3)
    assert report.maps == 2


def test_perplexity_counts_the_tokens_in_effect():
    labels = torch.tensor([[0, 0, 1, 1], [2, 2, 3, 3]])
    report = reconstruction_report(Recorded([labels]), [labels])
    assert report.perplexity == pytest.approx(4)
    assert report.used_codes == 4
    labels = torch.tensor([[0, 0, 0, 1]])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert reconstruction_report(Recorded([labels]), [labels]).perplexity == pytest.approx(expected)


def brute_counts(decoded, truth, classes, reach):
    valid = truth < classes

    def contour(ids):
        found = {c: [] for c in range(classes)}
        height, width = ids.shape
        for r in range(height):
            for c in range(width):
                for rr, cc in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                    inside = 0 <= rr < height and 0 <= cc < width
                    if inside and valid[r, c] and valid[rr, cc] and ids[rr, cc] != ids[r, c]:
                        found[int(ids[r, c])].append((r, c))
                        break
        return found

    ours, theirs = contour(decoded), contour(truth)

    def matched(points, others):
        return sum(any(math.dist(p, q) <= reach for q in others) for p in points)

    return [
        [matched(ours[c], theirs[c]), len(ours[c]), matched(theirs[c], ours[c]), len(theirs[c])] for c in range(classes)
    ]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), reach=st.sampled_from([1.0, 1.5, 2.0]), void=st.floats(0, 0.4))
def test_contours_match_by_brute_force(seed, reach, void):
    generator = np.random.default_rng(seed)
    decoded, truth = generator.integers(3, size=(2, 4, 3)).repeat(2, 1).repeat(2, 2)
    truth[generator.random(truth.shape) < void] = 255
    assert boundary_counts(decoded, truth, 3, reach).tolist() == brute_counts(decoded, truth, 3, reach)


def test_boundary_f_follows_a_shifted_contour():
    truth = torch.zeros(40, 40, dtype=torch.int64)
    truth[:, 20:] = 1

    def report(shift):
        return reconstruction_report(Recorded([truth.roll(shift, 1) * (torch.arange(40) >= 10)]), [truth], 2.5 / 56.57)

    assert report(0).boundary_f == report(2).boundary_f == 1
    assert report(5).boundary_f == 0


def test_the_report_holds_for_real_codecs(make_codec, maps, silent):
    exact = reconstruction_report(make_codec("identity"), maps())
    assert exact.as_dict() | {"perplexity": 0} == {"miou": 1, "boundary_f": 1, "perplexity": 0, "used_codes": 5}
    colour = reconstruction_report(make_codec("colour"), maps())
    assert 0.5 < colour.miou < 1
    assert math.isnan(colour.perplexity)
    assert math.isnan(colour.used_codes)
    vqvae = make_codec("vqvae")
    assert 0 <= reconstruction_report(vqvae, maps()).miou < exact.miou


def test_numbers_for_a_record_are_floats(make_codec, maps):
    content = reconstruction_report(make_codec("patch"), maps()).as_dict()
    assert list(content) == ["miou", "boundary_f", "perplexity", "used_codes"]
    assert all(isinstance(value, float) for value in content.values())


@pytest.mark.parametrize("world_size", [2, 5])
def test_ranks_that_share_the_maps_report_what_one_does(make_codec, maps, silent, two_ranks, tmp_path, world_size):
    for name in ("one", "shared"):
        (tmp_path / name).mkdir()
    codec, labels = make_codec("patch"), read_labels(maps, silent)
    codec.fit_latents(maps, 0, silent)
    alone = measured_quality(codec, maps, labels, tmp_path / "one", silent)

    def shared(collectives):
        return measured_quality(codec, maps, labels, tmp_path / "shared", silent, collectives=collectives)

    assert two_ranks(shared, world_size) == [alone] * world_size
    assert two_ranks(shared, world_size) == [alone] * world_size  # and from the file that the first time left
