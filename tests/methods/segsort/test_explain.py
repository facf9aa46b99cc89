import pytest
import torch
from torch.nn import functional as F

from methods.base import MethodError, downsample_labels
from methods.segsort import SegSort


@pytest.fixture
def build(tiny_network, tiny_classes, make_context, make_batch):
    """A SegSort with the bank of four images, and these images."""

    def make(**config):
        torch.manual_seed(0)
        config = {"dim": 8, "clusters": 9, "neighbours": 5} | config
        method = SegSort(SegSort.Config(**config), tiny_network(), tiny_classes(4)).eval()
        made = [make_batch(4, images=1, seed=seed) for seed in range(4)]
        context = make_context()
        context.images = lambda first=0, every=1: iter(made[first::every])
        method.prepare(context)
        method.finish(context)
        return method, made

    return make


def mean_of(method, images, segments, k):
    return F.normalize(method.embed(images)[0][:, segments[0] == k].sum(1), dim=0)


def test_explained_rows_are_the_votes_of_the_prediction(build, make_batch):
    method, _ = build()
    images = make_batch(4, seed=9).images
    explanation, posterior = method.explain(images), method.predict(images).logits.softmax(1)
    labels = method.evidence().labels[explanation.rows]
    shares = (F.one_hot(labels, 4).float().sum(2) + 1 / 4) / (5 + 1)
    for image, segments in enumerate(explanation.segments):
        torch.testing.assert_close(posterior[image], shares[image][segments].permute(2, 0, 1))


def test_rows_and_cosines_are_those_of_a_full_sort(build, make_batch):
    method, _ = build()
    images = make_batch(4, images=1, seed=9).images
    explanation, features = method.explain(images), method.evidence().features
    for k in explanation.segments.unique().tolist():
        cosines = features @ mean_of(method, images, explanation.segments, k)
        expected = cosines.sort(descending=True)
        torch.testing.assert_close(explanation.cosines[0, k], expected.values[:5])
        torch.testing.assert_close(cosines[explanation.rows[0, k]], expected.values[:5])


@pytest.mark.parametrize("threshold", [0.0, 0.9])
@pytest.mark.parametrize("table", [[0, 1, 2, 3], [255, 1, 0, 255]])
def test_evidence_is_found_where_it_says_it_is_whatever_was_dropped(build, threshold, table):
    method, batches = build(purity_threshold=threshold)
    method.relabel(table, 4)
    evidence = method.evidence()
    assert set(evidence.labels.unique().tolist()) <= {label for label in table if label < 4}
    for row in range(len(evidence.labels)):
        batch, label = batches[evidence.images[row]], table.index(evidence.labels[row])
        segments = method.explain(batch.images).segments
        labels = downsample_labels(batch.labels, segments.shape[1:])
        kept = (segments == evidence.segments[row]) & ((labels == label) | (labels == 254))
        expected = F.normalize(method.embed(batch.images)[0][:, kept[0]].sum(1), dim=0)
        torch.testing.assert_close(evidence.features[row], expected, rtol=0, atol=1e-5)
    assert method.explain(batches[0].images).rows.max() < len(evidence.labels)


def test_images_are_explained_alike_alone_and_beside_others(build, make_batch):
    method, _ = build()
    images = make_batch(4, images=3, seed=9).images
    together, alone = method.explain(images), method.explain(images[1:2])
    assert torch.equal(together.segments[1:2], alone.segments)
    torch.testing.assert_close(together.cosines[1:2], alone.cosines)


def test_an_empty_bank_explains_nothing(build, make_batch):
    method, _ = build()
    method.relabel([255] * 4, 4)
    for call in (method.evidence, lambda: method.explain(make_batch(4).images)):
        with pytest.raises(MethodError, match="bank is empty"):
            call()
