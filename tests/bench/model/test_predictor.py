import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common.errors import RunFailed
from bench.common.grid import Grid
from bench.config.tables import InferenceConfig
from bench.model.predictor import ImagePrediction, Predictor, enlarge, enlarge_ids, resize_labels, score_maps
from methods.base import (
    IGNORE,
    UNLABELLED,
    Features,
    Losses,
    Method,
    Network,
    Prediction,
    downsample_labels,
    subsample,
    upsample,
)
from methods.capabilities import Diagnoses, Diagnosis


class Pool(Network):
    """Stride-4 averages of the image: what is predicted where can be read off."""

    def __init__(self):
        super().__init__()
        self.encoder = self.decoder = nn.Identity()
        self.out_channels, self.stride = 3, 4
        self.pyramid_channels, self.pyramid_strides = (), ()

    def forward(self, images: Tensor) -> Features:
        padded = F.pad(images, (0, -images.shape[-1] % 4, 0, -images.shape[-2] % 4), mode="replicate")
        return Features(F.avg_pool2d(padded, 4), ())


class Echo(Method):
    name = "echo"

    def losses(self, batch):
        return Losses({})

    def predict(self, images):
        dense = self.network(images).dense
        return Prediction(dense, log_density=dense * 2, anomaly={"red": dense[:, 0]}, readings={"twice": dense * 2})


class Explained(Diagnoses, Echo):
    def diagnose(self, images, labels):
        assert images.shape[2:] == labels.shape[1:] == (32, 48)
        return Diagnosis({"labels": labels}, {"pixels": (1, labels.numel())})


class Fine(Echo):
    """Predicts at the image's own size, with one score on the network's grid."""

    def predict(self, images):
        return Prediction(images, anomaly={"coarse": self.network(images).dense[:, 0]})


class Probable(Echo):
    window_average = "probabilities"


def predictor(method=Echo, **fields):
    return Predictor(method(None, Pool(), ()), InferenceConfig(**fields), torch.device("cpu"))


def ramp(height, width):
    rows = torch.linspace(0, 100, height).view(-1, 1).expand(height, width)
    columns = torch.linspace(0, 200, width).expand(height, width)
    return torch.stack([rows, columns, rows * 0 + 77]).round().to(torch.uint8)


@pytest.mark.parametrize("size", [(64, 96), (61, 93), (33, 50)])
def test_predictions_come_back_where_they_were(size):
    image = ramp(*size)
    logits = predictor()(image).logits(size)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    assert torch.allclose(logits[inner], image[inner].float() / 255, atol=0.012)


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "slide", "window": (32, 32), "stride": (20, 20)},
        {"mode": "slide", "window": (400, 400), "stride": (300, 300)},
        {"flip": True},
        {"scales": (0.5, 1.0, 1.5)},
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (61, 93)])
def test_windows_mirrors_and_scales_agree_with_one_pass_on_a_smooth_image(fields, size):
    image = ramp(*size)
    one, many = predictor()(image), predictor(**fields)(image)
    assert one.maps.logits.shape == many.maps.logits.shape
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert torch.allclose(one.logits(size)[inner], many.logits(size)[inner], atol=0.012)
    assert torch.allclose(many.log_density(size), many.logits(size) * 2, atol=1e-5)
    assert torch.allclose(many.anomaly(size)["red"], many.logits(size)[0], atol=1e-5)
    assert torch.allclose(many.readings(size)["twice"], many.logits(size) * 2, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "seen"),
    [((40, 60), (40, 60)), ((39, 58), (39, 58)), ((39, 66), (39, 64)), ((64, 64), (64, 64)), ((70, 90), (64, 64))],
)
def test_windows_are_no_larger_than_the_image_and_hold_nothing_else(size, seen):
    sizes = set()

    class Watched(Echo):
        def predict(self, images):
            sizes.add(tuple(images.shape[-2:]))
            return super().predict(images)

    image = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = predictor(Watched, mode="slide", window=(64, 64), stride=(32, 32))(image)
    assert sizes == {seen}
    assert torch.allclose(found.maps.logits, predictor()(image).maps.logits, atol=1e-6)


