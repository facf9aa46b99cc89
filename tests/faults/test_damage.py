"""A damaged file never gives another number: it is named with the remedy, or made again with a note."""

from __future__ import annotations

import copy
import io
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from bench.common import console, files
from bench.common.claims import claimed
from bench.common.console import progress as bar
from bench.common.errors import UserError
from bench.common.tensors import serialised
from bench.config import tables as config
from bench.data import batches as data
from bench.data.decoded import decoded as decode_once
from bench.data.fingerprint import describe
from bench.model import weights as models
from bench.plugins import registry
from bench.records import store as records
from bench.runs import resume as progress
from bench.schema.record import Record, Training
from bench.scoring.protocols import anomaly
from bench.training import checkpoint as checkpoints
from bench.training.checkpoint import Checkpoint
from datasets.supervision import supervise
from datasets.toyscapes.cache import ensure_split
from datasets.toyscapes_mini import ToyscapesMini
from methods.gss import generation
from methods.gss.codecs import CodecSettings, build_codec
from methods.gss.codecs.cache import fitted_codec, measured_quality, read_labels
from tests.bench.short import build, killed_at_a_checkpoint, train
from tests.faults.damage import SPACING, damages

CODEC = {"codec_steps": 3, "codec_batch": 2, "codec_crop": 16, "vocabulary": 16, "code_dim": 8, "codec_width": 8}


@dataclass
class Kind:
    """A kind of file: where it is, and what is read from it."""

    path: Path
    read: Callable[[], Any]
    """What the file says, in a form that compares. Raises UserError."""
    notes: Callable[[], str]
    """What was said since this was asked last."""
    remedy: str = ""
    """A word of the sentence where the file cannot be made again."""
    beside: str = ""
    """Said where what is lost is made again in another file."""


def assert_sentence(error: Exception, *words: object) -> None:
    assert "\n" not in str(error)
    for word in words:
        assert str(word) in str(error), error


@pytest.fixture
def notes(monkeypatch) -> Callable[[], str]:
    """Everything that was noted since the last call."""
    told: list[str] = []
    for module in (console, checkpoints, progress, models):
        monkeypatch.setattr(module, "note", told.append)
    for module in ("datasets.supervision.wrapper", "datasets.toyscapes.cache"):
        monkeypatch.setattr(f"{module}.remark", told.append)

    def since() -> str:
        text = "\n".join(told)
        told.clear()
        return text

    since.list = told
    return since


@pytest.fixture
def run_config():
    return config.build(registry.methods.get("softmax"), "toyscapes_mini", "quick", 0)


@pytest.fixture
def store(tmp_path):
    made = records.Store(tmp_path / "results")
    made.require_writable()
    return made


@pytest.fixture
def record(run_config, store):
    """Of a run that is trained; its model is there."""
    folder = store.run_folder(run_config.run_id())
    files.write(folder / models.MODEL, b"weights" * 1000)
    training = Training(steps=1, seconds=1, images_per_second=1, parameters=1, peak_memory_mb=1)
    return Record(
        run_id=run_config.run_id(),
        fingerprint=run_config.fingerprint(),
        status="complete",
        created="2020-01-01",
        config=run_config,
        configuration="softmax",
        training=training,
        checkpoint_hash=files.file_digest(folder / models.MODEL),
    )


class Tiny(nn.Module):
    """A method, as far as checkpoints and models know."""

    name, version, training_only = "tiny", "1", ()

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(200, 200)


