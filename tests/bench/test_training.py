import csv
import errno
import math
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench import checkpoints, interruption, models, optimisation, ranks, registry, sweeps, training
from bench.config import OptimiserConfig
from bench.errors import RunFailed, UserError
from datasets.base import IGNORE, UNLABELLED
from datasets.supervision import supervise
from datasets.toyscapes_mini import ToyscapesMini
from methods.softmax import Softmax


@pytest.fixture(scope="module")
def mini(data_root):
    return ToyscapesMini(data_root, "train")


@pytest.fixture(scope="module")
def fabric():
    return ranks.make_fabric("cpu", "32")


def build(*assignments, method="softmax"):
    assignments = ["network.encoder=resnet18", "recipe.steps=4", *assignments]
    ((_, made),) = sweeps.grid([registry.methods.get(method)], "toyscapes_mini", "quick", [0], [], assignments).runs
    return made


def train(run_config, mini, fabric, folder, method_class=None, **kwargs):
    method_class = method_class or registry.methods.get(run_config.method_name)
    return training.train(method_class, run_config, mini, fabric, folder, folder / "cache", **kwargs)


def states_equal(one, two):
    return all(torch.equal(t, two[n]) for n, t in one.items()) and one.keys() == two.keys()


class Kill(BaseException):
    pass


@pytest.mark.parametrize("method", ["softmax", "gmmseg"])
def test_interrupted_training_ends_in_the_same_weights(mini, fabric, tmp_path, method):
    run_config = build(method=method)
    straight = train(run_config, mini, fabric, tmp_path / "straight").method.state_dict()

    def kill(step):
        raise Kill

    with pytest.raises(Kill):
        train(run_config, mini, fabric, tmp_path / "resumed", on_checkpoint=kill)
    assert (tmp_path / "resumed" / checkpoints.CHECKPOINT).exists()
    resumed = train(run_config, mini, fabric, tmp_path / "resumed").method.state_dict()
    assert states_equal(straight, resumed)
    logs = [(tmp_path / n / "losses.csv").read_text() for n in ("straight", "resumed")]
    assert logs[0] == logs[1]


def test_ctrl_c_finishes_the_step_and_keeps_it(mini, fabric, tmp_path):
    class Interrupting(Softmax):
        name = "interrupting"

        def after_step(self, batch, context):
            if context.step == 0:
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(interruption.Interrupted, match="step 1 of 4"):
        train(build(), mini, fabric, tmp_path, Interrupting)
    state = torch.load(tmp_path / checkpoints.CHECKPOINT, weights_only=True)
    assert state["step"] == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_non_finite_loss_names_the_step_and_the_terms(mini, fabric, tmp_path):
    class Diverging(Softmax):
        name = "diverging"

        def losses(self, batch):
            terms = dict(super().losses(batch))
            self.calls = getattr(self, "calls", 0) + 1
            return {**terms, "extra": terms["cross_entropy"] * (math.inf if self.calls == 3 else 1)}

    with pytest.raises(RunFailed, match="step 3: extra = inf"):
        train(build(), mini, fabric, tmp_path, Diverging)


def test_damaged_checkpoint_is_one_sentence(mini, fabric, tmp_path):
    (tmp_path / checkpoints.CHECKPOINT).write_bytes(b"half a file")
    with pytest.raises(UserError, match="damaged") as caught:
        train(build(), mini, fabric, tmp_path)
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_run_is_refused(mini, fabric, tmp_path):
    with pytest.raises(Kill):
        train(build(), mini, fabric, tmp_path, on_checkpoint=lambda step: (_ for _ in ()).throw(Kill))
    with pytest.raises(UserError, match="another run"):
        train(build("recipe.optimiser.lr=0.5"), mini, fabric, tmp_path)


def test_log_holds_every_loss_term_by_name(mini, fabric, tmp_path):
    train(build(method="gmmseg"), mini, fabric, tmp_path)
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4]
    assert {"lr", "cross_entropy", "component_cross_entropy", "total"} <= rows[0].keys()
    for row in rows:
        assert float(row["total"]) == pytest.approx(
            float(row["cross_entropy"]) + float(row["component_cross_entropy"]), rel=1e-4
        )


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


def test_a_model_of_other_sizes_is_refused_with_the_sizes(mini, fabric, tmp_path):
    run_config = build()
    method = train(run_config, mini, fabric, tmp_path).method
    method.classifier = torch.nn.Conv2d(method.classifier.in_channels, 3, 1)
    models.save_model(method, tmp_path / models.MODEL)
    with pytest.raises(UserError, match=r"size mismatch for classifier.weight.*sized_by_training"):
        models.load_model(type(method), run_config, mini.classes, tmp_path / models.MODEL)


def test_half_precision_is_refused_on_the_cpu_which_would_train_in_another(mini, fabric, tmp_path):
    with pytest.raises(UserError, match="bf16-mixed"):
        train(build("recipe.precision=16-mixed"), mini, fabric, tmp_path)


def test_model_file_reproduces_the_predictions_without_training_only_buffers(mini, fabric, tmp_path):
    run_config = build(method="gmmseg")
    method = train(run_config, mini, fabric, tmp_path).method.eval()
    loaded = models.load_model(type(method), run_config, mini.classes, tmp_path / models.MODEL)
    image = mini[0].image[None].float() / 255
    with torch.no_grad():
        one, two = method.predict(image), loaded.predict(image)
    assert torch.equal(one.logits, two.logits)
    assert torch.equal(one.log_density, two.log_density)
    from safetensors.torch import load_file

    assert not set(load_file(tmp_path / models.MODEL)) & set(method.training_only)


