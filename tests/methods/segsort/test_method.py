import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.base import Batch, Collectives, Features, MethodError, Network
from methods.segsort import SegSort
from methods.segsort import bank as bank_module
from methods.segsort.bank import PrototypeBank
from methods.segsort.clustering import cluster_images
from methods.segsort.density import log_normaliser
from methods.segsort.regions import watershed_regions


class Pass(Network):
    """Hands images on as features: what the head sees is what the test made."""

    stride = 1

    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels

    def forward(self, images):
        return Features(dense=images, pyramid=())


@pytest.fixture
def build(tiny_network, tiny_classes, make_context):
    """A SegSort on the tiny network, with a finished bank if there are batches for it."""

    def make(classes=4, seed=0, finish=(), **config):
        torch.manual_seed(seed)
        config = {"dim": 8, "clusters": 9, "neighbours": 5} | config
        method = SegSort(SegSort.Config(**config), tiny_network(), tiny_classes(classes))
        method.prepare(make_context())
        if finish:
            method.eval().finish(context_of(make_context(), finish))
        return method

    return make


@pytest.fixture
def build_plain(tiny_classes, make_context):
    """A SegSort with the normalised images themselves as embeddings."""

    def make(classes=3, dim=4, **config):
        method = SegSort(SegSort.Config(dim=dim, **config), Pass(dim), tiny_classes(classes))
        method.embedding = nn.Identity()
        method.prepare(make_context())
        return method.eval()

    return make


def context_of(context, batches):
    """``context`` with the images of ``batches``, one by one, for training."""

    def images(first=0, every=1):
        pairs = [pair for batch in batches for pair in zip(batch.images, batch.labels, strict=True)]
        for image, label in pairs[first::every]:
            yield Batch(image[None], label[None])

    return dataclasses.replace(context, images=images)


def maps_of(prediction):
    return {"logits": prediction.logits, "log_density": prediction.log_density, **prediction.anomaly}


def striped(directions, noise=0.02, size=(12, 12), seed=0):
    """One image of vertical stripes, one per direction (C, D), with their labels."""
    columns = torch.arange(size[1]) * len(directions) // size[1]
    labels = columns.expand(size)
    generator = torch.Generator().manual_seed(seed)
    image = directions[labels].permute(2, 0, 1) + noise * torch.randn(directions.shape[1], *size, generator=generator)
    return Batch(image[None], labels[None].clone())


def test_prediction_has_posteriors_densities_and_scores(build, make_batch):
    batch = make_batch(4)
    for decode in ("knn", "dense"):
        prediction = build(finish=[batch], decode=decode).predict(batch.images)
        assert prediction.logits.shape == prediction.log_density.shape == (2, 4, 9, 12)
        assert set(prediction.anomaly) == {"segsort_knn", "segsort_density", "segsort_free_energy"}
        assert all(m.shape == (2, 9, 12) for m in prediction.anomaly.values())
        assert all(torch.isfinite(m).all() for m in maps_of(prediction).values())


def test_knn_posteriors_are_smoothed_shares_of_whole_segments(build, make_batch):
    batch = make_batch(4)
    method = build(finish=[batch])
    prediction = method.predict(batch.images)
    posterior = prediction.logits.softmax(1)
    torch.testing.assert_close(prediction.logits.logsumexp(1), torch.zeros(2, 9, 12))
    votes = posterior * (5 + 1) - 1 / 4
    torch.testing.assert_close(votes, votes.round(), atol=1e-4, rtol=0)
    assert len(posterior[0].flatten(1).unique(dim=1).T) <= 9
    segments = method.cluster(method.embed(batch.images))
    for image, cells in zip(prediction.anomaly["segsort_knn"], segments, strict=True):
        assert all(len(image[cells == k].unique()) == 1 for k in cells.unique())