def a_checkpoint(run_config, fabric, folder) -> tuple[Checkpoint, nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    tiny = Tiny()
    optimiser = torch.optim.AdamW(tiny.parameters())
    tiny.layer(torch.ones(1, 200)).sum().backward()
    optimiser.step()
    return Checkpoint(folder / checkpoints.CHECKPOINT, run_config, fabric), tiny, optimiser


def flat(state: Any) -> bytes:
    return bytes(serialised(state))


ARRAYS = {"closed-set/test/confusion": np.arange(20_000) ** 2 % 977}


def label_maps() -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return iter(torch.randint(0, 5, (3, 4, 4), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2))


def codec_of(name="vqvae", **settings):
    classes = SimpleNamespace(names=tuple("abcde"), colours=tuple((i, 2 * i, 3 * i) for i in range(5)))
    classes = type(ToyscapesMini.classes)("five", classes.names, classes.colours)
    return build_codec(CodecSettings(codec=name, **{**CODEC, **settings}), classes)


@pytest.fixture
def kinds(run_config, store, record, fabric, mini, notes, tmp_path, monkeypatch, data_root):
    """Makes each kind of file, by name."""
    folder, cache = store.run_folder(record.run_id), store.cache
    cache.mkdir(parents=True)
    silent = lambda items, *_: items  # noqa: E731
    told = notes.list.append

    def checkpoint() -> Kind:
        made, method, optimiser = a_checkpoint(run_config, fabric, folder)
        made.save(method, optimiser, 3, 1.5)

        def read():
            found = made.resume(method, optimiser)
            return found, flat(method.state_dict()), flat(optimiser.state_dict())

        return Kind(made.path, read, notes, "--force")

    def model() -> Kind:
        method, path = Tiny(), folder / models.MODEL
        digest = models.save_model(method, path)
        monkeypatch.setattr(models, "build_method", lambda *_: method)  # a real one takes half a second

        def read():
            return flat(models.load_model(Tiny, run_config, mini.classes, path, digest).state_dict())

        return Kind(path, read, notes, "--force")

    def unfinished() -> Kind:
        progress.save(folder, record, ARRAYS)

        def read():
            return progress.so_far(store, run_config)[0].model_dump_json()

        return Kind(folder / records.SO_FAR, read, notes, "--force")

    def unfinished_statistics() -> Kind:
        progress.save(folder, record, ARRAYS)

        def read():
            found = progress.so_far(store, run_config)[1]
            return {key: array.tolist() for key, array in found.items()}

        return Kind(folder / records.STATISTICS_SO_FAR, read, notes, beside="scored again")

    def statistics() -> Kind:
        record.statistics_hash = store.write_statistics(record.run_id, ARRAYS)
        store.write(record)

        def read():
            return {key: array.tolist() for key, array in store.read_statistics(record.run_id).items()}

        return Kind(store.statistics_path(record.run_id), read, notes, "bench evaluate")

    def codec() -> Kind:
        def read():
            made = codec_of()
            fitted_codec(made, label_maps, 3, cache, silent, told)
            return made.fingerprint()

        read()
        return Kind(next(cache.glob("codec-*.sealed")), read, notes)

    def quality() -> Kind:
        made = codec_of("identity")
        labels = read_labels(label_maps, silent)

        def read():
            found = measured_quality(made, label_maps, labels, cache, silent, told)
            return {name: None if math.isnan(value) else value for name, value in found.items()}

        read()
        return Kind(next(cache.glob("quality-*")), read, notes)

    def prior() -> Kind:
        made = codec_of("identity")
        fitted = generation.TokenPrior(made.vocabulary, (32, 32), width=8)
        monkeypatch.setattr(generation, "TokenPrior", lambda *_: copy.deepcopy(fitted))
        monkeypatch.setattr(generation, "fit_token_prior", lambda *_: copy.deepcopy(fitted))

        def read():
            return flat(generation.token_prior(made, label_maps, 0, cache, silent, told).state_dict())

        read()
        return Kind(next(cache.glob("token-prior-*")), read, notes)

    def labels_read() -> Kind:
        sparse = supervise(mini, "points", 0, cache)
        return Kind(sparse.items[1].label, lambda: sparse.label(1).numpy().tobytes(), notes)

    def labels_opened() -> Kind:
        def read():
            sparse = supervise(mini, "points", 1, cache)
            return sparse.items[1].label.read_bytes()

        return Kind(supervise(mini, "points", 1, cache).items[1].label, read, notes)

    def fraction() -> Kind:
        def read():
            sparse = supervise(mini, "points", 0, cache)
            return sparse.labelled_fraction(), sparse.labelled_pixels_per_image()

        read()
        return Kind(next(cache.rglob("fraction.json")), read, notes)

    def presence() -> Kind:
        def read():
            return data.class_presence(mini, describe(mini), cache, bar, told).tolist()

        read()
        return Kind(next(cache.glob("presence-*")), read, notes)

    def decoded(ending: str) -> Callable[[], Kind]:
        def made() -> Kind:
            def read():
                return [tuple(map(torch.Tensor.tolist, s[:2])) for s in decode_once(mini, "", cache, bar, told)]

            read()
            return Kind(next(cache.glob(f"decoded-*.{ending}")), read, notes)

        return made

    def rendering(name: str) -> Callable[[], Kind]:
        def made() -> Kind:
            place = tmp_path / "toyscapes" / "val"

            def read():
                ensure_split(place, "val", 2, (32, 64))
                return [path.read_bytes() for path in sorted(place.rglob("*.png"))]

            read()
            return Kind(place / name, read, notes)

        return made

    def prediction() -> Kind:
        path = tmp_path / "image.pt"
        anomaly._write(path, {"scores": {"msp": torch.arange(9.0)}})

        def read():
            scores, found = anomaly._recall(path, torch.zeros(3, 3, dtype=torch.long), "nll")
            return {name: values.tolist() for name, values in scores.items()}, found.tolist()

        return Kind(path, read, notes, "repeat the command")

    named = (checkpoint, model, unfinished, unfinished_statistics, statistics, codec, quality, prior)
    named += (labels_read, labels_opened, fraction, presence, prediction)
    pictures = {"image": "images/0001.png", "label": "labels/0001.png", "manifest": "complete.json"}
    kinds = {make.__name__: make for make in named} | {name: rendering(place) for name, place in pictures.items()}
    return kinds | {f"decoded_{ending}": decoded(ending) for ending in ("bin", "index")}


KINDS = ["checkpoint", "model", "unfinished", "unfinished_statistics", "statistics", "prediction"]
MADE_AGAIN = [
    "codec",
    "quality",
    "prior",
    "labels_read",
    "labels_opened",
    "fraction",
    "presence",
    "decoded_bin",
    "decoded_index",
]
MADE_AGAIN += ["image", "label", "manifest"]


@pytest.mark.parametrize("name", [*KINDS, *MADE_AGAIN])
def test_every_damage_is_named_or_mended(kinds, name, record_property):
    kind: Kind = kinds[name]()
    whole, expected = kind.path.read_bytes(), kind.read()
    kind.notes()
    tried = damages(whole)
    for damage, content in tried:
        kind.path.write_bytes(content)
        if kind.remedy:
            with pytest.raises(UserError) as caught:
                kind.read()
            assert_sentence(caught.value, kind.path, kind.remedy)
            continue
        found, said = kind.read(), kind.notes()
        assert str(kind.path) in said, damage
        assert "again" in said, damage
        if kind.beside:
            assert found == {}, damage
        else:
            assert found == expected, damage
            assert kind.path.read_bytes() == whole or name in ("codec", "prior"), damage
            assert (kind.read(), kind.notes()) == (expected, ""), damage
    record_property("damages", len(tried))
    assert len(tried) >= 11


def test_flips_are_tried_at_every_64_kib():
    content = bytes(10 * SPACING)
    flipped = {found.index(1) for name, found in damages(content) if "flipped" in name}
    assert {i * SPACING for i in range(10)} <= flipped


def of_schema_1(folder: Path, record: Record) -> None:
    """What an earlier version of the suite left of a run that was interrupted while it was scored."""
    content = record.model_dump(mode="json", exclude={"configuration"}) | {"schema_version": 1}
    about = f"statistics per image of the model {record.checkpoint_hash}"
    files.write_sealed(folder / "progress.npz", records.compressed(ARRAYS), about)
    files.write_sealed(folder / "progress.json", json.dumps(content).encode(), "record of an unfinished run")


def test_a_run_that_an_earlier_version_began_is_continued(store, record, run_config):
    folder = store.run_folder(record.run_id)
    of_schema_1(folder, record)
    found, arrays = progress.so_far(store, run_config)
    assert found == record
    assert arrays.keys() == ARRAYS.keys()
    assert [unfinished.run_id for unfinished in store.unfinished()] == [record.run_id]
    progress.save_record(folder, found)
    assert progress.so_far(store, run_config)[1].keys() == ARRAYS.keys()
    progress.save(folder, found, arrays)
    assert not [*folder.glob("progress.*")]
    assert progress.so_far(store, run_config)[0] == record


def test_what_an_earlier_version_began_and_left_damaged_is_named(store, record, run_config):
    folder = store.run_folder(record.run_id)
    of_schema_1(folder, record)
    path = folder / "progress.json"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError) as caught:
        progress.so_far(store, run_config)
    assert_sentence(caught.value, path, "--force")


