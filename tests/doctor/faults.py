"""Make a small data set with every defect that can be made deliberately, as real files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookonce.images import write_image

Rows = Iterable[tuple[str, float, float, float, float]]
SOUND: Rows = (("cat", 40, 30, 140, 120),)


def drawn(seed: int, height: int = 180, width: int = 240) -> NDArray[np.uint8]:
    """Draw an image of smooth shapes; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


class Voc:
    """VOC folder to which images are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lists: dict[str, list[str]] = {}
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / name).mkdir(parents=True)

    def image(self, name: str) -> Path:
        return self.folder / "JPEGImages" / name

    def add(
        self,
        name: str,
        rows: Rows = SOUND,
        *,
        split: str = "train",
        content: bytes | NDArray[np.uint8] | None = None,
        size: Sequence[int] = (240, 180, 3),
    ) -> Path:
        """Add an image with boxes.

        Args:
            name: file name; its stem is the name of the XML.
            rows: class, left, top, right, bottom.
            split: list that names the image.
            content: pixels or bytes of the file; None draws an image.
            size: width, height and depth that the XML declares.
        """
        path = self.image(name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            seed = sum(name.encode()) if content is None else 0
            write_image(path, drawn(seed) if content is None else content)
        self.annotate(path.stem, rows, size)
        self.lists.setdefault(split, []).append(path.stem)
        return path

    def annotate(self, stem: str, rows: Rows, size: Sequence[int]) -> None:
        width, height, depth = size
        lines = [
            "<annotation>",
            f"<size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>",
        ]
        for name, *sides in rows:
            tags = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
            box = "".join(f"<{tag}>{side}</{tag}>" for tag, side in tags)
            lines += ["<object>", f"<name>{name}</name>", f"<bndbox>{box}</bndbox>", "</object>"]
        text = "\n".join([*lines, "</annotation>"])
        (self.folder / "Annotations" / f"{stem}.xml").write_text(text)

    def finish(self, names: Sequence[str] = ("cat", "dog")) -> Path:
        """Write lists and class names."""
        (self.folder / "classes.txt").write_text("".join(f"{name}\n" for name in names))
        for split, stems in self.lists.items():
            lines = "".join(f"{stem}\n" for stem in stems)
            (self.folder / "ImageSets" / "Main" / f"{split}.txt").write_text(lines)
        return self.folder


def jpeg(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return encoded[1].tobytes()


def save(image: Image.Image, path: Path, **options: object) -> bytes:
    """Encode an image with Pillow, for kinds of files that OpenCV does not write."""
    image.save(path, **options)
    content = path.read_bytes()
    path.unlink()
    return content


def everything_wrong(folder: Path, scratch: Path) -> Path:
    """Make the defects that `EXPECTED` counts."""
    voc = Voc(folder)
    upright = Image.fromarray(drawn(500, 240, 180))
    turned = Image.Exif()
    turned[274] = 6
    voc.add("sound.jpg")
    voc.add("no-file.jpg")
    voc.image("no-file.jpg").unlink()
    voc.add("page.jpg", content=b"<html>not found</html>")
    voc.add("cut.jpg", content=jpeg(drawn(1))[:-400])
    voc.add("cut-2.png", content=save(Image.fromarray(drawn(2)), scratch / "a.png")[:-60])
    voc.add("really-png.jpg", content=save(Image.fromarray(drawn(3)), scratch / "a.png"))
    voc.add("ink.jpg", content=save(Image.fromarray(drawn(4)).convert("CMYK"), scratch / "a.jpg"))
    deep = cv2.imencode(".png", drawn(5).astype(np.uint16) * 257)[1].tobytes()
    voc.add("deep.png", content=deep)
    voc.add("clear.png", content=save(Image.fromarray(drawn(6)).convert("RGBA"), scratch / "a.png"))
    voc.add("gray.png", content=save(Image.fromarray(drawn(7)).convert("L"), scratch / "a.png"))
    voc.add("turned.jpg", content=save(upright, scratch / "a.jpg", exif=turned, quality=95))
    voc.add("half.jpg", content=with_flat_end(drawn(8)))
    voc.add("no-size.jpg", size=(0, 0, 3))
    voc.add("other-size.jpg", size=(480, 360, 3))
    voc.add("one-channel.jpg", size=(240, 180, 1))
    voc.add("empty-box.jpg", [*SOUND, ("cat", 50, 60, 50, 60)])
    voc.add("inverted.jpg", [*SOUND, ("cat", 200, 60, 150, 100)])
    voc.add("outside.jpg", [*SOUND, ("cat", 300, 60, 350, 100)])
    voc.add("infinite.jpg", [*SOUND, ("cat", 30, 60, float("inf"), 100)])
    voc.add("over.jpg", [*SOUND, ("cat", 200, 60, 260, 100)])
    voc.add("all-bad.jpg", [("cat", 300, 60, 350, 100)])
    voc.add("tiny.jpg", [*SOUND, ("cat", 10, 10, 11, 30)])
    voc.add("twice.jpg", [*SOUND, ("cat", 41, 30, 141, 120)])
    voc.add("both.jpg", [*SOUND, ("dog", 41, 30, 141, 120)])
    voc.add("who.jpg", [*SOUND, ("ape", 160, 30, 220, 90)])
    voc.add("no-number.jpg", [*SOUND, ("cat", "left", 30, 220, 90)])  # type: ignore[list-item]
    voc.add("nothing.jpg", [])
    voc.add("flat.jpg", [("cat", 2, 80, 238, 84)])
    voc.add("broken-xml.jpg")
    (folder / "Annotations" / "broken-xml.xml").write_text("<annotation><obj")
    voc.lists["train"].append("sound")
    voc.add("same-1.jpg", content=drawn(20))
    voc.add("same-2.jpg", content=drawn(20), rows=[("cat", 42, 31, 141, 119)])
    voc.add("other-1.jpg", content=drawn(21))
    voc.add("other-2.jpg", content=drawn(21), rows=[("dog", 40, 30, 140, 120)])
    voc.add("anew-1.jpg", content=drawn(22))
    voc.add("anew-2.jpg", content=jpeg(cv2.resize(drawn(22), (200, 150)), 60))
    voc.annotate("anew-2", [("cat", 33, 25, 117, 100)], (200, 150, 3))
    voc.add("near-1.jpg", content=drawn(23))
    voc.add("near-2.jpg", content=with_patch(drawn(23), 40, 60))
    voc.add("leak-1.jpg", content=drawn(24))
    voc.add("leak-2.jpg", content=drawn(24), split="val")
    voc.add("scene-1.jpg", content=drawn(25))
    voc.add("scene-2.jpg", content=with_patch(drawn(25)), split="val")
    voc.add("dog.jpg", [("dog", 40, 30, 140, 120)])
    voc.add("pig.jpg", [("pig", 40, 30, 140, 120)], split="val")
    return voc.finish(("cat", "dog", "pig"))


EXPECTED = {
    "missing": 1,
    "unreadable": 1,
    "truncated": 2,
    "annotation": 1,
    "row": 1,
    "class": 1,
    "leak": 1,
    "copies-differ": 1,
    "wrong-size": 1,
    "inverted": 1,
    "outside": 2,
    "not-numbers": 1,
    "unusable": 1,
    "class-not-trained": 1,
    "concealed-damage": 1,
    "empty": 1,
    "contradiction": 1,
    "duplicate-box": 1,
    "identical": 1,
    "copy": 1,
    "similar-split": 1,
    "similar": 1,
    "exif": 1,
    "color": 2,
    "suffix": 1,
    "listed-twice": 1,
    "border": 1,
    "no-size": 1,
    "tiny": 1,
    "lost": 2,
    "no-anchor": 2,
    "rare": 2,
    "below-stride": 1,
    "background": 1,
    "channels": 1,
    "gray": 1,
    "deep": 1,
}


def with_flat_end(image: NDArray[np.uint8]) -> bytes:
    """Make a JPEG whose data stop in the middle but whose end marker exists, so decoders do not complain."""
    content = jpeg(image)
    return content[: len(content) // 2] + b"\xff\xd9"


def with_patch(image: NDArray[np.uint8], height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    """Draw the same scene a moment later."""
    changed = image.copy()
    patch = changed[60 : 60 + height, 90 : 90 + width]
    patch[:] = 255 - patch
    return changed
