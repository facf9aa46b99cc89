"""Whole images to predictions: resizing, sliding windows, mirror and multi-scale averaging, for every method alike.

Predictions stay on the method's grid, mostly that of the network's stride, until a protocol enlarges them to the
label's resolution, so that windows and scales are averaged cheaply and a prediction can be kept for a second pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.common.grid import Grid, upsample
from bench.common.labels import UNLABELLED
from bench.common.memory import within_memory
from bench.common.parts import now
from bench.config.tables import InferenceConfig
from methods.base import Method, MethodError, Prediction
from methods.capabilities import Diagnoses, Diagnosis, DrawsLabelMaps

LOG_ZERO = -200.0
"""Stands for the logarithm of 0: finite, yet its softmax is exactly 0, so that what is impossible stays so."""
LESS_AT_ONCE = {
    "whole": "lower recipe.inference.short_side, or set recipe.inference.mode=slide",
    "slide": "lower recipe.inference.window, and recipe.inference.stride with it",
}
"""What to do where an image does not fit, by mode."""


@dataclass
class ImagePrediction:
    """The prediction of one image on the network's grid, and the image size that this grid spans."""

    maps: Prediction
    """With a batch dimension of one."""
    size: tuple[int, int]
    """Height and width at which the image entered the network."""

    def logits(self, size: tuple[int, int]) -> Tensor:
        """Class scores (C, H, W) at ``size``."""
        return enlarge(self.maps.logits, self.size, size)[0]

    def readings(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """Further class scores (C, H, W) of the method at ``size``, by name."""
        return {n: enlarge(m, self.size, size)[0] for n, m in self.maps.readings.items()}

    def log_density(self, size: tuple[int, int]) -> Tensor | None:
        """log p(x | c) (C, H, W) at ``size``, if the method has it."""
        return None if self.maps.log_density is None else enlarge(self.maps.log_density, self.size, size)[0]

    def anomaly(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """The method's own score maps (H, W) at ``size``."""
        return {n: enlarge(m[:, None], self.size, size)[0, 0] for n, m in self.maps.anomaly.items()}


def enlarge(maps: Tensor, network_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Resize ``maps`` (B, C, h, w) that span an image of ``network_size`` bilinearly to ``size``.

    Done in one step where the grid divides the image, else through the network's resolution, so that cells stay
    where the network saw them.
    """
    h, w = maps.shape[-2:]
    if network_size == size:
        return upsample(maps, size)
    if network_size[0] % h or network_size[1] % w:
        maps = upsample(maps, network_size)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """``images`` (B, 3, H, W) in [0, 1] at ``size``, bilinear and without aliasing."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True).clamp_(0, 1)


def enlarge_ids(ids: Tensor, network_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Ids (H, W) at ``size`` of a grid of ids (h, w) that spans an image of ``network_size``, aligned with ``enlarge``.

    Each pixel takes the id of the cell in which its centre lies. The way back, from pixels to cells of the grid, is
    ``bench.common.grid.subsample``.
    """
    grid = Grid.of(network_size, (ids.shape[0], ids.shape[1]))

    def along(pixels: int, extent: int, cells: int, span: int) -> Tensor:
        centres = (torch.arange(pixels, device=ids.device) + 0.5) * (extent / pixels)
        return (centres * (cells / span)).long().clamp_(max=cells - 1)

    rows, columns = map(along, size, network_size, grid.cells, grid.span)
    return ids[rows][:, columns]


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """``labels`` (B, h, w) of any integers, of images that were resized to ``size``, by nearest neighbours.

    For label maps: their pixels fill the image; a network's grid may reach over its edge (``enlarge_ids``). A pixel
    without annotation takes a label that it covers, if any: single labelled pixels outlast shrinking.
    """
    if tuple(labels.shape[-2:]) == size:
        return labels
    if (labels == UNLABELLED).any():
        return Grid((labels.shape[-2], labels.shape[-1]), None, size).sample_labels(labels)
    return F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].to(labels.dtype)


def draws_nothing(method: Method) -> MethodError:
    """What to say where a method shall draw label maps that has no distribution over them."""
    return MethodError(f"{method.name} draws no label maps; take a run of a method that does, such as gss")


class Predictor:
    """Predicts single images with a method, as the recipe's inference table says."""

    def __init__(self, method: Method, config: InferenceConfig, device: torch.device) -> None:
        self.method = method.eval()
        self.config = config
        self.device = device
        self.stride = method.network.stride
        self.seconds: list[float] = []
        """What each prediction took so far, from the image on the host to maps on the device."""

    @torch.no_grad()
    def __call__(self, image: Tensor) -> ImagePrediction:
        """Predict ``image`` (3, H, W) uint8."""
        began = now(self.device)
        size = self.config.network_size(*image.shape[-2:])
        with within_memory(f"the prediction of an image of {size[1]}x{size[0]}", LESS_AT_ONCE[self.config.mode]):
            whole = image.to(self.device).float().div_(255)[None]
            views = [self._view(whole, size, scale, mirror) for scale, mirror in self._views()]
            maps = self._average(views)
        self.seconds.append(now(self.device) - began)
        return ImagePrediction(maps, size)

    @torch.no_grad()
    def sample(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` label maps (count, H, W) of ``image`` (3, H, W) uint8, in one pass over the whole image.

        Raises MethodError if the method draws none. Windows and views are not averaged: a draw is one label map.
        """
        if not isinstance(self.method, DrawsLabelMaps):
            raise draws_nothing(self.method)
        height, width = image.shape[-2:]
        size = self.config.network_size(height, width)
        whole = image.to(self.device).float().div_(255)[None]
        drawn = self.method.sample(resize(whole, size), count, generator)[:, 0]
        return torch.stack([enlarge_ids(labels, size, (height, width)) for labels in drawn])

    @torch.no_grad()
    def diagnose(self, image: Tensor, label: Tensor) -> Diagnosis | None:
        """What the method says its errors on ``image`` (3, H, W) uint8 with ``label`` (H, W) uint8 are made of.

        The image enters whole and once, whatever the windows and views of a prediction, and the label is resized
        with it; readings come back at the label's size. None of a method that does not diagnose itself.
        """
        if not isinstance(self.method, Diagnoses):
            return None
        given = (label.shape[0], label.shape[1])
        size = self.config.network_size(*given)
        whole = image.to(self.device).float().div_(255)[None]
        result = self.method.diagnose(resize(whole, size), resize_labels(label[None].to(self.device), size).long())
        readings = {name: resize_labels(reading, given)[0] for name, reading in result.readings.items()}
        return Diagnosis(readings, result.counts)

    def _views(self) -> Iterator[tuple[float, bool]]:
        for scale in self.config.scales:
            yield scale, False
            if self.config.flip:
                yield scale, True

    def _view(self, whole: Tensor, size: tuple[int, int], scale: float, mirror: bool) -> Prediction:
        """The prediction of one scale and orientation, on the grid of ``size``."""
        image = resize(whole, size)
        grid = Grid(size, self.stride)
        if scale != 1.0 or mirror:
            # The grid starts at the image's upper left corner: without whole cells, scaling and mirroring shift it.
            image = F.pad(image, grid.padding, mode="replicate")
        if scale != 1.0:
            rows, columns = (max(round(cells * scale), 1) * self.stride for cells in grid.cells)
            image = resize(image, (rows, columns))
        if mirror:
            image = image.flip(-1)
        predict = self._slide if self.config.mode == "slide" else self.method.predict
        maps = predict(image)
        if mirror:
            maps = _map(maps, lambda m: m.flip(-1))
        if scale == 1.0 and not mirror:
            return maps
        cell = self._cell(maps, (image.shape[-2], image.shape[-1]))
        whole_cells = Grid(grid.span, cell).cells
        return _map(maps, lambda m: Grid(size, cell).cut(_to_grid(m, whole_cells)))

    def _cell(self, maps: Prediction, size: tuple[int, int]) -> int:
        """Image pixels per cell of ``maps`` of an image of ``size``: the network's stride, or a divisor of it."""
        cell = Grid.of(size, (maps.logits.shape[-2], maps.logits.shape[-1])).stride
        return cell if cell is not None and self.stride % cell == 0 else self.stride

    def _slide(self, image: Tensor) -> Prediction:
        """Average the predictions of overlapping windows; the last ones are shifted inside.

        A window is no larger than the image: whatever filled the rest would be predicted with it, and methods that
        take an image as a whole, as by clustering it, would take the filling for a part of it.
        """
        stride = self.stride
        height, width = image.shape[-2:]
        window = [max(w // stride, 1) * stride for w in self.config.window]
        step = [max(s // stride, 1) * stride for s in self.config.stride]
        # Windows lie on whole cells, to which an image of more than one is filled up; a single one is as it is.
        bottom, right = (-n % stride if n > w else 0 for n, w in zip((height, width), window))
        padded = F.pad(image, (0, right, 0, bottom), mode="replicate")
        window = [min(w, n) for w, n in zip(window, padded.shape[-2:])]
        tops = _positions(padded.shape[-2], window[0], step[0])
        lefts = _positions(padded.shape[-1], window[1], step[1])

        def predict(top: int, left: int) -> Prediction:
            return self._linear(self.method.predict(padded[..., top : top + window[0], left : left + window[1]]))

        maps = predict(0, 0)
        cell = self._cell(maps, (window[0], window[1]))
        grid = Grid((padded.shape[-2], padded.shape[-1]), cell).cells
        part = Grid((window[0], window[1]), cell).cells
        total = _map(maps, lambda m: m.new_zeros(*m.shape[:2], *grid))
        counts = torch.zeros(1, 1, *grid, device=image.device)
        for top, left in itertools.product(tops, lefts):
            if top or left:
                maps = predict(top, left)
            y, x = top // cell, left // cell
            _add_at(total, _map(maps, lambda m: _to_grid(m, part)), y, x)
            counts[..., y : y + part[0], x : x + part[1]] += 1
        mean = _map(total, lambda m: Grid((height, width), cell).cut(m / counts))
        return self._from_linear(mean)

    def _average(self, views: list[Prediction]) -> Prediction:
        if len(views) == 1:
            return views[0]
        size = views[0].logits.shape[-2:]
        linear = [_map(self._linear(v), lambda m: _to_grid(m, (size[0], size[1]))) for v in views]
        total = linear[0]
        for view in linear[1:]:
            total = _zip(total, view, lambda a, b: a + b)
        return self._from_linear(_map(total, lambda m: m / len(views)))

    def _linear(self, maps: Prediction) -> Prediction:
        """What may be averaged: logits, or probabilities in their place, as the method says."""
        if self.method.window_average == "logits":
            return maps
        return _map_scores(maps, lambda m: m.softmax(1))

    def _from_linear(self, maps: Prediction) -> Prediction:
        if self.method.window_average == "logits":
            return maps
        return _map_scores(maps, lambda m: torch.where(m > 0, m.log(), LOG_ZERO))


def _add_at(total: Prediction, maps: Prediction, top: int, left: int) -> None:
    """Add the maps of a window to the maps of the image, at a cell of its grid."""
    h, w = maps.logits.shape[-2:]
    _zip(total, maps, lambda t, m: t[..., top : top + h, left : left + w].add_(m))


def _positions(size: int, window: int, step: int) -> list[int]:
    return [*range(0, size - window, step), size - window]


def _to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == grid:
        return maps
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)


def _map(prediction: Prediction, change: Callable[[Tensor], Tensor]) -> Prediction:
    """Apply a function of (B, C, h, w) maps to all maps of a prediction."""
    density = prediction.log_density
    return Prediction(
        change(prediction.logits),
        None if density is None else change(density),
        {n: change(m[:, None])[:, 0] for n, m in prediction.anomaly.items()},
        {n: change(m) for n, m in prediction.readings.items()},
    )


def _map_scores(prediction: Prediction, change: Callable[[Tensor], Tensor]) -> Prediction:
    """Apply a function of (B, C, h, w) maps to the class scores of a prediction alone."""
    readings = {n: change(m) for n, m in prediction.readings.items()}
    return replace(prediction, logits=change(prediction.logits), readings=readings)


def _zip(a: Prediction, b: Prediction, combine: Callable[[Tensor, Tensor], Tensor]) -> Prediction:
    density = None
    if a.log_density is not None and b.log_density is not None:
        density = combine(a.log_density, b.log_density)
    anomaly = {n: combine(a.anomaly[n][:, None], b.anomaly[n][:, None])[:, 0] for n in a.anomaly}
    readings = {n: combine(a.readings[n], b.readings[n]) for n in a.readings}
    return Prediction(combine(a.logits, b.logits), density, anomaly, readings)


def score_maps(
    prediction: ImagePrediction, size: tuple[int, int], valid: Tensor, density_name: str
) -> dict[str, Tensor]:
    """Every anomaly score of the ``valid`` (H, W) pixels as (n,) float32, higher is more anomalous.

    Generic scores for every method: ``msp`` (1 - largest softmax), ``max_logit``, ``entropy`` (nats), ``energy``
    (-logsumexp); ``density_name`` (-max_c log p(x | c)) where the method has a density; then the method's own.
    Class scores are enlarged before the maximum is taken, since the two do not commute.
    """
    logits = prediction.logits(size)[:, valid].float()
    log_posterior = logits.log_softmax(0)
    posterior = log_posterior.exp()
    scores = {
        "msp": -torch.expm1(log_posterior.amax(0)),  # 1 - p
        "max_logit": -logits.amax(0),
        "entropy": -(posterior * log_posterior).sum(0),
        "energy": -logits.logsumexp(0),
    }
    density = prediction.log_density(size)
    if density is not None:
        scores[density_name] = -density[:, valid].float().amax(0)
    scores.update({n: m[valid].float() for n, m in prediction.anomaly(size).items()})
    return scores