def test_a_run_that_a_newer_version_began_is_named(store, record, run_config):
    path = store.run_folder(record.run_id) / records.SO_FAR
    files.write_sealed(path, json.dumps({"schema_version": 3}).encode(), records.ABOUT)
    with pytest.raises(UserError) as caught:
        progress.so_far(store, run_config)
    assert_sentence(caught.value, path, "schema version 3", "--force")


def test_damaged_progress_costs_nothing_where_the_record_is_there(kinds, store, record, run_config, notes):
    record.statistics_hash = store.write_statistics(record.run_id, ARRAYS)
    store.write(record)
    kind = kinds["unfinished"]()
    for _, content in damages(kind.path.read_bytes()):
        kind.path.write_bytes(content)
        found, arrays = progress.so_far(store, run_config)
        assert found == record
        assert arrays.keys() == ARRAYS.keys()
        assert "going on from the record" in notes()


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a step beyond the end": lambda state: {**state, "step": 10**6},
    "the last step": lambda state: {**state, "step": 300},
    "step 0": lambda state: {**state, "step": 0},
    "a step before the beginning": lambda state: {**state, "step": -5},
    "a step that is no number": lambda state: {**state, "step": float("nan")},
    "a step that is a word": lambda state: {**state, "step": "many"},
    "no step": lambda state: {k: v for k, v in state.items() if k != "step"},
    "a list": lambda state: [1, 2],
    "a tensor": lambda state: torch.ones(3),
    "a number": lambda state: 7,
    "nothing": lambda state: None,
    "method None": lambda state: {**state, "method": None},
    "method a list": lambda state: {**state, "method": [1]},
    "other tensors": lambda state: {**state, "method": {"layer.weight": torch.ones(2, 2)}},
    "optimiser None": lambda state: {**state, "optimiser": None},
    "an empty optimiser": lambda state: {**state, "optimiser": {}},
    "optimiser without groups": lambda state: {**state, "optimiser": {"state": {}, "param_groups": []}},
    "history None": lambda state: {**state, "history": None},
    "plugins a list": lambda state: {**state, "plugins": [1]},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_checkpoint_that_makes_no_sense_is_refused(run_config, fabric, tmp_path, what):
    made, method, optimiser = a_checkpoint(run_config, fabric, tmp_path)
    made.plugins = {"proto.py": "digest"}
    made.save(method, optimiser, 3, 1.5)
    state = torch.load(io.BytesIO(files.read_sealed(made.path, checkpoints.ABOUT)), weights_only=True)
    files.write_sealed(made.path, serialised(HOSTILE[what](state)), checkpoints.ABOUT)
    with pytest.raises(UserError) as caught:
        made.resume(method, optimiser)
    assert_sentence(caught.value, made.path, "--force")


