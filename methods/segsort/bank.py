"""The prototype bank: labelled segments of the training set, retrieved to label those of an image.

Shapes: P prototypes in the bank, D dimensions, C classes, Q queries, k neighbours, M centres of the compressed bank.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from methods.base import Collectives, MethodError
from methods.capabilities import Evidence
from methods.segsort.clustering import spherical_kmeans
from methods.segsort.density import FLOOR, log_normaliser, weighted_sums

CHUNK_ELEMENTS = 1 << 24
"""Entries of the (queries, bank) similarity matrix that exist at a time."""
COMPRESS_ITERATIONS = 20
"""k-means iterations that compress a class's prototypes."""


class Retrieval(Protocol):
    """Finds nearest neighbours by cosine among unit vectors."""

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines (Q, k), largest first, and rows (Q, k) int64 of the ``k`` nearest to ``queries`` (Q, D)."""


class ExactRetrieval:
    """Exact search with torch alone, on the bank's device, in chunks of the bank and of the queries."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """See ``Retrieval.nearest``; ``k`` is at most the number of rows."""
        bank_rows = min(len(self.features), 1 << 17)
        parts = queries.split(max(CHUNK_ELEMENTS // bank_rows, 1))
        found = [self._nearest(part, k, bank_rows) for part in parts]
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    def _nearest(self, queries: Tensor, k: int, bank_rows: int) -> tuple[Tensor, Tensor]:
        cosines = queries.new_empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
        for first, part in _chunks(self.features, bank_rows):
            values, indices = (queries @ part.t()).topk(min(k, len(part)), dim=1)
            cosines, rows = torch.cat([cosines, values], dim=1), torch.cat([rows, indices + first], dim=1)
            cosines, best = cosines.topk(min(k, cosines.shape[1]), dim=1)
            rows = rows.gather(1, best)
        return cosines, rows


def import_faiss() -> Any:
    """The optional package faiss. Raises MethodError where it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise MethodError(
            "segsort's retrieval=faiss needs faiss, which is not installed; pip install 'genseg-bench[faiss]', "
            "or set method.retrieval=torch"
        ) from None


class FaissRetrieval:
    """Exact search by faiss on the CPU, for banks of millions of rows. Needs the optional package faiss."""

    def __init__(self, features: Tensor) -> None:
        self.index = import_faiss().IndexFlatIP(features.shape[1])
        self.index.add(features.detach().float().cpu().contiguous().numpy())

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """See ``Retrieval.nearest``."""
        cosines, rows = self.index.search(queries.detach().float().cpu().contiguous().numpy(), k)
        return torch.from_numpy(cosines).to(queries), torch.from_numpy(rows).to(queries.device)


RETRIEVALS: dict[str, type[ExactRetrieval] | type[FaissRetrieval]] = {"torch": ExactRetrieval, "faiss": FaissRetrieval}


class MixtureScores(NamedTuple):
    """What the compressed bank says of N embeddings."""

    class_scores: Tensor
    """(N, C) l_c = log sum over the class's centres of weight * exp(kappa * cosine): log p(v, c) up to a constant."""
    class_log_density: Tensor
    """(N, C) log p(v | c) in nats: each class's centres as a vMF mixture on the sphere."""
    log_density: Tensor
    """(N,) log p(v) in nats: all centres as one mixture."""


class PrototypeBank(nn.Module):
    """Prototypes with labels, their compression to some centres per class, and both ways to decode with them.

    Buffers take the size of what is built or loaded. ``relabel`` changes how labels are read, not the state.
    Raises MethodError at once if ``retrieval`` needs a package that is not installed.
    """

    ROWS = ("features", "labels", "purity", "images", "clusters")
    CENTRES = ("centres", "centre_labels", "centre_weights")
    features: Tensor
    """(P, D) unit vectors."""
    labels: Tensor
    """(P,) int64, the majority class of the cluster that each stands for."""
    purity: Tensor
    """(P,) share of the majority class among the cluster's labelled pixels."""
    images: Tensor
    """(P,) int64: which training image, in the order of ``Context.images``."""
    clusters: Tensor
    """(P,) int64: which cluster of that image."""
    mean_purity: Tensor
    """Scalar: mean purity over all clusters with a label, those below the threshold included."""
    centres: Tensor
    """(M, D) unit vectors."""
    centre_labels: Tensor
    """(M,) int64."""
    centre_weights: Tensor
    """(M,) float32: how many prototypes each centre stands for."""

    def __init__(self, dim: int, num_classes: int, retrieval: Literal["torch", "faiss"] = "torch") -> None:
        super().__init__()
        if retrieval == "faiss":
            import_faiss()  # before hours of training rather than after them, when the bank is first searched
        self.source_classes = self.num_classes = num_classes
        self.retrieval = retrieval
        for name in ("features", "centres"):
            self.register_buffer(name, torch.zeros(0, dim))
        for name in ("labels", "images", "clusters", "centre_labels"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        for name in ("purity", "centre_weights"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("mean_purity", torch.zeros(()))
        self._table: tuple[int, ...] = tuple(range(num_classes))
        self._index: tuple[Retrieval, Evidence] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def build(self, parts: Sequence[dict[str, Tensor]], purity_threshold: float, collectives: Collectives) -> None:
        """Fill the bank with ``parts``, rows by the names in ``ROWS``, of all ranks, in the order of the images.

        Clusters less pure than ``purity_threshold`` are left out. The result is the same on every rank.
        """
        rows = {name: torch.cat([getattr(self, name)[:0], *(part[name] for part in parts)]) for name in self.ROWS}
        gathered = {name: collectives.gather_rows(rows[name]) for name in self.ROWS}
        purity = gathered["purity"]
        self.mean_purity = purity.mean() if len(purity) else torch.zeros_like(self.mean_purity)
        order = gathered["clusters"].argsort(stable=True)
        order = order[gathered["images"][order].argsort(stable=True)]
        order = order[purity[order] >= purity_threshold]
        for name, values in gathered.items():
            setattr(self, name, values[order].contiguous())
        self._index = None

    def compress(self, per_class: int, generator: torch.Generator) -> None:
        """Reduce every class to at most ``per_class`` centres by spherical k-means, weighted by what they stand for.

        ``generator`` is on the CPU; it chooses the prototypes at which centres start.
        """
        centres, labels, weights = [], [], []
        for label in self.labels.unique().tolist():
            vectors = self.features[self.labels == label]
            counts = vectors.new_ones(len(vectors))
            if len(vectors) > per_class:
                start = torch.randperm(len(vectors), generator=generator)[:per_class].to(vectors.device)
                nearest = (vectors @ vectors[start].t()).argmax(dim=1)
                everything = torch.ones_like(nearest, dtype=torch.bool)
                found = spherical_kmeans(vectors[None], everything[None], nearest[None], per_class, COMPRESS_ITERATIONS)
                used = found.counts[0] > 0
                vectors, counts = found.centres[0][used], found.counts[0][used]
            centres.append(vectors)
            labels.append(torch.full((len(vectors),), label, device=vectors.device))
            weights.append(counts)
        self.centres, self.centre_labels, self.centre_weights = (
            torch.cat(centres),
            torch.cat(labels),
            torch.cat(weights),
        )

    def relabel(self, table: Sequence[int], num_classes: int) -> None:
        """Read class c as ``table[c]`` of ``num_classes`` classes; entries outside 0..num_classes-1 drop the class.

        Dropped prototypes are not retrieved. ``table`` always maps the classes of training, whatever came before.
        Raises MethodError unless the table has an entry for each of them.
        """
        if len(table) != self.source_classes:
            raise MethodError(
                f"the bank has {self.source_classes} classes but the table maps {len(table)}; give one entry per class"
            )
        self._table, self.num_classes = tuple(int(entry) for entry in table), num_classes
        self._index = None

    def evidence(self) -> Evidence:
        """The prototypes that can be retrieved: all but those that relabelling drops.

        Raises MethodError if there is none.
        """
        return self._searchable()[1]

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines (Q, k) and rows (Q, k) of ``evidence`` nearest to ``queries`` (Q, D); k shrinks to the bank.

        Raises MethodError if the bank, or what relabelling left of it, is empty.
        """
        retrieval, evidence = self._searchable()
        return retrieval.nearest(queries, min(k, len(evidence.labels)))

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines (Q, k) and labels (Q, k) of what ``search`` finds."""
        cosines, rows = self.search(queries, k)
        return cosines, self.evidence().labels[rows]

    def votes(self, labels: Tensor, balanced: bool) -> Tensor:
        """Share (Q, C) of each class among the ``labels`` (Q, k) of neighbours.

        ``balanced`` divides votes by the class's number of prototypes, since frequent classes are retrieved more.
        """
        weights = torch.ones(self.num_classes, device=labels.device)
        if balanced:
            every = self._read(self.labels)
            weights = 1 / every[every >= 0].bincount(minlength=self.num_classes).clamp(min=1)
        counts = torch.zeros(len(labels), self.num_classes, device=labels.device)
        counts.scatter_add_(1, labels, weights[labels])
        return counts / counts.sum(dim=1, keepdim=True)

    def mixture(self, vectors: Tensor, kappa: float) -> MixtureScores:
        """Class-wise log-sum-exp and densities of ``vectors`` (N, D) under the compressed bank."""
        labels = self._read(self.centre_labels)
        kept = labels >= 0
        labels, sizes = labels[kept], self.centre_weights[kept]
        weights = torch.zeros(len(labels), self.num_classes, device=vectors.device)
        weights.scatter_(1, labels.unsqueeze(1), sizes.unsqueeze(1))
        sums = weighted_sums(vectors, self.centres[kept], weights, kappa)
        constant = log_normaliser(vectors.shape[1], kappa)
        totals = weights.sum(dim=0)
        return MixtureScores(
            class_scores=sums.clamp(min=FLOOR).log(),
            class_log_density=(sums / totals.clamp(min=1)).clamp(min=FLOOR).log() + constant,
            log_density=(sums.sum(dim=1) / totals.sum()).clamp(min=FLOOR).log() + constant,
        )

    def _searchable(self) -> tuple[Retrieval, Evidence]:
        if self._index is None:
            labels = self._read(self.labels)
            kept = labels >= 0
            columns = (self.features, labels, self.images, self.clusters)
            evidence = Evidence(*(columns if bool(kept.all()) else (column[kept] for column in columns)))
            if not len(evidence.labels):
                raise MethodError(
                    "segsort's prototype bank is empty; train the run to its end with labelled images, "
                    "or map at least one of its classes"
                )
            self._index = RETRIEVALS[self.retrieval](evidence.features), evidence
        return self._index

    def _read(self, labels: Tensor) -> Tensor:
        """Labels as ``relabel`` said, -1 for those that it drops."""
        table = torch.tensor(self._table, device=labels.device)
        return torch.where((table >= 0) & (table < self.num_classes), table, -1)[labels]

    def _apply(self, *args: Any, **kwargs: Any) -> PrototypeBank:
        self._index = None
        nn.Module._apply(self, *args, **kwargs)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the sizes of the buffers from the state."""
        for name in (*self.ROWS, *self.CENTRES):
            stored, own = state_dict.get(prefix + name), getattr(self, name)
            if stored is not None and stored.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(stored.shape))
        self._index = None
        super()._load_from_state_dict(state_dict, prefix, *args)


def _chunks(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(rows), size):
        yield first, rows[first : first + size]