def test_it_keeps_what_each_prediction_took(monkeypatch):
    times = iter([10.0, 10.5, 20.0, 22.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    predict = predictor()
    for image in (ramp(8, 8), ramp(8, 8)):
        predict(image)
    assert predict.seconds == [0.5, 2.0]


@pytest.mark.parametrize(("mode", "lower"), [("whole", "recipe.inference.short_side"), ("slide", "inference.window")])
def test_an_image_that_does_not_fit_is_one_sentence(monkeypatch, mode, lower):
    def too_large(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Echo, "predict", too_large)
    predict = predictor(short_side=32, mode=mode)
    with pytest.raises(RunFailed, match=rf"^out of memory in the prediction of an image of 64x32: lower .*{lower}"):
        predict(torch.zeros(3, 48, 96, dtype=torch.uint8))


def test_mirror_of_a_mirrored_image_is_the_mirrored_prediction():
    image = torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    p = predictor(flip=True)
    assert torch.allclose(p(image.flip(-1)).maps.logits, p(image).maps.logits.flip(-1), atol=1e-6)


def test_methods_say_whether_logits_or_probabilities_are_averaged():
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = image.float()[None] / 255
    views = [F.avg_pool2d(whole, 4), F.avg_pool2d(whole.flip(-1), 4).flip(-1)]
    logits = predictor(Echo, flip=True)(image).maps.logits
    assert torch.allclose(logits, (views[0] + views[1]) / 2, atol=1e-6)
    maps = predictor(Probable, flip=True)(image).maps
    assert torch.allclose(maps.logits.softmax(1), (views[0].softmax(1) + views[1].softmax(1)) / 2, atol=1e-6)
    twice = [(2 * view).softmax(1) for view in views]
    assert torch.allclose(maps.readings["twice"].softmax(1), (twice[0] + twice[1]) / 2, atol=1e-6)


def test_scale_of_the_recipe_is_the_short_side_within_the_long_one():
    assert InferenceConfig(short_side=360).network_size(720, 1280) == (360, 640)
    assert InferenceConfig(short_side=512, max_long_side=600).network_size(500, 1000) == (300, 600)
    assert InferenceConfig().network_size(123, 45) == (123, 45)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
@pytest.mark.parametrize("size", [(40, 60), (36, 25), (9, 100)])
def test_shrunk_label_maps_keep_single_labelled_pixels(size, kind):
    labels = torch.full((1, 100, 100), UNLABELLED, dtype=kind)
    labels[0, 3::20, 5::20] = torch.arange(25).view(5, 5)
    labels[0, 50:60, 80:] = IGNORE
    small = resize_labels(labels, size)
    assert (small.shape, small.dtype) == ((1, *size), kind)
    assert set(small.unique().tolist()) == {*range(25), UNLABELLED, IGNORE}


def test_resized_dense_labels_are_the_nearest_ones():
    labels = torch.randint(0, 9, (2, 37, 50), generator=torch.Generator().manual_seed(0))
    for size in ((18, 25), (74, 100), (40, 31)):
        expected = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
        assert torch.equal(resize_labels(labels, size), expected)
        assert torch.equal(resize_labels(labels.to(torch.uint8), size), expected.to(torch.uint8))


def test_enlarging_in_one_step_keeps_the_grid():
    maps = torch.rand(1, 2, 9, 16)
    direct = enlarge(maps, (36, 64), (72, 128))
    assert torch.allclose(direct, F.interpolate(maps, size=(72, 128), mode="bilinear", align_corners=False))
    odd = enlarge(maps, (35, 63), (35, 63))
    assert torch.equal(odd, F.interpolate(maps, scale_factor=4.0, mode="bilinear")[..., :35, :63])


def test_labels_are_taken_at_the_centres_of_the_cells_that_upsample_enlarges():
    labels = torch.arange(30).view(1, 5, 6)
    small = downsample_labels(labels, (2, 2))
    assert small.tolist() == [[[1 * 6 + 1, 1 * 6 + 4], [4 * 6 + 1, 4 * 6 + 4]]]
    assert upsample(torch.rand(1, 1, 2, 2), (5, 6)).shape == (1, 1, 5, 6)


@pytest.mark.parametrize(("size", "cells"), [((13, 18), (4, 5)), ((12, 16), (3, 4)), ((12, 16), (5, 3))])
def test_a_cell_without_a_label_at_its_centre_takes_the_nearest_within_it(size, cells):
    generator = torch.Generator().manual_seed(3)
    labels = torch.full((6, *size), UNLABELLED)
    few = torch.rand(labels.shape, generator=generator) < 0.08
    labels[few] = torch.randint(0, 5, (int(few.sum()),), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = IGNORE
    small = downsample_labels(labels, cells)
    centres = subsample(labels, cells)
    stretched = cells == (5, 3)
    for b, i, j in itertools.product(range(6), range(cells[0]), range(cells[1])):
        if stretched:
            rows = [r for r in range(size[0]) if r * cells[0] // size[0] == i]
            columns = [c for c in range(size[1]) if c * cells[1] // size[1] == j]
            middle = int((i + 0.5) * size[0] / cells[0]), int((j + 0.5) * size[1] / cells[1])
        else:
            rows, columns = range(4 * i, min(4 * i + 4, size[0])), range(4 * j, min(4 * j + 4, size[1]))
            middle = min(4 * i + 2, size[0] - 1), min(4 * j + 2, size[1] - 1)
        assert centres[b, i, j] == labels[b, middle[0], middle[1]]
        if centres[b, i, j] != UNLABELLED:
            assert small[b, i, j] == centres[b, i, j]
            continue
        found = {}
        for r, c in itertools.product(rows, columns):
            if labels[b, r, c] < UNLABELLED:
                away = (r - middle[0]) ** 2 + (c - middle[1]) ** 2
                found.setdefault(away, set()).add(int(labels[b, r, c]))
        assert int(small[b, i, j]) in (found[min(found)] if found else {UNLABELLED})


def test_dense_labels_are_those_at_the_centres():
    labels = torch.randint(0, 5, (2, 13, 18))
    labels[labels == 4] = IGNORE
    assert torch.equal(downsample_labels(labels, (4, 5)), subsample(labels, (4, 5)))


def test_generic_scores_are_what_their_names_say():
    logits = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(0)) * 5
    density = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(1)) * 50
    valid = torch.zeros(6, 8, dtype=torch.bool)
    valid[1:4, 2:7] = True
    prediction = ImagePrediction(Prediction(logits, density, {"own": logits[:, 0]}), (6, 8))
    scores = score_maps(prediction, (6, 8), valid, "nll")
    rows = logits[0][:, valid].double()
    posterior = rows.softmax(0)
    expected = {
        "msp": 1 - posterior.max(0).values,
        "max_logit": -rows.max(0).values,
        "entropy": -(posterior * posterior.log()).sum(0),
        "energy": -rows.exp().sum(0).log(),
        "nll": -density[0][:, valid].double().max(0).values,
        "own": rows[0],
    }
    assert scores.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.allclose(scores[name].double(), values, atol=1e-5), name


def test_density_is_enlarged_before_its_maximum_is_taken():
    density = torch.tensor([[0.0, -10.0], [-10.0, 0.0]]).view(1, 2, 1, 2)
    prediction = ImagePrediction(Prediction(density, density), (1, 2))
    scores = score_maps(prediction, (1, 4), torch.ones(1, 4, dtype=torch.bool), "nll")
    full = F.interpolate(density, size=(1, 4), mode="bilinear", align_corners=False)
    assert torch.allclose(scores["nll"], -full.amax(1).flatten())


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 9), st.integers(1, 70), st.integers(1, 70), st.sampled_from([(1, 1), (2, 2), (3, 3), (2, 3), (1, 2)])
)
def test_enlarged_ids_lie_where_the_network_saw_their_cells(stride, height, width, factor):
    cells = Grid((height, width), stride).cells
    assume(Grid.of((height, width), cells).stride == stride)  # it can be told
    ids = torch.arange(cells[0] * cells[1]).view(cells)
    size = (height * factor[0], width * factor[1])
    enlarged = enlarge_ids(ids, (height, width), size)
    assert enlarged.shape == size
    rows, columns = torch.arange(size[0]) // factor[0] // stride, torch.arange(size[1]) // factor[1] // stride
    assert torch.equal(enlarged, ids[rows][:, columns])


def test_enlarged_ids_of_a_stretched_grid_are_nearest():
    ids = torch.arange(6).view(2, 3)
    enlarged = enlarge_ids(ids, (7, 7), (14, 21))
    expected = F.interpolate(ids[None, None].float(), size=(14, 21), mode="nearest-exact")[0, 0]
    assert torch.equal(enlarged, expected.long())


def test_a_diagnosis_is_of_the_whole_image_at_the_networks_size_and_comes_back_at_the_labels():
    label = torch.arange(6).view(2, 3).repeat_interleave(32, 0).repeat_interleave(32, 1)
    label[0, 0] = 255
    found = predictor(Explained, short_side=32, mode="slide", window=(16, 16), stride=(16, 16)).diagnose(
        ramp(64, 96), label
    )
    assert found.counts == {"pixels": (1, 32 * 48)}
    assert torch.equal(found.readings["labels"][1:, 1:], label[1:, 1:])
    assert predictor().diagnose(ramp(64, 96), label) is None


def test_what_no_window_thinks_possible_stays_impossible():
    class Certain(Probable):
        def predict(self, images):
            logits = torch.full((1, 3, 4, 4), -300.0)
            logits[:, 1] = 0
            return Prediction(logits)

    maps = predictor(Certain, mode="slide", window=(16, 16), stride=(8, 8))(ramp(32, 32)).maps
    assert torch.isfinite(maps.logits).all()
    assert torch.equal(maps.logits.softmax(1)[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("size", [(64, 96), (61, 93)])
@pytest.mark.parametrize(
    "fields",
    [{"mode": "slide", "window": (32, 32), "stride": (20, 20)}, {"flip": True}, {"mode": "slide", "flip": True}],
)
def test_what_is_predicted_finer_than_the_network_stays_so(size, fields):
    image = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = predictor(Fine, **fields)(image)
    assert torch.allclose(found.logits(size), image.float() / 255, atol=1e-6)
    assert found.anomaly(size)["coarse"].shape == size