def test_a_checkpoint_of_before_there_were_seals_is_refused(run_config, fabric, tmp_path):
    made, method, optimiser = a_checkpoint(run_config, fabric, tmp_path)
    made.save(method, optimiser, 3, 1.5)
    made.path.write_bytes(files.read_sealed(made.path, checkpoints.ABOUT))
    with pytest.raises(UserError, match=r"older version.*--force"):
        made.resume(method, optimiser)


def test_statistics_of_another_model_are_not_taken(kinds, record, notes):
    kind = kinds["unfinished_statistics"]()
    assert kind.read()
    other = record.model_copy(update={"checkpoint_hash": "0" * 64})
    progress.save(kind.path.parent / "other", other, {"closed-set/test/confusion": np.ones(3)})
    shutil.copy(kind.path.parent / "other" / records.STATISTICS_SO_FAR, kind.path)
    assert kind.read() == {}
    assert "scored again" in notes()


def test_statistics_that_are_whole_but_not_those_of_the_record_are_refused(kinds, store, record):
    kind = kinds["statistics"]()
    kind.path.write_bytes(records.compressed({"closed-set/test/confusion": np.ones(3)}))
    with pytest.raises(UserError) as caught:
        kind.read()
    assert_sentence(caught.value, kind.path, "bench evaluate")


def test_older_records_name_no_statistics_and_are_read(kinds, store, record):
    kind = kinds["statistics"]()
    path = store.record_path(record.run_id)
    older = json.loads(path.read_text())
    del older["statistics_hash"]
    path.write_text(json.dumps(older))
    assert kind.read()