def test_every_way_of_decoding_stands_beside_the_chosen_one(build, make_batch):
    batch = make_batch(4)
    ways = {
        "plain vote": {"decode": "knn", "vote": "plain"},
        "balanced vote": {"decode": "knn", "vote": "balanced"},
        "dense": {"decode": "dense"},
    }
    found = {name: build(finish=[batch], **chosen).predict(batch.images) for name, chosen in ways.items()}
    for name, prediction in found.items():
        assert set(prediction.readings) == ways.keys() - {name}
        for other, reading in prediction.readings.items():
            torch.testing.assert_close(reading, found[other].logits)
    assert not torch.equal(found["plain vote"].logits, found["balanced vote"].logits)


def test_scores_are_what_they_are_named(build, make_batch):
    batch = make_batch(4)
    method = build(finish=[batch], decode="dense", centres=3)
    prediction = method.predict(batch.images)
    torch.testing.assert_close(prediction.anomaly["segsort_free_energy"], -prediction.logits.amax(1))
    # p(v) is the mean of the classes' densities by their number of prototypes.
    shares = method.bank.labels.bincount(minlength=4) / len(method.bank)
    mixture = (prediction.log_density.permute(0, 2, 3, 1) + shares.log()).logsumexp(3)
    torch.testing.assert_close(prediction.anomaly["segsort_density"], -mixture, rtol=1e-4, atol=1e-4)
    # The mean over all k neighbours, not the nearest alone.
    found = method.explain(batch.images)
    distances = 1 - found.cosines.mean(2)
    expected = torch.stack([d[cells] for d, cells in zip(distances, found.segments, strict=True)])
    assert found.cosines.shape[2] > 1
    torch.testing.assert_close(prediction.anomaly["segsort_knn"], expected)


def test_a_bank_of_pure_prototypes_with_one_neighbour_is_nearest_class_mean(build_plain):
    directions = F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    method = build_plain(neighbours=1, location_weight=0.0, clusters=9)
    means = F.normalize(directions, dim=1)
    rows = {
        "features": means,
        "labels": torch.arange(3),
        "purity": torch.ones(3),
        "images": torch.arange(3),
        "clusters": torch.zeros(3, dtype=torch.int64),
    }
    method.bank.build([rows], 0.0, Collectives())
    method.bank.compress(5, torch.Generator())
    image = torch.randn(1, 4, 10, 11, generator=torch.Generator().manual_seed(2))
    embeddings = method.embed(image)
    segments = method.cluster(embeddings)[0]
    found = method.predict(image).logits.argmax(1)[0]
    for k in segments.unique():
        mean = F.normalize(embeddings[0, :, segments == k].sum(1), dim=0)
        assert (found[segments == k] == (means @ mean).argmax()).all()
    method.config = dense = method.config.model_copy(update={"decode": "dense"})
    pixelwise = torch.einsum("cd,bdhw->bchw", means, embeddings)
    assert torch.equal(method.predict(image).logits.argmax(1), pixelwise.argmax(1))
    torch.testing.assert_close(method.predict(image).logits, dense.kappa * pixelwise)


class Halved(Pass):
    """Features are every other pixel."""

    stride = 2

    def forward(self, images):
        return Features(dense=images[..., ::2, ::2], pyramid=())


class Enlarged(Pass):
    """Those of ``Halved``, cell by cell brought back to the size of the image."""

    def forward(self, images):
        height, width = images.shape[2:]
        dense = F.interpolate(images[..., ::2, ::2], scale_factor=2, mode="bilinear", align_corners=False)
        return Features(dense=dense[..., :height, :width], pyramid=())


@pytest.mark.parametrize("decode", ["knn", "dense"])
@pytest.mark.parametrize("size", [(12, 12), (13, 11)])
def test_enlarged_embeddings_are_those_of_a_network_with_features_for_every_pixel(
    tiny_classes, make_context, size, decode
):
    batch = striped(F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(3)), dim=1), 0.5, size)
    found = []
    for network, settings in ((Halved(4), {"enlarge_embeddings": True}), (Enlarged(4), {})):
        config = SegSort.Config(dim=4, clusters=9, neighbours=3, centres=2, decode=decode, **settings)
        method = SegSort(config, network, tiny_classes(3)).eval()
        method.embedding = nn.Identity()
        method.finish(context_of(make_context(), [batch]))
        found.append((method.predict(batch.images), method.bank.state_dict(), method.explain(batch.images).segments))
    (here, bank, segments), (there, expected, expected_segments) = found
    assert maps_of(here).keys() == maps_of(there).keys()
    for one, two in ((maps_of(here), maps_of(there)), (here.readings, there.readings), (bank, expected)):
        torch.testing.assert_close(one, two)
    assert torch.equal(segments, expected_segments)
    assert all(m.shape[-2:] == size for m in (*maps_of(here).values(), *here.readings.values(), segments))


