import queue
import threading
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base import Batch, Collectives, Context, Features, Method, Network


class TinyNetwork(Network):
    """Two strided convolutions: stride 4, no pretrained weights, milliseconds per step."""

    out_channels = 12
    stride = 4
    pyramid_channels = (8, 12)
    pyramid_strides = (2, 4)

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(8, 12, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Features:
        fine = torch.tanh(self.fine(images - 0.5))
        coarse = torch.tanh(self.coarse(fine))
        return Features(dense=coarse, pyramid=(fine, coarse))


class SeenNetwork(Network):
    """Its features are the pixels themselves, which a test can choose."""

    out_channels = 3
    stride = 1
    pyramid_channels = ()
    pyramid_strides = ()

    def forward(self, images: Tensor) -> Features:
        return Features(dense=images, pyramid=())


class TinyClasses:
    """``size`` classes without meaning."""

    def __init__(self, size: int) -> None:
        self.names = tuple(f"class {index}" for index in range(size))
        self.colours = tuple((index, index, index) for index in range(size))

    def __len__(self) -> int:
        return len(self.names)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose by several threads, most of all where tests run beside each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny_network() -> Callable[[], Network]:
    return TinyNetwork


@pytest.fixture
def fitted(make_context: Callable[..., Context]) -> Callable[..., Method]:
    """A read-out of ``features`` (n, 3) with ``labels`` (n,), which come in several images."""

    def make(method_class: type[Method], features: Tensor, labels: Tensor, classes: int, **settings: Any) -> Method:
        method = method_class(method_class.Config(**settings), SeenNetwork(), TinyClasses(classes)).eval()
        parts = [
            Batch(images=x.t()[None, :, None], labels=y[None, None])
            for x, y in zip(features.split(100), labels.split(100), strict=True)
        ]
        context = make_context()
        context.images = lambda first=0, every=1: iter(parts[first::every])
        with torch.no_grad():
            method.finish(context)
        return method

    return make


@pytest.fixture
def tiny_classes() -> Callable[[int], TinyClasses]:
    return TinyClasses


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., Context]:
    def make(
        steps: int = 100,
        step: int = 0,
        collectives: Collectives | None = None,
        label_maps: Callable[[], Iterator[Tensor]] = lambda: iter(()),
        **other: Any,
    ) -> Context:
        return Context(
            device=torch.device("cpu"),
            seed=0,
            steps=steps,
            step=step,
            collectives=collectives or Collectives(),
            cache=tmp_path,
            label_maps=label_maps,
            images=lambda first=0, every=1: iter(()),
            **other,
        )

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    def make(classes: int, size: tuple[int, int] = (33, 46), images: int = 2, seed: int = 0) -> Batch:
        """Blocky labels with an ignored and an unlabelled corner; images that show the labels."""
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.randint(classes, (images, 1, 5, 6), generator=generator).float()
        labels = nn.functional.interpolate(coarse, size=size)[:, 0].long()
        colours = torch.rand(classes, 3, generator=generator)
        pictures = colours[labels].permute(0, 3, 1, 2)
        pictures = (pictures + 0.05 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
        labels[:, :5, :5] = 255
        labels[:, -5:, :5] = 254
        return Batch(images=pictures, labels=labels)

    return make


@pytest.fixture
def two_ranks() -> Callable[..., list[Any]]:
    """Run ``function(collectives)`` as two ranks in two threads that send each other what they gather."""

    def run(function: Callable[[Collectives], Any], world_size: int = 2) -> list[Any]:
        ranks = range(world_size)
        sent: dict[tuple[int, int], queue.Queue[Tensor | None]] = {
            pair: queue.Queue() for pair in product(ranks, ranks)
        }
        results: list[Any] = [None] * world_size
        errors: list[BaseException] = []

        class Threaded(Collectives):
            def __init__(self, rank: int) -> None:
                self.rank = rank
                self.world_size = world_size

            def all_gather(self, tensor: Tensor) -> Tensor:
                for other in ranks:
                    sent[self.rank, other].put(tensor.clone())
                gathered = [sent[other, self.rank].get() for other in ranks]
                if any(part is None for part in gathered):
                    raise RuntimeError("another rank has ended and gathers no more")
                return torch.stack(gathered)

            def all_reduce_sum(self, tensor: Tensor) -> Tensor:
                return self.all_gather(tensor).sum(dim=0)

        def target(rank: int) -> None:
            try:
                results[rank] = function(Threaded(rank))
            except BaseException as error:  # noqa: BLE001 - handed to the test below
                errors.append(error)
            finally:
                for other in ranks:
                    sent[rank, other].put(None)

        threads = [threading.Thread(target=target, args=(rank,)) for rank in ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    return run
