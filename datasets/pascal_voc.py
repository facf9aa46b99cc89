"""PASCAL VOC 2012: photographs of twenty kinds of objects before background, alone and with the SBD
annotation.

Source: Everingham et al. (2010) for VOC; Hariharan et al. (2011), the Semantic Boundaries Dataset (SBD), for
the additional training labels, which make up what papers call VOC aug or trainaug.
Licence: research use; the images are from Flickr, under its terms.
Labels: palette images: index 0 is background, 1..20 are the objects, 255 is the boundary between objects and
difficult regions, which becomes ``IGNORE``. SBD labels have no boundary.

Pitfalls: SBD annotates the images of VOC's train split too, but differently. In ``pascal_voc_aug`` VOC's own
label wins for these 1464 images, and the other 9118 take SBD's, from ``SegmentationClassAug`` where it exists
and else from SBD's own files, of which ``bench data prepare`` makes that folder. SBD also covers images of VOC's val
split; training on one of them would spoil the measurement, so a list that names one is refused. Published figures are
on val, which leaves no split for selection: the last checkpoint counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from datasets.base import DataError, Dataset, Item, Split, Submission, list_files
from datasets.class_sets import VOC_21
from datasets.conversion import Conversion, label_png
from datasets.matlab_labels import MatlabLabels


class PascalVOC(Dataset):
    """PASCAL VOC 2012 with its own labels."""

    name = "pascal_voc"
    title = "PASCAL VOC 2012"
    classes = VOC_21
    splits: ClassVar = {"train": Split(1464), "val": Split(1449)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions to the VOC server"}
    submission = Submission("results/VOC2012/Segmentation/comp6_test_cls/{name}.png", palette=True)
    home = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCtrainval_11-May-2012.tar)"
    licence = "research use; images under the terms of Flickr"
    layout = (
        "VOCdevkit/VOC2012/{JPEGImages/NAME.jpg, SegmentationClass/NAME.png, ImageSets/Segmentation/{train,val}.txt}"
    )
    citation = (
        "Everingham, Van Gool, Williams, Winn, Zisserman: The PASCAL visual object classes (VOC) challenge. IJCV "
        "88(2), 2010"
    )
    archives: ClassVar = {"VOCtrainval_11-May-2012.tar": "6cd6e144f989b92b3379bac3b3de84fd"}

    @property
    def devkit(self) -> Path:
        """The folder that holds ``JPEGImages``: the official place, or closer to the root."""
        return self.place("VOCdevkit/VOC2012", "VOC2012", "")

    def find(self) -> list[Item]:
        """List the names of the split's own list."""
        return [self._item(name) for name in self._names(self.split)]

    def _item(self, name: str, label: Path | None = None) -> Item:
        image = self.devkit / "JPEGImages" / f"{name}.jpg"
        return Item(name, image, label or self.devkit / "SegmentationClass" / f"{name}.png")

    def _list_file(self, name: str) -> Path:
        return self.devkit / "ImageSets" / "Segmentation" / f"{name}.txt"

    def _names(self, name: str) -> list[str]:
        """The image names of a list."""
        return self.names_in(self._list_file(name))


class PascalVOCAug(MatlabLabels, PascalVOC):
    """PASCAL VOC 2012 trained on the union of its own and SBD's labels; val is VOC's."""

    name = "pascal_voc_aug"
    folder_name = PascalVOC.name
    title = "PASCAL VOC 2012 + SBD"
    splits: ClassVar = {
        "train": Split(10582, note="1464 with VOC's labels, 9118 with SBD's"),
        "val": Split(1449),
    }
    home = (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCtrainval_11-May-2012.tar) and "
        "http://home.bharathh.info/pubs/codes/SBD/download.html (benchmark.tgz)"
    )
    layout = (
        "that of pascal_voc, and beside it either SegmentationClassAug/NAME.png (in VOC2012, with "
        "ImageSets/Segmentation/trainaug.txt or aug.txt) or VOCaug/dataset/{cls/NAME.mat, train.txt, val.txt}"
    )
    citation = (
        "Everingham, Van Gool, Williams, Winn, Zisserman: The PASCAL visual object classes (VOC) challenge. IJCV "
        "88(2), 2010; Hariharan, Arbelaez, Bourdev, Maji, Malik: Semantic contours from inverse detectors. ICCV 2011"
    )
    archives: ClassVar = {**PascalVOC.archives, "benchmark.tgz": "82b4d87ceb2ed10f6038a1cba92111cb"}

    @property
    def sbd(self) -> Path:
        """SBD's ``dataset`` folder."""
        return self.place("benchmark_RELEASE/dataset", "VOCaug/dataset")

    def find(self) -> list[Item]:
        """List VOC's train and SBD's images without VOC's val; val is VOC's own."""
        if self.split != "train":
            return super().find()
        own, held_out = self._names("train"), set(self._names("val"))
        names = self._augmented(set(own), held_out)
        leaked = sorted(held_out.intersection(names))
        if leaked:
            raise DataError(
                f"{self.name}: the training list in {self._list_file('trainaug').parent} names "
                f"{len(leaked)} images of val, the first is {leaked[0]}; replace it by the list of "
                f"{self.splits['train'].count} names"
            )
        return [self._item(name, None if name in set(own) else self._sbd_label(name)) for name in sorted(names)]

    def _augmented(self, own: set[str], held_out: set[str]) -> set[str]:
        if self._list_file("trainaug").is_file():
            return own.union(self._names("trainaug"))
        if self._list_file("aug").is_file():
            return own.union(self._names("aug"))
        annotated = {p.stem for p in [*list_files(self.sbd / "cls", ".mat"), *list_files(self._converted, ".png")]}
        if own and not annotated:
            # Even where a partial data set is allowed, VOC's train split alone is not this data set.
            raise DataError(
                f"{self.name}: neither {self._list_file('trainaug')} nor {self._list_file('aug')} nor "
                f"{self.sbd / 'cls'} is there to say which images SBD adds; the layout below {self.folder} "
                f"should be {self.layout}; get it from {self.home}"
            )
        return own.union(annotated) - held_out

    @property
    def _converted(self) -> Path:
        return self.devkit / "SegmentationClassAug"

    def _sbd_label(self, name: str) -> Path:
        return self._converted / f"{name}.png" if self._converted.is_dir() else self.sbd / "cls" / f"{name}.mat"

    def conversions(self) -> list[Conversion]:
        """The training labels in one folder of images: VOC's own as they are, and SBD's."""
        if all(item.label.suffix == ".png" for item in self.items):
            return []
        labels = {
            f"{item.id}.png": item.label.read_bytes if item.label.suffix == ".png" else partial(label_png, self, i)
            for i, item in enumerate(self.items)
        }
        return [Conversion(self._converted, labels)]

    def label_map(self, content: Mapping[str, Any]) -> Any:
        """The class map of an SBD file."""
        return content["GTcls"]["Segmentation"][0, 0]