def test_training_sorts_cells_also_where_prediction_sorts_pixels(build, make_batch):
    terms = [build(enlarge_embeddings=on).losses(make_batch(4)).terms for on in (False, True)]
    assert torch.equal(terms[0]["segment_sorting"], terms[1]["segment_sorting"])


def test_separable_stripes_are_learnt_by_heart(build_plain, make_context):
    directions = torch.eye(4)[:3]
    method = build_plain(clusters=9, neighbours=3)
    batch = striped(directions)
    method.finish(context_of(make_context(), [batch]))
    assert method.bank.mean_purity == 1
    assert torch.equal(method.predict(striped(directions, seed=5).images).logits.argmax(1), batch.labels)


def test_prototypes_of_the_bank_leave_out_void_and_minority_but_not_unlabelled_pixels(build_plain, make_context):
    method = build_plain(clusters=1)
    image = F.normalize(torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.tensor([[[1, 1, 1], [2, 254, 255], [1, 2, 254]]])
    method.finish(context_of(make_context(), [Batch(image, labels)]))
    kept = (labels[0] == 1) | (labels[0] == 254)
    torch.testing.assert_close(method.bank.features[0], F.normalize(image[0, :, kept].sum(1), dim=0))
    assert method.bank.labels.tolist() == [1]
    assert method.bank.purity.item() == pytest.approx(4 / 6)
    assert method.bank.mean_purity.item() == pytest.approx(4 / 6)


def test_the_bank_has_a_row_for_each_labelled_cluster_at_most(build, make_batch, make_context):
    batches = [make_batch(4, seed=s) for s in range(3)]
    method = build(finish=batches)
    assert len(method.bank) <= 9 * 6
    assert torch.equal(method.bank.images.unique(), torch.arange(6))
    keys = method.bank.images * 9 + method.bank.clusters
    assert torch.equal(keys, keys.sort().values)
    assert len(keys.unique()) == len(keys)
    blank = dataclasses.replace(batches[0], labels=torch.full_like(batches[0].labels, 254))
    with pytest.raises(MethodError, match="label some training pixels"):
        method.finish(context_of(make_context(), [blank]))


def test_facts_say_what_the_bank_is_made_of(build_plain, make_context):
    method = build_plain(classes=4, clusters=2, centres=1, location_weight=0.0)
    assert method.facts() == {
        "bank_purity": None,
        "bank_prototypes": 0,
        "bank_centres": 0,
        "classes_without_prototype": "class 0, class 1, class 2, class 3",
    }
    batch = striped(torch.eye(4)[[1, 2]], noise=0)
    batch.labels[:, :, 6:] += 1
    batch.labels[:, :3, :6] = 3  # a quarter of the first cluster, which keeps its majority, class 0
    method.finish(context_of(make_context(), [batch, batch, batch]))
    expected = {
        "bank_purity": 0.875,
        "bank_prototypes": 6,
        "bank_centres": 2,
        "classes_without_prototype": "class 1, class 3",
    }
    assert method.facts() == expected
    method.relabel([0, 0, 1, 1], 2)
    assert method.facts() == expected


def test_ranks_build_the_bank_of_one(build, make_batch, make_context, two_ranks):
    batches = [make_batch(4, seed=0), make_batch(4, images=1, seed=7)]  # three images: the ranks' shares differ
    expected = build(finish=batches)
    methods = [build(), build()]

    def rank(collectives):
        method = methods[collectives.rank].eval()
        method.finish(context_of(make_context(collectives=collectives), batches))
        return method

    for method in two_ranks(rank):
        for name in (*PrototypeBank.ROWS, *PrototypeBank.CENTRES, "mean_purity"):
            torch.testing.assert_close(getattr(method.bank, name), getattr(expected.bank, name))


def test_an_image_is_predicted_alike_alone_and_beside_others(build, make_batch):
    batch = make_batch(4, images=3)
    method = build(finish=[batch])
    together, alone = method.predict(batch.images), method.predict(batch.images[1:2])
    for name, value in maps_of(together).items():
        torch.testing.assert_close(value[1:2], maps_of(alone)[name])


@pytest.mark.parametrize("size", [(4, 4), (5, 60), (60, 3), (8, 8)])
def test_tiny_and_narrow_images_are_trained_on_and_predicted(build, make_batch, size):
    method = build(finish=[make_batch(4)], clusters=25)
    prediction = method.predict(torch.rand(1, 3, *size))
    assert all(torch.isfinite(m).all() for m in maps_of(prediction).values())
    labels = torch.randint(4, (2, *size))
    loss = method.losses(Batch(torch.rand(2, 3, *size), labels)).terms["segment_sorting"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters())


def test_a_batch_without_labels_has_zero_loss_with_a_graph(build, make_batch, make_context):
    for variant in ("supervised", "unsupervised"):
        method = build(variant=variant)
        batch = make_batch(4)
        batch.labels.fill_(255)
        terms, observed = method.losses(batch)
        loss = terms["segment_sorting"]
        loss.backward()
        method.after_step([observed], make_context())
        assert loss.item() == 0
        assert method.embedding.weight.grad.abs().sum() == 0


def test_unlabelled_pixels_are_clustered_but_have_no_loss(build_plain):
    method = build_plain(clusters=4)
    batch = striped(torch.eye(4)[:3], noise=0.5)
    batch.labels[:, :, 6:] = 254
    pixels = batch.images.requires_grad_()
    batch.images.retain_grad()
    loss = method.losses(batch).terms["segment_sorting"]
    loss.backward()
    assert (pixels.grad[..., 6:] == 0).all()
    assert pixels.grad[..., :6].abs().sum() > 0

    def without(label):
        """The loss where other pixels stand in the unlabelled half, which is labelled so."""
        images = pixels.detach().clone()
        images[..., 6:] = images[..., 6:].flip(1)
        labels = batch.labels.masked_fill(batch.labels == 254, label)
        return method.losses(Batch(images, labels)).terms["segment_sorting"]

    assert without(254) != pytest.approx(loss.item(), rel=1e-3)
    void = Batch(pixels.detach(), batch.labels.masked_fill(batch.labels == 254, 255))
    torch.testing.assert_close(without(255), method.losses(void).terms["segment_sorting"])


def loss_by_definition(batch, classes, kappa, leave_one_out, clusters, iterations, location_weight):
    """vMF-N pixel by pixel, of images that are embeddings, without a memory."""
    embeddings, labels = F.normalize(batch.images, dim=1), batch.labels
    assignment = cluster_images(embeddings, labels != 255, clusters, iterations, location_weight)
    segments = {}
    for key in torch.stack(
        [torch.where(labels < classes)[0], assignment[labels < classes], labels[labels < classes]]
    ).t():
        b, k, c = key.tolist()
        segments[b, k, c] = F.normalize(embeddings[b][:, (assignment[b] == k) & (labels[b] == c)].sum(1), dim=0)
    terms = []
    for b, y, x in (labels < classes).nonzero().tolist():
        own = b, int(assignment[b, y, x]), int(labels[b, y, x])
        weight = {key: (kappa * (mu @ embeddings[b, :, y, x])).exp() for key, mu in segments.items()}
        if leave_one_out and sum(key[2] == own[2] for key in segments) > 1:
            del weight[own]
        terms.append(sum(weight.values()).log() - sum(w for key, w in weight.items() if key[2] == own[2]).log())
    return torch.stack(terms).mean()


TRAINING = {"kappa": 10.0, "leave_one_out": True, "clusters": 9, "iterations": 10, "location_weight": 1.0}


@pytest.mark.parametrize(
    "changed",
    [{}, {"kappa": 3.0}, {"leave_one_out": False}, {"clusters": 4}, {"iterations": 1}, {"location_weight": 4.0}],
)
def test_every_switch_of_training_is_in_the_loss_as_defined(build_plain, changed):
    batch = striped(torch.eye(4)[:3], noise=0.6, size=(9, 10))
    batch.labels[:, 2:5, 3:] = 254
    batch.labels[:, 7:, :4] = 255
    found = build_plain(**TRAINING | changed).losses(batch).terms["segment_sorting"]
    torch.testing.assert_close(found, loss_by_definition(batch, 3, **TRAINING | changed))
    if changed:
        assert found != pytest.approx(loss_by_definition(batch, 3, **TRAINING).item(), rel=1e-3)


@pytest.mark.parametrize("kappa", [10.0, 3.0])
def test_the_unsupervised_loss_is_the_own_regions_share_at_its_concentration(build_plain, kappa):
    method = build_plain(variant="unsupervised", regions="files", kappa=kappa)
    batch = striped(torch.eye(4)[:3], noise=0.5)
    batch.regions = batch.labels
    pixels = F.normalize(batch.images, dim=1)[0].flatten(1).t()
    means = torch.stack([F.normalize(pixels[batch.labels.flatten() == c].sum(0), dim=0) for c in range(3)])
    expected = F.cross_entropy(kappa * pixels @ means.t(), batch.labels.flatten())
    torch.testing.assert_close(method.losses(batch).terms["segment_sorting"], expected)


@pytest.mark.parametrize("strength", [0.05, 0.5])
def test_regions_merge_below_the_contour_strength_that_is_asked_for(build, strength):
    method = build(variant="unsupervised", contour_strength=strength)
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    found = method.segment_provider(Batch(image, torch.zeros(1, 40, 40, dtype=torch.int64)))
    expected = watershed_regions(image[0].permute(1, 2, 0).numpy(), strength)
    assert found[0].tolist() == expected.tolist()
    assert (len(found.unique()) > 1) == (strength == 0.05)


@pytest.mark.parametrize("batches", [1, 3])
def test_as_many_batches_and_prototypes_are_remembered_as_asked_for(build, make_batch, make_context, batches):
    method = build(memory_batches=batches, memory_rows=5)
    for step in range(4):
        batch = make_batch(4, seed=step)
        method.after_step([method.losses(batch).observed], make_context(step=step))
        assert method.memory.valid.any(dim=1).sum() == min(step + 1, batches)
    assert method.memory.valid.sum() == 5 * batches


def logits_by_definition(method, image, neighbours, vote, vote_smoothing, iterations, location_weight):
    """Log-posteriors (C, h, w) of the votes, cluster by cluster, for an image that is its own embedding."""
    embedding = F.normalize(image, dim=0)
    (assignment,) = cluster_images(embedding[None], torch.ones(1, *image.shape[1:]) > 0, 9, iterations, location_weight)
    labels = method.bank.labels
    logits = torch.empty(3, *image.shape[1:])
    for k in assignment.unique().tolist():
        query = F.normalize(embedding[:, assignment == k].sum(1), dim=0)
        votes = torch.zeros(3)
        for label in labels[(method.bank.features @ query).argsort(descending=True)[:neighbours]].tolist():
            votes[label] += 1 / int((labels == label).sum()) if vote == "balanced" else 1
        smoothed = neighbours * votes / votes.sum() + vote_smoothing / 3
        logits[:, assignment == k] = (smoothed / smoothed.sum()).log()[:, None]
    return logits


VOTING = {"neighbours": 5, "vote": "plain", "vote_smoothing": 1.0, "iterations": 10, "location_weight": 1.0}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"neighbours": 2},
        {"vote": "balanced"},
        {"vote_smoothing": 4.0},
        {"iterations": 1},
        {"location_weight": 4.0},
    ],
)
def test_every_switch_of_the_vote_is_in_the_posteriors_as_defined(build_plain, make_context, changed):
    directions = torch.eye(4)[[0, 0, 0, 1, 2]]  # class 0 has most prototypes
    batch = striped(directions, noise=0.6, size=(10, 15))
    batch.labels = (batch.labels - 2).clamp(min=0)
    image = striped(directions, noise=0.6, size=(10, 15), seed=1).images
    method, plain = build_plain(clusters=9, **VOTING | changed), build_plain(clusters=9, **VOTING)
    for each in (method, plain):
        each.finish(context_of(make_context(), [batch]))
    found = method.predict(image).logits[0]
    torch.testing.assert_close(found, logits_by_definition(method, image[0], **VOTING | changed))
    assert torch.allclose(found, plain.predict(image).logits[0], atol=1e-3) == (not changed)


