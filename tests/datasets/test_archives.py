"""Zips read in place: what is found and read is what unpacking them would give."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from bench.data.fingerprint import describe
from bench.data.preparation import prepare
from bench.data.reading import read_ahead
from bench.plugins import registry
from datasets.archives import ArchivedPath, unpacked
from datasets.base import DataError, list_files
from tests.datasets.miniatures import MINIATURES, one_sentence


def zipped(root: Path) -> None:
    """Put each entry of each data set's folder into a zip of its own, and leave nothing else."""
    for folder in root.iterdir():
        for entry in sorted(folder.iterdir()):
            files = sorted(p for p in [entry, *entry.rglob("*")] if p.is_file())
            with zipfile.ZipFile(folder / f"{entry.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, path.relative_to(folder))
            for path in files:
                path.unlink()
            for path in sorted(entry.rglob("*"), reverse=True):
                path.rmdir()
            if entry.is_dir():
                entry.rmdir()


@pytest.mark.parametrize(("name", "variant"), [(name, variant) for name in MINIATURES for variant in MINIATURES[name]])
def test_a_data_set_in_zips_is_the_same_as_unpacked(name, variant, tmp_path):
    plugin = registry.datasets.get(name)
    MINIATURES[name][variant](tmp_path)

    def opened():
        return {split: plugin(tmp_path, split, allow_partial=True) for split in plugin.splits}

    before = {split: (data.items, describe(data), list(map(tuple, data))) for split, data in opened().items()}
    zipped(tmp_path)
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".zip"}
    for split, data in opened().items():
        items, info, samples = before[split]
        assert data.items == items
        assert describe(data) == info
        data.check_files()
        for sample, (image, label, image_id) in zip(data, samples, strict=True):
            assert torch.equal(sample.image, image)
            assert torch.equal(sample.label, label)
            assert sample.id == image_id


@pytest.fixture
def ade20k(tmp_path):
    MINIATURES["ade20k"]["archive"](tmp_path)
    zipped(tmp_path)
    return tmp_path


def opened(root):
    return registry.datasets.get("ade20k")(root, "val", allow_partial=True)


