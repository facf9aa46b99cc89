"""The training loop."""

import math
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn

from bench.checks import method as contract
from bench.common.errors import RunFailed, UserError
from bench.training import loop as training
from bench.training import ranks
from bench.training.loop import LossModule
from datasets.base import IGNORE, UNLABELLED
from datasets.supervision import supervise
from methods.base import Losses, MethodError
from methods.softmax import Softmax
from tests.bench.short import build, train


def test_non_finite_loss_names_the_step_and_the_terms(mini, fabric, tmp_path):
    class Diverging(Softmax):
        name = "diverging"

        def losses(self, batch):
            terms = super().losses(batch).terms
            self.calls = getattr(self, "calls", 0) + 1
            return Losses({**terms, "extra": terms["cross_entropy"] * (math.inf if self.calls == 3 else 1)})

    with pytest.raises(RunFailed, match="step 3: extra = inf"):
        train(build(), mini, fabric, tmp_path, Diverging)


def test_accumulation_gives_the_gradient_of_the_larger_batch(mini, fabric, tmp_path):
    """Without batch statistics, two batches of one step are one batch of twice the size."""
    seen = {}

    class Recording(Softmax):
        name = "recording"

        def losses(self, batch):
            self.eval()
            return super().losses(batch)._replace(observed=batch.ids)

        def after_step(self, observed, context):
            seen[context.step] = observed

    one = train(build("recipe.steps=1", "recipe.batch_size=4"), mini, fabric, tmp_path / "a", Recording)
    first = seen.pop(0)
    two = train(
        build("recipe.steps=1", "recipe.batch_size=2", "recipe.accumulate=2"), mini, fabric, tmp_path / "b", Recording
    )
    assert [len(first), len(seen[0])] == [1, 2]
    assert first[0] == (*seen[0][0], *seen[0][1])
    assert one.training.final_losses["total"] == pytest.approx(two.training.final_losses["total"], rel=0.05)


def test_losses_in_a_form_that_the_contract_does_not_have_are_one_sentence(mini, fabric, tmp_path):
    class Bare(Softmax):
        name = "bare"

        def losses(self, batch):
            return super().losses(batch).terms

    with pytest.raises(MethodError, match=r"losses of bare returned a dict; let it return Losses\(terms\)"):
        train(build(), mini, fabric, tmp_path, Bare)


def test_half_precision_is_refused_on_the_cpu_which_would_train_in_another(mini, fabric, tmp_path):
    with pytest.raises(UserError, match="bf16-mixed"):
        train(build("recipe.precision=16-mixed"), mini, fabric, tmp_path)


def test_peak_memory_of_a_gpu_is_counted_from_the_start_of_each_run(monkeypatch, mini, tmp_path):
    class Started(Exception):
        pass

    def build_method(*arguments):
        raise Started

    counted_anew = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", counted_anew.append)
    monkeypatch.setattr(training, "build_method", build_method)
    for name in ("cuda", "cpu"):
        with pytest.raises(Started):
            train(build(), mini, SimpleNamespace(device=torch.device(name), world_size=1), tmp_path)
    assert counted_anew == [torch.device("cuda")]


def test_bfloat16_training_runs_and_stays_finite(mini, tmp_path):
    fabric = ranks.make_fabric("cpu", "bf16-mixed")
    trained = train(build("recipe.precision=bf16-mixed", method="gmmseg"), mini, fabric, tmp_path)
    assert math.isfinite(trained.training.final_losses["total"])
    assert trained.method.means.dtype == torch.float32


def test_without_labels_steps_see_none_and_finish_sees_the_dense_ones(mini, fabric, tmp_path):
    seen = {}

    class Curious(Softmax):
        name = "curious"

        def losses(self, batch):
            seen.setdefault("losses", set()).update(batch.labels.unique().tolist())
            seen.setdefault("present", set()).update(batch.present.unique().tolist())
            return super().losses(batch)

        def prepare(self, context):
            seen["prepare"] = {v for label in context.label_maps() for v in label.unique().tolist()}

        def finish(self, context):
            seen["finish"] = {v for batch in context.images() for v in batch.labels.unique().tolist()}
            seen["maps"] = {v for label in context.label_maps() for v in label.unique().tolist()}

    blank = supervise(mini, "none", 0, tmp_path / "cache")
    train(build(), blank, fabric, tmp_path / "run", Curious, after_training=mini)
    classes = {v for i in range(len(mini)) for v in mini.label(i).unique().tolist()}
    assert seen["losses"] <= {UNLABELLED, IGNORE}
    assert seen["prepare"] <= {UNLABELLED, IGNORE}
    assert seen["present"] == {False}
    assert seen["finish"] == seen["maps"] == classes


class Observed(NamedTuple):
    classes: torch.Tensor
    ids: tuple[str, ...]


@pytest.fixture
def process_group():
    """A group of one rank, in which DDP works as in a larger one."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_ddp_finds_the_terms_and_what_was_observed_passes_through(process_group, tmp_path):
    class Head(Softmax):
        """Leaves a layer out in every second step, as heads do for a batch without labels."""

        name = "head"

        def __init__(self, config, network, classes):
            super().__init__(config, network, classes)
            self.extra = nn.Linear(1, 1)
            self.calls = 0

        def losses(self, batch):
            terms, _ = super().losses(batch)
            self.calls += 1
            if self.calls % 2 == 0:
                terms["extra"] = self.extra(torch.ones(1)).sum()
            return Losses(terms, {"classes": Observed(batch.labels.unique(), batch.ids)})

    plain, wrapped = (LossModule(contract.Subject(Head, tmp_path).build()) for _ in range(2))
    ddp = nn.parallel.DistributedDataParallel(wrapped, find_unused_parameters=True, broadcast_buffers=False)
    for step in range(4):
        batch = contract.make_batch(step)
        for module in (plain, ddp):
            module.zero_grad()
            terms, observed = module(batch)
            torch.stack(list(terms.values())).sum().backward()
            assert observed["classes"].ids == batch.ids
            assert torch.equal(observed["classes"].classes, batch.labels.unique())
        for one, two in zip(plain.parameters(), wrapped.parameters(), strict=True):
            assert (one.grad is None) == (two.grad is None)
            assert one.grad is None or torch.equal(one.grad, two.grad)


def test_images_that_are_decoded_once_train_the_same_weights(mini, fabric, tmp_path):
    digests = {
        train(build(f"recipe.decode_once={once}"), mini, fabric, tmp_path / once).digest for once in ("true", "false")
    }
    assert len(digests) == 1
    assert len([*(tmp_path / "true" / "cache").glob("decoded-*")]) == 2
    assert not [*(tmp_path / "false" / "cache").glob("decoded-*")]