@pytest.mark.parametrize("kappa", [10.0, 3.0])
def test_densities_are_the_banks_mixtures_at_their_concentration(build_plain, make_context, kappa):
    method = build_plain(clusters=4, decode="dense", kappa=kappa)
    batch = striped(torch.eye(4)[:3], noise=0.5)
    method.finish(context_of(make_context(), [batch]))
    prediction, bank = method.predict(batch.images), method.bank
    each = (kappa * torch.einsum("pd,dhw->phw", bank.features, F.normalize(batch.images, dim=1)[0])).exp()
    sums = torch.stack([each[bank.labels == c].sum(0) for c in range(3)])
    sizes = bank.labels.bincount(minlength=3).view(3, 1, 1)
    torch.testing.assert_close(prediction.logits[0], sums.log())
    torch.testing.assert_close(prediction.log_density[0], (sums / sizes).log() + log_normaliser(4, kappa))


@pytest.mark.parametrize("threshold", [0.0, 0.7])
def test_clusters_below_the_purity_threshold_stay_out_of_the_bank(build_plain, make_context, threshold):
    method = build_plain(clusters=2, location_weight=0.0, purity_threshold=threshold)
    batch = striped(torch.eye(4)[:2], noise=0)
    batch.labels[:, ::2, :5] = 2  # of the first cluster's pixels 5 in 12
    method.finish(context_of(make_context(), [batch]))
    assert method.bank.labels.tolist() == ([1] if threshold else [0, 1])