def test_no_process_shares_the_handle_of_another(ade20k):
    data = opened(ade20k)
    data[0]  # so that this process has one
    for found in (list(read_ahead(data)), list(DataLoader(data, batch_size=None, num_workers=2))):
        assert [sample.id for sample in found] == [item.id for item in data.items]
        assert all(torch.equal(sample.image, data[i].image) for i, sample in enumerate(found))
    if hasattr(os, "fork"):
        own = data.items[0].image.read_bytes()
        held = zip_handles()
        child = os.fork()
        if not child:
            data.items[0].image.read_bytes()
            os._exit(0 if zip_handles() == 2 * held else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert data.items[0].image.read_bytes() == own


def zip_handles() -> int:
    """Open files of this process that are zips."""
    folder = Path("/proc/self/fd")
    return sum(os.readlink(fd).endswith(".zip") for fd in folder.iterdir() if os.path.lexists(fd))


def test_a_new_process_finds_what_it_is_sent(ade20k):
    sent = pickle.dumps(opened(ade20k))
    code = "import pickle, sys; data = pickle.loads(sys.stdin.buffer.read()); print(data[0].image.sum().item())"
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert int(done.stdout) == opened(ade20k)[0].image.sum().item()


def test_files_on_disk_come_first_and_zips_add_to_them(ade20k):
    item = opened(ade20k).items[0]
    assert not os.path.lexists(item.image)
    plain = Path(item.image)
    plain.parent.mkdir(parents=True)
    plain.write_bytes(b"mine")
    assert item.image.read_bytes() == b"mine"
    assert item.image.stat().st_size == 4
    (plain.parent / "another.jpg").write_bytes(b"other")
    names = [p.name for p in list_files(item.image.parent, ".jpg")]
    assert names == sorted(["another.jpg", item.image.name])


def test_a_folder_without_zips_is_a_path_like_any_other(tmp_path):
    assert type(unpacked(tmp_path)) is type(tmp_path)
    assert type(unpacked(tmp_path / "nowhere")) is type(tmp_path)


def test_a_path_in_a_zip_answers_like_a_path(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.txt", "one\ntwo")
        archive.writestr("images/deep/b.txt", "x")
    folder = unpacked(tmp_path)
    assert isinstance(folder, ArchivedPath)
    path = folder / "images" / "a.txt"
    assert (path.exists(), path.is_file(), path.is_dir(), path.suffix) == (True, True, False, ".txt")
    assert (path.parent.exists(), path.parent.is_file(), path.parent.is_dir()) == (True, False, True)
    assert path.read_text() == "one\ntwo"
    assert path.stat().st_size == 7
    assert path.stat().st_mtime_ns == (tmp_path / "a.zip").stat().st_mtime_ns
    assert path == Path(tmp_path / "images" / "a.txt")
    assert sorted(p.name for p in folder.iterdir()) == ["a.zip", "images"]
    assert [p.name for p in folder.glob("*/*.txt")] == ["a.txt"]
    assert [p.name for p in folder.rglob("*.txt")] == ["a.txt", "b.txt"]
    absent = folder / "images" / "c.txt"
    assert not absent.exists()
    for act in (absent.read_bytes, absent.stat, lambda: list(absent.iterdir())):
        with pytest.raises(FileNotFoundError):
            act()


def test_what_a_zip_has_outside_of_its_folder_is_not_there(tmp_path):
    (tmp_path / "secret.txt").write_text("mine")
    folder = tmp_path / "set"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name in ("../secret.txt", "/etc/a.txt", "images/../../b.txt", "images//c.txt", "images/d.txt"):
            archive.writestr(name, "theirs")
    found = unpacked(folder)
    assert [p.relative_to(folder).as_posix() for p in found.rglob("*.txt")] == ["images/d.txt"]
    assert (found / ".." / "secret.txt").read_text() == "mine"


def test_links_that_lead_in_circles_end(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.txt", "x")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    assert [p.name for p in unpacked(tmp_path).rglob("*.txt")] == ["a.txt"]


def test_a_zip_that_arrives_later_is_seen(tmp_path):
    assert not isinstance(unpacked(tmp_path), ArchivedPath)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    os.utime(tmp_path, ns=(0, tmp_path.stat().st_mtime_ns + 10**9))  # clocks of file systems are coarse
    assert (unpacked(tmp_path) / "a.txt").is_file()


def test_a_zip_that_is_exchanged_is_read_anew(tmp_path):
    for text in ("first", "second, longer"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.txt", text)
        assert (unpacked(tmp_path) / "a.txt").read_text() == text


def test_a_zip_that_is_cut_off_is_named(ade20k):
    (archive,) = (ade20k / "ade20k").iterdir()
    archive.write_bytes(archive.read_bytes()[:-100])
    with one_sentence(DataError, archive, "no whole zip", "fetch it again"):
        opened(ade20k)


def test_a_file_that_is_damaged_in_its_zip_is_named_with_it(ade20k):
    data = opened(ade20k)
    (archive,) = (ade20k / "ade20k").iterdir()
    item = data.items[0]
    with zipfile.ZipFile(archive) as whole:
        info = whole.getinfo(item.image.relative_to(data.folder).as_posix())
    content = bytearray(archive.read_bytes())
    middle = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    content[middle : middle + 8] = bytes(8)
    archive.write_bytes(content)
    for read in (lambda data: data[0], describe):
        with one_sentence(DataError, item.image, archive):
            read(opened(ade20k))


def test_what_is_slow_to_read_is_converted_from_a_zip(tmp_path):
    MINIATURES["coco_stuff_10k"]["official"](tmp_path)
    zipped(tmp_path)
    plugin = registry.datasets.get("coco_stuff_10k")
    before = [plugin(tmp_path, split, allow_partial=True).label(0) for split in plugin.splits]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin, "splits", {s: facts.__class__(None) for s, facts in plugin.splits.items()})
        list(prepare(plugin, tmp_path, workers=1))
    converted = [plugin(tmp_path, split, allow_partial=True) for split in plugin.splits]
    assert all(os.path.lexists(data.items[0].label) and data.items[0].label.suffix == ".png" for data in converted)
    assert all(torch.equal(data.label(0), label) for data, label in zip(converted, before, strict=True))
