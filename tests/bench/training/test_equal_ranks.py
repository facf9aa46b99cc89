"""Whatever the number of ranks, a method learns from the global batch: identical state on all, as one rank's."""

import pytest
import torch

from bench.config import grid as sweeps
from bench.model.weights import build_method
from bench.plugins import registry
from bench.training import ranks
from datasets.supervision import supervise
from tests.bench.short import train
from tests.bench.training.processes import on_ranks

SETTINGS = [
    "network.encoder=resnet18",
    "network.decoder.decoder_dropout=0.0",
    "recipe.steps=2",  # after more, rounding alone assigns some pixel to another component
    "recipe.batch_size=6",
    "recipe.workers=0",
    "recipe.augmentation.crop=[64, 96]",
    "recipe.optimiser.name=sgd",  # AdamW would take a rounding error of a gradient of zero for its sign
    "recipe.optimiser.lr=0.01",
    "recipe.optimiser.clip_norm=1.0",
]
"""No dropout, which ranks draw each for its own images."""
CODEC = ["method.codec_steps=4", "method.codec_crop=16", "method.codec_width=8", "method.codec_batch=2"]
SMALL = {
    "gss": [*CODEC, "method.hidden=16", "method.heads=2", "method.dropout=0.0", "method.vocabulary=32"],
    "gmmseg": ["method.em_interval=1"],
    "segsort": ["method.memory_rows=40"],  # fewer than segments: which ones stay is drawn
}
VARIANTS = {
    "gmmseg-soft": ("gmmseg", ["method.assign=soft", "method.loss_mean=all"]),
    "segsort-unsupervised": ("segsort", ["method.variant=unsupervised"]),
    "gss-all": ("gss", ["method.loss_mean=all", "method.fusion=normalised", "method.fill_after=0.0"]),
    "gss-inverse": ("gss", ["method.variant=ft-w", "method.inverse_training=predictions", "method.inverse_images=4"]),
    "agmm-released": ("agmm", ["method.preset=released"]),
    "softmax-timm": ("softmax", ["network.encoder=tu-mobilenetv3_small_050", "recipe.accumulate=2"]),
}


def trained(world, name, mini, folder, supervision="dense"):
    """The state of ``name`` before and after a short training on each of ``world`` ranks, and the losses."""
    method, changes = VARIANTS.get(name, (name, []))
    assignments = [*SETTINGS, *SMALL.get(method, []), *changes]
    plugin = registry.methods.get(method)
    ((_, config),) = sweeps.grid([plugin], "toyscapes_mini", "quick", [0], [], assignments).runs
    if supervision != "dense":
        mini = supervise(mini, supervision, 0, folder)

    def work(rank):
        fabric = ranks.make_fabric("cpu", "32")
        made = train(config, mini, fabric, folder / f"of-{world}-{rank if rank else 0}")
        start = dict(build_method(plugin, config, mini.classes).named_parameters())
        return start, made.method.state_dict(), made.training.final_losses

    return on_ranks(world, work, folder / str(world)) if world > 1 else [work(0)]


def require_equal(found, expected):
    (start, one, losses), *others = found
    for _, state, _ in others:  # the first rank alone keeps a log
        differing = [key for key, value in one.items() if not torch.equal(value, state[key])]
        assert not differing
    ((_, alone, losses_alone),) = expected
    assert losses == pytest.approx(losses_alone, rel=1e-4, abs=1e-5)
    learnt = torch.cat([(alone[key] - value).flatten() for key, value in start.items()])
    differs = torch.cat([(alone[key] - one[key]).flatten() for key in start])
    assert differs.norm() < 0.01 * learnt.norm()
    for key in alone.keys() - start.keys():
        if key.startswith("bank."):  # of clusters, to which rounding assigns some pixels; see the bank's own tests
            continue
        torch.testing.assert_close(
            one[key], alone[key], rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize(
    ("name", "supervision"),
    [("softmax", "points"), ("gmmseg", "dense"), ("segsort", "points"), ("gss", "dense"), ("agmm", "points")],
)
def test_two_ranks_learn_what_one_does(mini, tmp_path, name, supervision):
    found = trained(2, name, mini, tmp_path, supervision)
    require_equal(found, trained(1, name, mini, tmp_path, supervision))


@pytest.mark.long
@pytest.mark.parametrize("name", ["softmax", "gmmseg", "segsort", "gss", "agmm", *VARIANTS])
@pytest.mark.parametrize("supervision", ["dense", "points"])
def test_three_ranks_learn_what_one_does(mini, tmp_path, name, supervision):
    found = trained(3, name, mini, tmp_path, supervision)
    require_equal(found, trained(1, name, mini, tmp_path, supervision))


@pytest.mark.parametrize("name", ["gaussian", "mixture", "neighbours", "linear", "majority"])
def test_read_outs_of_two_ranks_are_that_of_one(mini, tmp_path, name):
    (_, one, _), (_, other, _) = trained(2, name, mini, tmp_path)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    ((_, alone, _),) = trained(1, name, mini, tmp_path)
    for key, value in alone.items():
        torch.testing.assert_close(one[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
