"""What a record says of the data of a run."""

import copy

from bench.data.fingerprint import describe


def test_fingerprint_follows_ids_and_labels(mini, tmp_path):
    base = describe(mini)
    assert base.images == len(mini)
    renamed = copy.copy(mini)
    renamed.items = [mini.items[0]._replace(id="other"), *mini.items[1:]]
    assert describe(renamed).fingerprint != base.fingerprint
    changed = copy.copy(mini)
    other = tmp_path / "label.png"
    other.write_bytes(mini.items[0].label.read_bytes() + b"x")
    changed.items = [mini.items[0]._replace(label=other), *mini.items[1:]]
    assert describe(changed).fingerprint != base.fingerprint


def test_content_follows_the_size_of_every_file_and_the_bytes_of_some(mini, tmp_path):
    def with_image(index, content):
        changed = copy.copy(mini)
        path = tmp_path / f"{len(content)}-{index}.png"
        path.write_bytes(content)
        changed.items = [*mini.items]
        changed.items[index] = mini.items[index]._replace(image=path)
        return describe(changed)

    base, original = describe(mini), mini.items[0].image.read_bytes()
    assert with_image(0, original) == base
    flipped = bytes([original[0] ^ 1]) + original[1:]
    for changed in (with_image(0, flipped), with_image(1, original + b"x")):
        assert changed.fingerprint == base.fingerprint
        assert changed.content != base.content
