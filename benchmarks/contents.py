"""How often the rule of ``model=detect`` is right, on labelled pictures of packages (``make pictures``)."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np
from labelled import LABELLED
from PIL import Image
from record import record
from support.contents import as_jpeg
from support.pictures import encoded

from enlarger.geometry.rect import Pixels
from enlarger.picture.content import content_of

_HALVED_FROM_PX = 300


def forms(pixels: Pixels) -> Iterator[tuple[str, bytes]]:
    """Yield the files that a picture is looked at in: as it is, compressed, and half as large."""
    yield "as it is", encoded(pixels)
    yield "JPEG 75", as_jpeg(pixels, 75)
    if min(pixels.shape[:2]) >= _HALVED_FROM_PX:
        image = Image.fromarray(pixels)
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
        yield "half", encoded(np.asarray(half))
        yield "half, JPEG 60", as_jpeg(np.asarray(half), 60)


def main() -> None:
    """Print what is found of each content, and in which form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="append the figures to results.jsonl")
    arguments = parser.parse_args()
    found: dict[str, Counter[str]] = {label: Counter() for label in LABELLED}
    by_form: dict[str, Counter[str]] = {}
    pictures = Counter[str]()
    for label, source in LABELLED.items():
        for name, pixels in source():
            pictures[label] += 1
            for form, file in forms(pixels):
                content = content_of(file)
                found[label][content] += 1
                right = by_form.setdefault(form, Counter())
                right.update({"files": 1, "right": content == label})
                if content != label and form == "as it is":
                    print(f"{label} {name}: {content}")
        total = found[label].total()
        shares = {content: round(count / total, 3) for content, count in found[label].items()}
        print(f"{label}: {pictures[label]} pictures, {total} files: {shares}")
    shares = {form: round(count["right"] / count["files"], 3) for form, count in by_form.items()}
    print(shares)
    if arguments.record:
        figures = {label: dict(counts) for label, counts in found.items()}
        record("contents", {"pictures": dict(pictures), "found": figures, "right_by_form": shares})


if __name__ == "__main__":
    main()
