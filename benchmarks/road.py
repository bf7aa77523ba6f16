"""Time the commands of docs/first-detector.md, from an annotation tool to a spreadsheet of counts.

    python benchmarks/road.py ../shared/data/bccd DESK [--images 60] [--new 12] [--minutes 8]

The script reads annotated images from a Pascal VOC folder. It writes some of them to DESK as a CVAT export
with images (`export.zip`), and others without annotations to `new-images`. It then runs the commands of that
page in DESK.
"""

import argparse
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Sequence
from pathlib import Path

from defusedxml.ElementTree import parse
from machine import machine_line


def write_export(annotations: Sequence[Path], images: Path, out: Path) -> None:
    """Write VOC annotations and their images as an archive in the format "CVAT for images 1.1"."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    names: list[str] = []
    with zipfile.ZipFile(out, "w") as archive:
        for number, file in enumerate(annotations):
            voc = parse(file).getroot()
            size = {side: voc.findtext(f"size/{side}", "") for side in ("width", "height")}
            image = ET.SubElement(root, "image", id=str(number), name=f"{file.stem}.jpg", **size)
            for each in voc.iter("object"):
                name = each.findtext("name", "")
                names += [] if name in names else [name]
                ends = {"xtl": "xmin", "ytl": "ymin", "xbr": "xmax", "ybr": "ymax"}
                corners = {
                    ours: f"{float(each.findtext(f'bndbox/{theirs}', '')):.2f}"
                    for ours, theirs in ends.items()
                }
                ET.SubElement(image, "box", label=name, source="manual", occluded="0", **corners, z_order="0")
            archive.write(images / f"{file.stem}.jpg", f"images/{file.stem}.jpg")
        for name in names:
            ET.SubElement(ET.SubElement(labels, "label"), "name").text = name
        ET.indent(root)
        archive.writestr("annotations.xml", ET.tostring(root, encoding="unicode", xml_declaration=True))


def typed(command: str, desk: Path) -> None:
    """Run a command as a user would, and print it, its output, its exit code and its time."""
    print(f"\n$ {command}", flush=True)
    started = time.perf_counter()
    words = [sys.executable, "-m", *shlex.split(command)]
    code = subprocess.run(words, cwd=desk, check=False).returncode
    print(f"[exit code {code}, {time.perf_counter() - started:.0f} s]", flush=True)
    if code == 2:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with Annotations and JPEGImages")
    parser.add_argument("desk", type=Path, help="a new folder")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--new", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=8)
    given, options = parser.parse_known_args()  # further options are those of train
    annotations = sorted((given.data / "Annotations").glob("*.xml"))[: given.images + given.new]
    given.desk.mkdir(parents=True)
    write_export(annotations[: given.images], given.data / "JPEGImages", given.desk / "export.zip")
    (given.desk / "new-images").mkdir()
    for file in annotations[given.images :]:
        image = given.data / "JPEGImages" / f"{file.stem}.jpg"
        (given.desk / "new-images" / image.name).write_bytes(image.read_bytes())
    print(machine_line("torch", "onnxruntime"))
    started = time.perf_counter()
    typed("lookonce data check export.zip", given.desk)
    train = f"lookonce train export.zip --minutes {given.minutes:g} --out cells"
    typed(" ".join([train, *options]), given.desk)
    typed("lookonce detect cells new-images/ --save images,counts,csv --out found", given.desk)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes in all")


if __name__ == "__main__":
    main()