@pytest.mark.parametrize("damage", ["absent", "junk", "other"])
def test_model_that_cannot_be_loaded_is_one_sentence(mini, fabric, tmp_path, damage):
    run_config = build()
    train(run_config, mini, fabric, tmp_path)
    path = tmp_path / models.MODEL
    if damage == "absent":
        path.unlink()
    elif damage == "junk":
        path.write_bytes(path.read_bytes()[:50])
    else:
        run_config = build(method="gmmseg")
    with pytest.raises(UserError, match=r"model\.safetensors") as caught:
        models.load_model(registry.methods.get(run_config.method_name), run_config, mini.classes, path)
    assert "\n" not in str(caught.value)


def test_frozen_encoder_does_not_change(mini, fabric, tmp_path):
    run_config = build("recipe.optimiser.encoder_lr_factor=0")
    before = models.build_method(Softmax, run_config, mini.classes).network.encoder.state_dict()
    after = train(run_config, mini, fabric, tmp_path).method.network.encoder.state_dict()
    assert states_equal(before, after)


def test_encoder_factor_and_decay_go_to_the_right_parameters(mini):
    method = models.build_method(Softmax, build(), mini.classes)
    groups = optimisation.parameter_groups(method, OptimiserConfig(encoder_lr_factor=0.1, weight_decay=0.3))
    encoder = {id(p) for p in method.network.encoder.parameters()}
    counted = 0
    for group in groups:
        for parameter in group["params"]:
            assert group["factor"] == (0.1 if id(parameter) in encoder else 1.0)
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)
            counted += 1
    assert counted == len(list(method.parameters()))


def test_polynomial_schedule():
    c = OptimiserConfig(schedule="poly", power=0.9, warmup_steps=10, warmup_ratio=0.1)
    assert optimisation.schedule(c, 0, 100) == pytest.approx(0.1)
    assert optimisation.schedule(c, 5, 100) == pytest.approx(0.55 * 0.95**0.9)
    assert optimisation.schedule(c, 50, 100) == pytest.approx(0.5**0.9)
    assert optimisation.schedule(c, 100, 100) == 0


def test_one_cycle_schedule_is_torchs():
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    steps = 100
    reference = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=steps + 1, cycle_momentum=False)
    c = OptimiserConfig(schedule="onecycle")
    for step in range(steps):
        # torch's peak is at 0.3 * (total - 1) - 1, one step earlier than 0.3 of the run
        assert optimisation.schedule(c, step, steps) == pytest.approx(reference.get_last_lr()[0], abs=0.03)
        optimiser.step()
        reference.step()


def test_cuda_without_cuda_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device"):
        ranks.make_fabric("cuda", "32")


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


def test_methods_see_whole_label_maps_at_the_scale_of_inference(mini, fabric, tmp_path):
    seen = []

    class Curious(Softmax):
        name = "curious"

        def prepare(self, context):
            seen.extend(context.label_maps())

        def finish(self, context):
            for labels, batch in zip(context.label_maps(), context.images(), strict=True):
                assert torch.equal(labels, batch.labels[0])

    config = build()
    inference = config.recipe.inference.model_copy(update={"short_side": 24})
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"inference": inference})})
    train(config, mini, fabric, tmp_path / "run", Curious)
    assert {labels.shape for labels in seen} == {(24, 48)}


def test_ranks_share_the_statistics_of_what_learns_alone():
    """A codec that one rank fits while the others wait for it would otherwise wait for them."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
            self.codec = nn.Sequential(nn.BatchNorm2d(4)).requires_grad_(False)

    method = Both()
    ranks.synchronise_norms(method)
    assert isinstance(method.network[1][0], nn.SyncBatchNorm)
    assert type(method.codec[0]) is nn.BatchNorm2d


@pytest.mark.parametrize("target", [checkpoints.CHECKPOINT, models.MODEL])
def test_full_disk_while_weights_are_written_is_the_error_of_the_disk(mini, fabric, tmp_path, monkeypatch, target):
    def full(path, content):
        if target in path.name:
            with path.open("wb") as file:
                file.write(bytes(content[:1000]))
            raise OSError(errno.ENOSPC, "No space left on device")
        with path.open("wb") as file:
            return file.write(content)

    monkeypatch.setattr(training.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        train(build("recipe.checkpoint_every=2"), mini, fabric, tmp_path)
    assert not [path for path in tmp_path.iterdir() if target in path.name]


def test_a_checkpoint_of_an_edited_plugin_is_refused(mini, fabric, tmp_path):
    def kill(step):
        raise Kill

    def start(digest, on_checkpoint=None):
        run_config = build("recipe.checkpoint_every=2")
        return train(run_config, mini, fabric, tmp_path, plugins={"proto.py": digest}, on_checkpoint=on_checkpoint)

    with pytest.raises(Kill):
        start("first", kill)
    with pytest.raises(UserError, match=r"another proto.py.*--force"):
        start("second")
    assert start("first").training.steps == 4


def test_a_checkpoint_of_other_data_is_refused_and_one_that_does_not_say_is_not(mini, fabric, tmp_path):
    def kill(step):
        raise Kill

    def start(content, on_checkpoint=None):
        run_config = build("recipe.checkpoint_every=2")
        return train(run_config, mini, fabric, tmp_path, content=content, on_checkpoint=on_checkpoint)

    with pytest.raises(Kill):
        start("data", kill)
    before = (tmp_path / checkpoints.CHECKPOINT).read_bytes()
    with pytest.raises(UserError, match=r"other data.*--force"):
        start("other data")
    assert (tmp_path / checkpoints.CHECKPOINT).read_bytes() == before
    state = torch.load(tmp_path / checkpoints.CHECKPOINT, weights_only=True)
    del state["content"]
    torch.save(state, tmp_path / checkpoints.CHECKPOINT)
    assert start("other data").training.steps == 4
