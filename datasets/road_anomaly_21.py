"""RoadAnomaly21: unusual things on and beside roads, the anomaly track of SegmentMeIfYouCan.

Source: Chan et al. (2021), "SegmentMeIfYouCan: a benchmark for anomaly segmentation".
Licence: research use; the authors of the images are in the archive's credits.
Labels: 0 not anomalous, 1 anomalous, 255 void.

Pitfalls: only ten images have labels, of the validation; those of the 100 test images are withheld. Ten images rank
nothing. This is not RoadAnomaly of 2019, which has some of the test images, with other labels.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import ComponentSizes, Dataset, Item, Split, list_files
from datasets.class_sets import ANOMALY


class RoadAnomaly21(Dataset):
    """RoadAnomaly21, the ten labelled validation images."""

    name = "road_anomaly_21"
    title = "RoadAnomaly21"
    classes = ANOMALY
    splits: ClassVar = {"val": Split(10, task="anomaly", note="the labelled validation images")}
    train_split = None
    eval_splits = ()
    selection_split = None
    components = ComponentSizes(predicted=500, labelled=100)  # the benchmark's anomaly track
    withheld: ClassVar = {
        "test": "use split 'val', or submit to https://segmentmeifyoucan.com what `bench predict --format hdf5` writes"
    }
    home = "https://segmentmeifyoucan.com/datasets (dataset_AnomalyTrack.zip, https://zenodo.org/record/5270237)"
    licence = "research use; credits of the images in the archive"
    layout = (
        "images/validationNNNN.jpg with labels_masks/validationNNNN_labels_semantic.png, directly or inside "
        "dataset_AnomalyTrack/"
    )
    archives: ClassVar = {"dataset_AnomalyTrack.zip": "231bf79ed58924bcd33d9cbe22e61076"}
    citation = (
        "Chan, Lis, Uhlemeyer, Blum, Honari, Siegwart, Fua, Salzmann, Rottmann: SegmentMeIfYouCan: a benchmark for "
        "anomaly segmentation. NeurIPS Datasets and Benchmarks 2021"
    )

    def find(self) -> list[Item]:
        """List the validation images: other names in the archive are of test images."""
        base = self.place("dataset_AnomalyTrack", "")
        return [
            Item(p.stem, p, base / "labels_masks" / f"{p.stem}_labels_semantic.png")
            for p in list_files(base / "images", ".jpg")
            if p.stem.startswith("validation")
        ]