@pytest.mark.parametrize("what", ["another shape", "of before there were seals", "another data set's"])
def test_class_presence_of_something_else_is_indexed_again(kinds, mini, store, what):
    kind = kinds["presence"]()
    expected = kind.read()
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 3), bool) if what == "another shape" else ~np.array(expected))
    if what == "another data set's":
        files.write_sealed(kind.path, buffer.getvalue(), "classes in the images of camvid/train, 0")
    else:
        kind.path.write_bytes(buffer.getvalue())
    assert kind.read() == expected
    assert str(kind.path) in kind.notes()


def test_codec_figures_that_were_edited_are_measured_again(kinds):
    kind = kinds["quality"]()
    expected = kind.read()
    text = kind.path.read_text()
    kind.path.write_text(re.sub(r'"miou": [\d.]+', '"miou": 0.123', text))
    assert kind.path.read_text() != text
    assert kind.read() == expected
    assert str(kind.path) in kind.notes()


def test_sparse_labels_of_another_image_are_not_taken(kinds, mini, store):
    sparse = supervise(mini, "points", 0, store.cache)
    expected = sparse.label(1).numpy()
    shutil.copy(sparse.items[2].label, sparse.items[1].label)
    assert np.array_equal(sparse.label(1).numpy(), expected)


RUN = ("run", "--method", "majority", "--dataset", "toyscapes_mini", "--encoder", "resnet18")


@pytest.fixture(scope="module")
def finished(finish):
    """A results folder with a run of majority under closed-set."""
    return finish(*RUN, "--protocol", "closed-set")


def the_record(results: Path) -> Record:
    (found,) = records.Store(results).records()
    return found


def content(results: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in results.rglob("*") if p.is_file() and p.name != ".lock"}


def altered(path: Path, value: float | None = None) -> None:
    """Other weights in a file that is whole."""
    state = load_file(path)
    if value is None:
        other = {name: tensor + 1 for name, tensor in state.items()}
    else:
        other = {name: torch.full_like(t, value) if t.is_floating_point() else t for name, t in state.items()}
    save_file(other, path)


