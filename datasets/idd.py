"""IDD, the India Driving Dataset: unstructured roads of Hyderabad and Bangalore in 26 classes.

Source: Varma et al. (2019), part I, 1920x1080 and smaller; the table of labels is ``helpers/anue_labels.py`` of
https://github.com/AutoNUE/public-code.
Licence: research use, after registration; this and the name of the archive are unconfirmed.
Labels: the release has polygons; ``preperation/createLabels.py`` of the makers' scripts, with ``--id-type level3Id``,
makes the files that are read here: 0 to 25 are the classes of level 3, 255 is void.

Pitfalls: a class of level 3 may join several labels, and is called here by the one that counts most: parking lies
within drivable fallback, animals within person, trains, caravans and trailers within vehicle fallback, tunnels within
bridge, and whatever IDD calls fallback background within sky. Part II of the release has more images, which are then
part of a split, too; figures do not compare.
"""

from __future__ import annotations

from typing import ClassVar

from datasets.base import Dataset, Item, Split, list_files
from datasets.class_sets import IDD_26


class IDD(Dataset):
    """IDD, the 26 classes of level 3."""

    name = "idd"
    title = "IDD"
    classes = IDD_26
    splits: ClassVar = {"train": Split(6993), "val": Split(981)}
    selection_split = None
    withheld: ClassVar = {"test": "use split 'val', or submit predictions to the makers"}
    home = "https://idd.insaan.iiit.ac.in (registration, IDD Segmentation part I; the name is unconfirmed)"
    licence = "research use after registration (unconfirmed)"
    layout = (
        "leftImg8bit/SPLIT/DRIVE/ID_leftImg8bit.png (or .jpg) with gtFine/SPLIT/DRIVE/ID_gtFine_labellevel3Ids.png, "
        "directly or inside IDD_Segmentation/"
    )
    citation = (
        "Varma, Subramanian, Namboodiri, Chandraker, Jawahar: IDD: a dataset for exploring problems of autonomous "
        "navigation in unconstrained environments. WACV 2019"
    )

    def find(self) -> list[Item]:
        """List the images of every drive; ids are ``DRIVE/ID``, since frame numbers recur across drives."""
        inner = self.folder / "IDD_Segmentation"
        base = inner if inner.is_dir() else self.folder
        images, labels = base / "leftImg8bit" / self.split, base / "gtFine" / self.split
        items = []
        for drive in sorted(p for p in images.iterdir() if p.is_dir()) if images.is_dir() else []:
            for image in list_files(drive, "_leftimg8bit.png", "_leftimg8bit.jpg"):
                frame = image.stem.removesuffix("_leftImg8bit")
                label = labels / drive.name / f"{frame}_gtFine_labellevel3Ids.png"
                items.append(Item(f"{drive.name}/{frame}", image, label))
        return items
