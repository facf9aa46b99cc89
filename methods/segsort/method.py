"""The SegSort plugin: pixels sorted into segments, segments sorted by class, and labels by retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import (
    IGNORE,
    Batch,
    Classes,
    Context,
    Losses,
    Method,
    MethodError,
    Network,
    Prediction,
    downsample_labels,
    subsample,
    upsample,
)
from methods.capabilities import Evidence, Explains, Explanation, LearnsWithoutLabels, Relabels
from methods.segsort.bank import PrototypeBank
from methods.segsort.clustering import NORM_EPS, cluster_images
from methods.segsort.config import SegSortConfig, Vote
from methods.segsort.contours import packaged_weights
from methods.segsort.loss import neighbourhood_loss, own_segment_loss
from methods.segsort.memory import PrototypeMemory
from methods.segsort.regions import SegmentProvider, make_provider
from methods.segsort.segments import aligned_segments, mean_directions


class Observed(NamedTuple):
    """What ``losses`` keeps of all ranks' batch for ``after_step``."""

    prototypes: Tensor
    """(S, D) unit vectors without gradient."""
    labels: Tensor
    """(S,) int64."""


class SegSort(Explains, Relabels, LearnsWithoutLabels, Method):
    """A pixel embedding without a classifier: segments by clustering, labels from the training set's segments.

    Training sorts pixels into segments by k-means without gradient and makes each pixel likely under the prototypes of
    its class. Void pixels (255) take no part; unlabelled ones (254) are clustered, as they are in prediction, but make
    no segment and have no loss. After training a bank collects one prototype per cluster of every training image;
    prediction clusters an image in the same way and asks the bank.

    ``logits`` are log-posteriors: of the neighbours' votes (``decode=knn``; their energy is therefore constant), or
    the class scores (``dense``). What is not chosen is a reading beside it: ``plain vote``, ``balanced vote``,
    ``dense``. ``log_density`` is log p(v | c) on the unit sphere of the embedding with each class's compressed bank as
    a vMF mixture, and the anomaly scores are

    - ``segsort_knn``: 1 - mean cosine of the pixel's segment to its k nearest prototypes;
    - ``segsort_density``: -log p(v) under the mixture of all classes' compressed banks;
    - ``segsort_free_energy``: -max_c l_c, l_c the log-sum-exp of the loss over the class's compressed bank.
    """

    name = "segsort"
    reference = (
        "Jyh-Jing Hwang, Stella X. Yu, Jianbo Shi, Maxwell D. Collins, Tien-Ju Yang, Xiao Zhang, Liang-Chieh Chen: "
        "SegSort: Segmentation by Discriminative Sorting of Segments. ICCV 2019"
    )
    Config = SegSortConfig
    without_labels = MappingProxyType({"variant": "unsupervised"})
    density_score = headline_score = "segsort_class_nll"
    window_average = "probabilities"
    training_only = tuple(f"memory.{name}" for name in PrototypeMemory.STATE)
    relabelling = "bank swap"

    config: SegSortConfig
    segment_provider: SegmentProvider | None
    """Regions of the unsupervised variant; computed from the images unless replaced."""

    def __init__(self, config: SegSortConfig, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        self.embedding = nn.Conv2d(network.out_channels, config.dim, kernel_size=1)
        supervised = config.variant == "supervised"
        self._remembers = supervised and config.memory == "fifo"
        batches = config.memory_batches if supervised and config.memory != "off" else 0
        self.memory = PrototypeMemory(batches, config.memory_rows, config.dim)
        self.bank = PrototypeBank(config.dim, len(classes), config.retrieval)
        self.segment_provider = None if supervised else make_provider(config.regions, config.contour_strength)

    def prepare(self, context: Context) -> None:
        """Fill the memory with noise if it is to stay that way. Raises MethodError if HED's weights are missing."""
        if self.segment_provider is not None and self.config.regions == "hed":
            packaged_weights(context.device)
        if self.config.memory == "frozen_random":
            self.memory.fill_with_noise(torch.Generator().manual_seed(context.seed))

    def embed(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D, h, w) in float32, as bank and prediction use them.

        Their resolution is that of the dense features, or the image's with ``enlarge_embeddings``.
        """
        raw = self.embedding(self.network(images).dense)
        if self.config.enlarge_embeddings:
            raw = upsample(raw.float(), (images.shape[2], images.shape[3]))
        return self._unit(raw)

    def losses(self, batch: Batch) -> Losses:
        """Segment sorting at the resolution of the dense features; 0 with a graph for a batch without labels."""
        raw = self.embedding(self.network(batch.images).dense)
        embeddings = self._unit(raw)
        with torch.autocast(raw.device.type, enabled=False):
            if self.segment_provider is not None:
                loss, observed = self._unsupervised_loss(embeddings, batch, self.segment_provider), None
            else:
                loss, observed = self._supervised_loss(embeddings, batch)
        return Losses({"segment_sorting": loss}, observed)

    @torch.no_grad()
    def after_step(self, observed: Sequence[Observed | None], context: Context) -> None:
        """Remember the prototypes of each batch."""
        for seen in observed if self._remembers else ():
            assert seen is not None
            generator = torch.Generator().manual_seed(context.seed * 1_000_003 + context.step)
            self.memory.push(seen.prototypes, seen.labels, generator)

    @torch.no_grad()
    def finish(self, context: Context) -> None:
        """Build the bank from the training images, each rank from its share of them, and compress it.

        Images are clustered whole, as in prediction; labels only name the clusters. A cluster without any labelled
        pixel gives no prototype. Raises MethodError if no prototype remains.
        """
        share = context.progress(context.share(), "building the prototype bank", None)
        parts = [self._bank_rows(batch, index) for index, batch in share]
        threshold = self.config.purity_threshold
        self.bank.build(parts, threshold, context.collectives)
        if not len(self.bank):
            raise MethodError(
                "no training segment can enter segsort's prototype bank: label some training pixels"
                + (f", or lower method.purity_threshold (now {threshold:g})" if threshold else "")
            )
        self.bank.compress(self.config.centres, torch.Generator().manual_seed(context.seed))

    def facts(self) -> Mapping[str, float | str | None]:
        """Purity and sizes of the bank, as it was built: no purity and no prototype before that.

        ``bank_purity`` is the mean, over every cluster with a label, of the majority class's share of its labelled
        pixels; ``bank_prototypes`` counts those that ``purity_threshold`` let in and ``bank_centres`` their
        compression; ``classes_without_prototype`` can never win a vote. Relabelling changes none of them.
        """
        bank = self.bank
        missing = set(range(len(self.classes))) - set(bank.labels.tolist())
        return {
            "bank_purity": float(bank.mean_purity) if len(bank) else None,
            "bank_prototypes": len(bank),
            "bank_centres": len(bank.centres),
            "classes_without_prototype": ", ".join(self.classes.names[c] for c in sorted(missing)) or None,
        }

    def predict(self, images: Tensor) -> Prediction:
        """Maps at the resolution of the dense features. Raises MethodError while the bank is empty.

        Every image is decoded on its own, so that its near ties do not fall with the shape of the batch.
        """
        embeddings = self.embed(images)
        with torch.autocast(embeddings.device.type, enabled=False):
            maps = [self._decode(embedding) for embedding in embeddings]
        log_densities = [m.log_density for m in maps if m.log_density is not None]
        return Prediction(
            logits=torch.cat([m.logits for m in maps]),
            log_density=torch.cat(log_densities),
            anomaly={name: torch.cat([m.anomaly[name] for m in maps]) for name in maps[0].anomaly},
            readings={name: torch.cat([m.readings[name] for m in maps]) for name in maps[0].readings},
        )

    def relabel(self, table: Sequence[int], num_classes: int) -> None:
        """Predict other classes with the same bank: class c is read as ``table[c]`` of ``num_classes`` ("bank swap").

        Entries outside 0..num_classes-1 drop the class's prototypes before retrieval. The identity table undoes it;
        the state is not changed. Raises MethodError unless the table has an entry for each class of training.
        """
        self.bank.relabel(table, num_classes)

    def evidence(self) -> Evidence:
        """The prototypes of the bank. Raises MethodError if it is empty."""
        return self.bank.evidence()

    def explain(self, images: Tensor) -> Explanation:
        """The clusters of ``images`` with the k neighbours of each, which are those that vote if ``decode=knn``.

        Raises MethodError while the bank is empty.
        """
        embeddings = self.embed(images)
        with torch.autocast(embeddings.device.type, enabled=False):
            clustered = [self._queries(embedding) for embedding in embeddings]
            found = [self.bank.search(queries, self.config.neighbours) for _, _, queries in clustered]
        return Explanation(
            segments=torch.stack([assignment for assignment, _, _ in clustered]).view_as(embeddings[:, 0]),
            rows=torch.stack([rows for _, rows in found]),
            cosines=torch.stack([cosines for cosines, _ in found]),
        )

    def cluster(self, embeddings: Tensor) -> Tensor:
        """Clusters (B, h, w) of whole images in the bank and in prediction, from unit ``embeddings`` (B, D, h, w)."""
        everything = torch.ones_like(embeddings[:, 0], dtype=torch.bool)
        return self._cluster(embeddings, everything, self._inference_clusters)

    @property
    def _inference_clusters(self) -> int:
        return self.config.inference_clusters or self.config.clusters

    def _unit(self, raw: Tensor) -> Tensor:
        with torch.autocast(raw.device.type, enabled=False):
            return F.normalize(raw.float(), dim=1, eps=NORM_EPS)

    def _cluster(self, embeddings: Tensor, valid: Tensor, clusters: int) -> Tensor:
        return cluster_images(embeddings, valid, clusters, self.config.iterations, self.config.location_weight)

    def _supervised_loss(self, embeddings: Tensor, batch: Batch) -> tuple[Tensor, Observed]:
        """vMF-N over the aligned segments of all ranks' batch and of the memory; and the segments."""
        images, _, height, width = embeddings.shape
        labels = downsample_labels(batch.labels, (height, width))
        clusters = self._cluster(embeddings.detach(), labels != IGNORE, self.config.clusters)
        rows = (labels < len(self.classes)).flatten().nonzero().squeeze(1)
        pixels, labels = _pixels(embeddings).index_select(0, rows), labels.flatten()[rows]
        shape = (images, self.config.clusters, len(self.classes))
        segments = aligned_segments(rows // (height * width), clusters.flatten()[rows], labels, shape)
        own = mean_directions(pixels, segments.ids, len(segments.labels))
        prototypes, prototype_labels, places = self._of_all_ranks(own, segments.labels)
        observed = Observed(prototypes.detach(), prototype_labels)
        remembered, remembered_labels = self.memory.contents()
        if len(rows):
            loss = neighbourhood_loss(
                pixels,
                labels,
                places[segments.ids],
                torch.cat([prototypes, remembered]),
                torch.cat([prototype_labels, remembered_labels]),
                self.config.kappa,
                self.config.leave_one_out,
            )
        else:
            loss = prototypes.sum() * 0
        return self.collectives.pooled(loss, len(rows)), observed

    def _of_all_ranks(self, prototypes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``prototypes`` (S, D) and ``labels`` (S,) of all ranks, and the places (S,) of this one's among them.

        They are in the order that one rank would have, with all images: by class, then rank, then as they were.
        """
        collectives = self.collectives
        keys = collectives.gather_rows(labels * collectives.world_size + collectives.rank)
        order = keys.argsort(stable=True)
        before = (keys % collectives.world_size < collectives.rank).sum()
        places = order.argsort()[before + torch.arange(len(labels), device=labels.device)]
        everywhere = collectives.gather_rows(prototypes).index_select(0, order)
        return everywhere, keys[order] // collectives.world_size, places

    def _unsupervised_loss(self, embeddings: Tensor, batch: Batch, provider: SegmentProvider) -> Tensor:
        """Plain vMF over the regions of all ranks' images; of the labels only padding and void (255) are used."""
        height, width = embeddings.shape[2:]
        valid = subsample(batch.labels, (height, width)) != IGNORE
        regions = subsample(provider(batch), (height, width))
        rows = valid.flatten().nonzero().squeeze(1)
        names = rows // (height * width) * (regions.max() + 1) + regions.flatten()[rows]
        found, ids = names.unique(return_inverse=True)
        pixels = _pixels(embeddings).index_select(0, rows)
        own = mean_directions(pixels, ids, len(found))
        prototypes, _, places = self._of_all_ranks(own, torch.zeros_like(found))
        loss = (
            own_segment_loss(pixels, places[ids], prototypes, self.config.kappa) if len(rows) else prototypes.sum() * 0
        )
        return self.collectives.pooled(loss, len(rows))

    def _bank_rows(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Prototypes of the labelled clusters of one image, the ``index``-th, by the bank's names of its rows.

        A prototype leaves out void pixels and those labelled with another than the majority class, so it equals the
        mean of the majority's pixels for dense labels, while sparse ones still give the mean of whole clusters.
        """
        clusters, classes = self._inference_clusters, len(self.classes)
        embeddings = self.embed(batch.images)
        labels = downsample_labels(batch.labels, (embeddings.shape[2], embeddings.shape[3])).flatten()
        assignment = self.cluster(embeddings).flatten()
        labelled = labels < classes
        pairs = assignment[labelled] * classes + labels[labelled]
        counts = pairs.bincount(minlength=clusters * classes).view(clusters, classes)
        votes, majority = counts.max(dim=1)

        kept = (labels != IGNORE) & (~labelled | (labels == majority[assignment]))
        pixels = _pixels(embeddings)
        prototypes = mean_directions(pixels[kept], assignment[kept], clusters)
        named = (votes > 0).nonzero().squeeze(1)
        return {
            "features": prototypes[named],
            "labels": majority[named],
            "purity": votes[named] / counts[named].sum(dim=1),
            "images": torch.full_like(named, index),
            "clusters": named,
        }

    def _queries(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cluster (h * w,) and unit vector (h * w, D) of each pixel of one image, and what each cluster asks (K, D).

        Clusters without pixels ask too, with zero vectors: shapes stay fixed, and their answers are not read.
        """
        assignment = self.cluster(embedding[None]).flatten()
        pixels = embedding.flatten(1).t().contiguous()
        return assignment, pixels, mean_directions(pixels, assignment, self._inference_clusters)

    def _decode(self, embedding: Tensor) -> Prediction:
        """Prediction, with a batch dimension, of the unit ``embedding`` (D, h, w) of one image."""
        config = self.config
        _, height, width = embedding.shape
        assignment, pixels, queries = self._queries(embedding)
        cosines, neighbours = self.bank.nearest(queries, config.neighbours)
        scores = self.bank.mixture(pixels, config.kappa)

        decoded = {f"{vote} vote": self._voted(neighbours, vote)[assignment] for vote in get_args(Vote)}
        decoded["dense"] = scores.class_scores
        logits = decoded.pop("dense" if config.decode == "dense" else f"{config.vote} vote")
        distance = (1 - cosines.mean(dim=1))[assignment]
        free_energy = -scores.class_scores.amax(dim=1)

        def as_maps(values: Tensor) -> Tensor:
            return values.t().reshape(1, -1, height, width)

        return Prediction(
            logits=as_maps(logits),
            log_density=as_maps(scores.class_log_density),
            anomaly={
                "segsort_knn": distance.view(1, height, width),
                "segsort_density": -scores.log_density.view(1, height, width),
                "segsort_free_energy": free_energy.view(1, height, width),
            },
            readings={name: as_maps(values) for name, values in decoded.items()},
        )

    def _voted(self, neighbours: Tensor, vote: Vote) -> Tensor:
        """Log-posteriors (K, C) of the votes of the ``neighbours`` (K, k) of each segment."""
        classes, votes = self.bank.num_classes, neighbours.shape[1]
        shares = self.bank.votes(neighbours, balanced=vote == "balanced")
        smoothing = self.config.vote_smoothing
        return ((votes * shares + smoothing / classes) / (votes + smoothing)).log()


def _pixels(embeddings: Tensor) -> Tensor:
    """Rows (B * h * w, D) of ``embeddings`` (B, D, h, w)."""
    return embeddings.permute(0, 2, 3, 1).flatten(0, 2)
