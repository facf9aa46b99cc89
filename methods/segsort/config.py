"""Hyper-parameters of SegSort. Defaults are the released code's on VOC; what deviates says so."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from methods.base import MethodConfig, added
from methods.segsort.loss import MAX_KAPPA

Vote = Literal["plain", "balanced"]


HED_STRENGTH = 0.25
"""``contour_strength`` of HED, with which street scenes have about as many regions as the gradient gives them."""


class SegSortConfig(MethodConfig):
    """Hyper-parameters of ``SegSort``."""

    variant: Literal["supervised", "unsupervised"] = "supervised"
    """``unsupervised`` learns the embedding from contour-based regions of the images, without class labels; these
    still build the bank. It uses neither k-means nor the memory nor leave-one-out in training."""
    dim: int = Field(default=32, ge=2, le=4096)
    """D, dimensions of the embedding."""
    kappa: float = Field(default=10.0, gt=0, le=MAX_KAPPA)
    """Concentration shared by all segments, in the loss and in the densities."""

    clusters: int = Field(default=25, ge=1, le=4096)
    """K, k-means clusters per image: 25 on VOC crops, 64 on Cityscapes."""
    inference_clusters: int | None = Field(default=None, ge=1, le=4096)
    """Clusters per image in the bank and in prediction, 256 for the paper's Cityscapes. Default: ``clusters``."""
    iterations: int = Field(default=10, ge=1, le=1000)
    """T, k-means iterations: 10 on VOC, 15 on Cityscapes."""
    location_weight: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the location, centred in [-0.5, 0.5], beside the unit embedding. The code uses [0, 1) uncentred."""

    enlarge_embeddings: bool = added(False)
    """Enlarge embeddings to the image's size, before they are normalised, in the bank and in prediction (both released
    codes; training stays on the network's cells): k-means, votes and class scores are then by pixel. An image takes
    about 8 bytes for each of its pixels and clusters, 4 GiB at 2048 x 1024 with 256 clusters."""

    leave_one_out: bool = True
    """A pixel's own segment is neither a positive nor in the denominator of its loss."""
    memory: Literal["fifo", "off", "frozen_random"] = "fifo"
    """Prototypes of the last batches as further segments of the loss (the paper's intent), none, or the random
    vectors of class 0 that the released code trains with, because its queue never updates."""
    memory_batches: int = Field(default=2, ge=1, le=64)
    """Batches remembered."""
    memory_rows: int = Field(default=400, ge=1, le=1_000_000)
    """Prototypes remembered of a batch at most. The code has 25 (K) for each image of the batch: 400 with its 16
    images. It is a number here, not a product: set it to K times the batch where either is another."""

    decode: Literal["knn", "dense"] = "knn"
    """``knn``: a segment takes the votes of its nearest prototypes, painted on its pixels (paper). ``dense``: each
    pixel takes the class scores of the loss, over the compressed bank."""
    neighbours: int = Field(default=21, ge=1, le=4096)
    """k of the vote: 21 in the multi-GPU script, 15 in the others."""
    vote: Vote = "plain"
    """``balanced`` divides votes by the number of the class's prototypes; frequent classes win plain votes (paper)."""
    vote_smoothing: float = Field(default=1.0, ge=1e-6, le=1e6)
    """Votes, spread over all classes, that are added to the k votes, so that no log-posterior is infinite."""
    retrieval: Literal["torch", "faiss"] = "torch"
    """What searches the bank; both are exact. ``faiss`` runs on the CPU and is an optional extra."""

    purity_threshold: float = Field(default=0.0, ge=0, le=1)
    """Clusters with a smaller share of the majority class in their labelled pixels do not enter the bank."""
    centres: int = Field(default=50, ge=1, le=4096)
    """Centres per class of the compressed bank, for dense decoding and densities."""

    regions: Literal["watershed", "hed", "felzenszwalb", "files"] = "watershed"
    """Over-segmentation of the unsupervised variant: basins of the image gradient or of HED's contours, merged across
    weak ones (the paper: HED and gPb-owt-ucm, once for each image and not for each crop), Felzenszwalb and
    Huttenlocher's graph-based one, or the maps in the folder that ``data.regions`` names."""
    contour_strength: float = Field(default=0.05, gt=0, le=1e6)
    """Basins merge while their common contour is weaker: in mean Sobel gradient of [0, 1] images, or for ``hed`` in
    mean probability, 0.25 if not given."""

    @model_validator(mode="before")
    @classmethod
    def _hed_has_another_scale(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("regions") == "hed":
            return {"contour_strength": HED_STRENGTH, **data}
        return data