@pytest.mark.parametrize("retrieval", ["torch", "faiss"])
def test_the_bank_is_searched_by_what_was_asked_for(build, make_batch, monkeypatch, retrieval):
    used = []

    class Recorded(bank_module.ExactRetrieval):
        def __init__(self, features):
            used.append(self.kind)
            super().__init__(features)

    kinds = {kind: type(kind, (Recorded,), {"kind": kind}) for kind in bank_module.RETRIEVALS}
    monkeypatch.setattr(bank_module, "RETRIEVALS", kinds)
    monkeypatch.setattr(bank_module, "import_faiss", lambda: None)
    batch = make_batch(4)
    build(retrieval=retrieval, finish=[batch]).predict(batch.images)
    assert used == [retrieval]


def test_padding_changes_no_loss(build_plain):
    method = build_plain(clusters=6)
    batch = striped(torch.eye(4)[:3], noise=0.5)
    padded = Batch(F.pad(batch.images, (3, 2, 1, 4), value=0.3), F.pad(batch.labels, (3, 2, 1, 4), value=255))
    one, other = method.losses(batch).terms, method.losses(padded).terms
    torch.testing.assert_close(one["segment_sorting"], other["segment_sorting"])


def test_the_memory_changes_after_a_step_and_then_counts(build, make_batch, make_context):
    method, batch = build(), make_batch(4)
    terms, observed = method.losses(batch)
    before = terms["segment_sorting"].item()
    assert not method.memory.valid.any()
    method.after_step([observed], make_context())
    assert method.memory.valid[0].any()
    assert not method.memory.valid[1].any()
    first = method.memory.features[0].clone()
    terms, observed = method.losses(batch)
    assert terms["segment_sorting"].item() != pytest.approx(before, rel=1e-3)
    method.after_step([observed], make_context(step=1))
    assert torch.equal(method.memory.features[0], first)
    assert method.memory.valid[1].any()