COMMANDS = {
    "evaluate closed-set": ("evaluate", "RUN", "--protocol", "closed-set"),
    "evaluate calibration": ("evaluate", "RUN", "--protocol", "calibration"),
    "evaluate all": ("evaluate", "RUN"),
    "another protocol of the run": (*RUN, "--protocol", "calibration"),
    "predict": ("predict", "RUN", "IMAGE", "--out", "OUT"),
    "sample an image": ("sample", "RUN", "--image", "IMAGE", "--out", "OUT"),
    "sample nothing": ("sample", "RUN", "--out", "OUT"),
    "explain": ("explain", "RUN", "test/0001", "--out", "OUT"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("value", "progress_is_there"), [(None, True), (None, False), (math.nan, True)])
def test_an_altered_model_is_refused_by_every_command(bench, results, tmp_path, command, value, progress_is_there):
    run_id = the_record(results).run_id
    folder = results / "runs" / run_id
    altered(folder / models.MODEL, value)
    if not progress_is_there:
        (folder / records.SO_FAR).unlink()
    Image.new("RGB", (128, 64)).save(tmp_path / "image.png")
    before = content(results)
    words = {"RUN": run_id, "IMAGE": str(tmp_path / "image.png"), "OUT": str(tmp_path / "out")}
    outcome = bench(*(words.get(word, word) for word in COMMANDS[command]))
    assert outcome.exit_code == 2, outcome.output
    sentence = outcome.stderr.strip().splitlines()[-1]
    for word in ("error: ", models.MODEL, "--force"):
        assert word in sentence
    assert content(results) == before
    assert not (tmp_path / "out").exists()


def test_pictures_of_an_altered_model_are_not_drawn(bench, results, tmp_path):
    altered(results / "runs" / the_record(results).run_id / models.MODEL)
    outcome = bench("pictures", str(results), "--out", str(tmp_path / "out"))
    assert outcome.exit_code == 2, outcome.output
    assert models.MODEL in outcome.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_altered_before_its_first_scores_is_refused(bench, results):
    """As if the run had been interrupted between training and scoring."""
    store, record = records.Store(results), the_record(results)
    folder = store.run_folder(record.run_id)
    shutil.rmtree(store.records_folder)
    progress.save(folder, record.model_copy(update={"protocols": {}}), {})
    altered(folder / models.MODEL)
    before = content(results)
    outcome = bench(*RUN, "--protocol", "closed-set")
    assert outcome.exit_code == 2, outcome.output
    assert "--force" in outcome.stderr.strip().splitlines()[-1]
    assert content(results) == before
    assert bench(*RUN, "--protocol", "closed-set", "--force").exit_code == 0
    again = the_record(results)
    assert again.checkpoint_hash == record.checkpoint_hash
    assert again.protocols["closed-set"].targets == record.protocols["closed-set"].targets


def test_a_leaderboard_says_which_statistics_are_not_those_of_the_record(bench, results):
    run_id = the_record(results).run_id
    path = results / "records" / f"{run_id}.npz"
    path.write_bytes(records.compressed({}))
    outcome = bench("leaderboard", str(results))
    if outcome.exit_code:  # a single run is compared with nothing, so that none may be read
        assert outcome.exit_code == 2
        assert str(path) in outcome.stderr
    with pytest.raises(UserError, match="bench evaluate"):
        records.Store(results).read_statistics(run_id)
    assert bench("evaluate", run_id, "--protocol", "closed-set").exit_code == 0
    assert records.Store(results).read_statistics(run_id)


def test_what_killed_processes_left_is_gone_after_the_next_run(bench, results):
    store, run_id = records.Store(results), the_record(results).run_id
    folder = store.run_folder(run_id)
    left = [folder / ".training.ckpt.part", folder / ".record.json.x8s_1.part", store.cache / ".codec-1.sealed.part"]
    left += [store.records_folder / f".{run_id}.json.part"]
    for path in left:
        files.write(path, b"half")
    (folder / "predictions-x").mkdir()
    (folder / "predictions-x" / "image.pt").write_bytes(b"half")
    kept = {path for path in results.rglob("*") if ".part" not in path.name and "predictions-" not in str(path)}
    assert "finished already" in bench(*RUN, "--protocol", "closed-set").stderr
    assert {*results.rglob("*")} == kept


def test_a_run_that_is_being_computed_loses_nothing_to_another(results):
    store, run_id = records.Store(results), the_record(results).run_id
    with claimed(store.run_folder(run_id), run_id):
        (store.run_folder(run_id) / "predictions-x").mkdir()
        with pytest.raises(UserError, match="another process"), claimed(store.run_folder(run_id), run_id):
            pass
    assert (store.run_folder(run_id) / "predictions-x").exists()


def flips(path: Path) -> Iterator[int]:
    """Flip one byte after the other of a file, at every 64 KiB and in each line of its header, and put it back."""
    with path.open("r+b") as file:
        size, head = path.stat().st_size, file.read(200)
        lines = [i for i, byte in enumerate(head) if byte == ord("\n")][:3]
        for spot in sorted({*range(0, size, SPACING), *(line - 1 for line in lines), size - 1}):
            file.seek(spot)
            byte = file.read(1)
            for value in (bytes([byte[0] ^ 1]), byte):
                file.seek(spot)
                file.write(value)
                file.flush()
                if value != byte:
                    yield spot


@pytest.mark.long
def test_no_flip_in_a_real_checkpoint_or_model_is_read(mini, fabric, tmp_path, monkeypatch, record_property):
    made = build("network.encoder=mobilenet_v2", "recipe.checkpoint_every=2", "recipe.batch_size=1")
    with killed_at_a_checkpoint():
        train(made, mini, fabric, tmp_path)
    method = models.build_method(registry.methods.get("softmax"), made, mini.classes)
    unfinished = Checkpoint(tmp_path / checkpoints.CHECKPOINT, made, fabric)
    optimiser = torch.optim.AdamW(method.parameters())
    tried = 0
    for _ in flips(unfinished.path):
        tried += 1
        with pytest.raises(UserError, match=str(unfinished.path)):
            unfinished.resume(method, optimiser)
    record_property("flips of a checkpoint", tried)
    assert tried > 500
    tried = 0
    trained = train(made, mini, fabric, tmp_path)
    path = tmp_path / models.MODEL
    monkeypatch.setattr(models, "build_method", lambda *_: method)
    for _ in flips(path):
        tried += 1
        with pytest.raises(UserError, match=str(path)):
            models.load_model(type(method), made, mini.classes, path, trained.digest)
    record_property("flips of a model", tried)
    assert tried > 150
    assert models.load_model(type(method), made, mini.classes, path, trained.digest) is method
