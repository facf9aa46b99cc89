"""The training loop."""

import math
from types import SimpleNamespace

import pytest
import torch

from bench import ranks, training
from bench.errors import RunFailed, UserError
from datasets.base import IGNORE, UNLABELLED
from datasets.supervision import supervise
from methods.softmax import Softmax
from tests.bench.short import build, train


def test_non_finite_loss_names_the_step_and_the_terms(mini, fabric, tmp_path):
    class Diverging(Softmax):
        name = "diverging"

        def losses(self, batch):
            terms = dict(super().losses(batch))
            self.calls = getattr(self, "calls", 0) + 1
            return {**terms, "extra": terms["cross_entropy"] * (math.inf if self.calls == 3 else 1)}

    with pytest.raises(RunFailed, match="step 3: extra = inf"):
        train(build(), mini, fabric, tmp_path, Diverging)


def test_accumulation_gives_the_gradient_of_the_larger_batch(mini, fabric, tmp_path):
    """Without batch statistics, two batches of one step are one batch of twice the size."""
    seen, more = {}, []

    class Recording(Softmax):
        name = "recording"

        def losses(self, batch):
            self.eval()
            return super().losses(batch)

        def after_step(self, batch, context):
            seen.setdefault(context.step, []).extend(batch.ids)
            more.append(context.more_batches)

    one = train(build("recipe.steps=1", "recipe.batch_size=4"), mini, fabric, tmp_path / "a", Recording)
    first = dict(seen)
    assert more == [False]
    seen.clear()
    more.clear()
    two = train(
        build("recipe.steps=1", "recipe.batch_size=2", "recipe.accumulate=2"), mini, fabric, tmp_path / "b", Recording
    )
    assert sorted(first[0]) == sorted(seen[0])
    assert more == [True, False]
    assert one.training.final_losses["total"] == pytest.approx(two.training.final_losses["total"], rel=0.05)


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
            train(build(), mini, SimpleNamespace(device=torch.device(name)), tmp_path)
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