def test_memory_switches(build, make_batch, make_context):
    batch = make_batch(4)
    off = build(memory="off")
    off.after_step([off.losses(batch).observed], make_context())
    assert off.memory.features.numel() == 0
    frozen = build(memory="frozen_random", memory_rows=10)
    state = {name: value.clone() for name, value in frozen.memory.state_dict().items()}
    assert frozen.memory.valid.all()
    frozen.after_step([frozen.losses(batch).observed], make_context())
    assert all(torch.equal(state[name], value) for name, value in frozen.memory.state_dict().items())


def test_state_goes_into_a_fresh_method_of_another_bank(build, make_batch):
    method = build(finish=[make_batch(4, seed=s) for s in range(3)])
    images = make_batch(4, seed=9).images
    for fresh in (build(seed=5), build(seed=6, finish=[make_batch(4, seed=8)])):
        fresh.load_state_dict(method.state_dict())
        for name, value in maps_of(fresh.eval().predict(images)).items():
            assert torch.equal(value, maps_of(method.predict(images))[name])


def test_bank_swap_predicts_other_classes(build, make_batch):
    batch = make_batch(4)
    method = build(finish=[batch])
    before = method.predict(batch.images).logits.softmax(1)
    method.relabel([0, 0, 1, 255], 2)
    swapped = method.predict(batch.images)
    assert swapped.logits.shape[1] == swapped.log_density.shape[1] == 2
    method.relabel([3, 2, 1, 0], 4)
    torch.testing.assert_close(method.predict(batch.images).logits.softmax(1).flip(1), before)


def test_predicting_without_a_bank_is_a_clear_error(build):
    with pytest.raises(MethodError, match="bank is empty"):
        build().eval().predict(torch.rand(1, 3, 16, 16))


def test_more_clusters_can_be_asked_for_in_prediction(build, make_batch):
    method = build(clusters=4, inference_clusters=16, finish=[make_batch(4)])
    assert method.bank.clusters.max() >= 4
    assert len(method.cluster(method.embed(make_batch(4).images)).unique()) > 4


def test_the_unsupervised_loss_sees_no_class(build, make_batch, make_context):
    method, batch = build(variant="unsupervised"), make_batch(4)
    terms, observed = method.losses(batch)
    loss = terms["segment_sorting"]
    other = dataclasses.replace(batch, labels=torch.where(batch.labels == 255, 255, 254))
    assert torch.equal(method.losses(other).terms["segment_sorting"], loss)
    loss.backward()
    assert method.network.fine.weight.grad.abs().sum() > 0
    method.after_step([observed], make_context())
    assert method.memory.features.numel() == 0


def test_regions_can_come_from_elsewhere(build, make_batch):
    method, batch = build(variant="unsupervised"), make_batch(4)
    method.segment_provider = lambda batch: torch.zeros_like(batch.labels)
    one_per_image = method.losses(batch).terms["segment_sorting"]
    embeddings = method.embed(batch.images).permute(0, 2, 3, 1).flatten(1, 2)
    valid = F.interpolate(batch.labels[:, None].float(), size=(9, 12))[:, 0].flatten(1) != 255
    means = torch.stack([F.normalize(v[k].sum(0), dim=0) for v, k in zip(embeddings, valid, strict=True)])
    similarity = 10 * embeddings @ means.t()
    target = torch.arange(2)[:, None].expand(valid.shape)
    torch.testing.assert_close(one_per_image, F.cross_entropy(similarity[valid], target[valid]), atol=2e-3, rtol=0)


def test_autocast_keeps_densities_in_float32(build, make_batch):
    method, batch = build(finish=[make_batch(4)]), make_batch(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert method.losses(batch).terms["segment_sorting"].dtype == torch.float32
        assert all(m.dtype == torch.float32 for m in maps_of(method.predict(batch.images)).values())


def test_precomputed_regions_are_used_in_place_of_computed_ones(build, make_batch):
    method, batch = build(variant="unsupervised", regions="files"), make_batch(4)
    with pytest.raises(MethodError, match=r"data\.regions"):
        method.losses(batch)
    batch.regions = torch.zeros_like(batch.labels)
    one_region_an_image = method.losses(batch).terms["segment_sorting"]
    batch.regions[:, :, batch.labels.shape[2] // 2 :] = 70_000
    assert not torch.isclose(one_region_an_image, method.losses(batch).terms["segment_sorting"])
