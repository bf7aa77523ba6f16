"""Read JSON and XML files of bounded size, find class names, and derive splits from file names."""

import json
import os
import re
import stat
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import defusedxml.ElementTree as SafeET
from defusedxml.common import DefusedXmlException

from lookonce._files import ANNOTATIONS_LIMIT, read_bytes
from lookonce._texts import SHOWN
from lookonce.errors import AnnotationError

ALL = "all"  # key of the data if it has no splits
SPLITS = ("train", "val", "trainval", "test")
SPLIT_WORDS = {**{split: split for split in SPLITS}, "valid": "val", "validation": "val", "training": "train",
               "testing": "test"}  # fmt: skip
FOLDER_WORDS = frozenset({"annotations", "data", "dataset", "images", "image", "imagesets", "img", "imgs",
                          "jpegimages", "label", "labels", "main", "obj",
                          "set", "split", "xml", "xmls"})  # fmt: skip
NAME_FILES = ("classes.txt", "_classes.txt", "obj.names", "_darknet.labels", "labels.txt", "class_names.txt",
              "predefined_classes.txt")  # fmt: skip
SNIFFED = 1 << 16  # bytes at either end of a large JSON file that are searched for keys
PARSED_TO_SNIFF = 4 << 20  # size in bytes up to which a JSON file is parsed to recognize its format
# Codecs for encodings that XML files declare but expat does not know; they contain all of their characters.
WIDER_CODECS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949"}
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding=["']([\w.:-]+)["'][^>]*\?>""")


def listed(names: Iterable[object]) -> str:
    """List the first ten names for a message."""
    texts = [str(name)[:SHOWN] for name in names]
    more = f", ... ({len(texts)} in all)" if len(texts) > 10 else ""
    return ", ".join(texts[:10]) + more


def key(name: str) -> str:
    """Normalize a name for comparison: ignore case, and whether accented letters are composed."""
    return unicodedata.normalize("NFC", name).casefold()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        AnnotationError: the file is unreadable, not JSON, or truncated.
    """
    try:
        return json.loads(read_bytes(path, AnnotationError, limit=ANNOTATIONS_LIMIT))
    except json.JSONDecodeError as error:
        what = f"not JSON, or cut short: {error.msg} in column {error.colno}"
        raise AnnotationError(f"{path}:{error.lineno}: {what}") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not JSON, or cut short: {str(error)[:SHOWN]}") from error


def json_keys(path: Path) -> frozenset[str]:
    """Return the keys of a JSON object or, with `[]` added, those of the first object in a JSON list.

    Of a large file, all keys near its two ends are returned; of a damaged one, all keys.
    """
    try:
        about = path.stat()
    except (OSError, ValueError):
        return frozenset()
    return _json_keys(path, about.st_mtime_ns, about.st_size) if stat.S_ISREG(about.st_mode) else frozenset()


@lru_cache(maxsize=100_000)
def _json_keys(path: Path, _: int, size: int) -> frozenset[str]:
    try:
        with path.open("rb") as stream:
            content = stream.read(PARSED_TO_SNIFF if size <= PARSED_TO_SNIFF else SNIFFED)
            if size > PARSED_TO_SNIFF:
                stream.seek(-SNIFFED, os.SEEK_END)
                content += stream.read()
    except OSError:
        return frozenset()
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        marker = {"[]"} if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") else set()
        return frozenset(
            marker | {found.decode(errors="ignore") for found in re.findall(rb'"(\w+)"\s*:', content)}
        )
    marker = {"[]"} if isinstance(tree, list) else set()
    tree = (tree[0] if tree else {}) if isinstance(tree, list) else tree
    return frozenset(marker | (set(tree) if isinstance(tree, dict) else set()))


def is_json(path: Path) -> bool:
    """Return whether a file is complete JSON."""
    try:
        read_json(path)
    except AnnotationError:
        return False
    return True


def read_xml(path: Path) -> ET.Element:
    """Read an XML file in the encoding that it declares.

    Raises:
        AnnotationError: the file is unreadable or damaged, or defines entities, which are a security risk.
    """
    content = read_bytes(path, AnnotationError, limit=ANNOTATIONS_LIMIT)
    codec = ""
    try:
        if content[:1].isspace() and content.lstrip().startswith(b"<?xml"):
            start, declaration = content.split(b"<?xml", 1)  # XML allows no blank lines before this
            content = b"<?xml" + declaration.replace(b"?>", b"?>" + start, 1)
        if match := _DECLARED.match(content):
            codec = match[1].decode().lower()
            codec = WIDER_CODECS.get(codec, codec)
            if codec == "utf-16":  # some Windows programs declare this but write UTF-8
                content = content[match.end() :]
            elif codec not in ("utf-8", "us-ascii"):
                content = content[match.end() :].decode(codec).encode()
        root = SafeET.fromstring(content)
    except DefusedXmlException as error:
        raise AnnotationError(f"{path}: refused: XML that defines or fetches entities ({error})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: expected XML in {codec}, as declared; found other bytes") from error
    except LookupError as error:
        raise AnnotationError(f"{path}: expected XML in a known encoding, found {codec!r}") from error
    except ET.ParseError as error:
        line, column = error.position
        lines = re.split(rb"\r\n|\r|\n", content)[line - 1 : line]  # lines as the parser counts them
        around = b"".join(lines)[max(0, column - 20) : column + 20]
        hint = " (& must be written &amp;)" if b"&" in around else ""
        if not hint and "invalid token" in str(error) and not around.isascii():
            hint = " (its text is not UTF-8; the first line must declare the encoding)"
        what = f"expected XML, found it damaged or cut short: {error}{hint}"
        raise AnnotationError(f"{path}:{line}: {what}") from error
    except ValueError as error:
        raise AnnotationError(f"{path}: expected XML, found it damaged: {error}") from error
    if not isinstance(root, ET.Element):
        raise AnnotationError(f"{path}: expected XML, found none")
    return root


def xml_root(path: Path) -> str:
    """Return the name of the root element of an XML file, read from its start; empty if there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError:
        return ""
    start = re.sub(rb"<!--.*?-->|<[?!][^>]*>", b"", start.replace(b"\0", b""), flags=re.DOTALL)
    match = re.search(rb"<([A-Za-z_][\w.-]*)", start)
    return match[1].decode() if match else ""


def find_names(*folders: Path) -> Path | None:
    """Return the file of class names in the first folder that has one with a usual name or one `*.names`."""
    for folder in folders:
        try:
            there = {file.name.lower(): file for file in sorted(folder.iterdir())}
        except OSError:
            continue
        for name in NAME_FILES:
            if (classes := there.get(name)) and classes.is_file():
                return classes
        if len(found := [file for name, file in there.items() if name.endswith(".names")]) == 1:
            return found[0]
    return None


def split_in(text: str) -> str | None:
    """Return the split named in a file name, such as `train` in `instances_train2017`, or None."""
    words = re.split(r"[^a-z]+", text.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def split_of(file: Path, root: Path) -> str | None:
    """Return the split named by a folder of a file below `root`, such as `train` in `train2017/a.jpg`."""
    for folder in file.relative_to(root).parts[:-1]:
        words = set(re.findall(r"[a-z]+", folder.lower())) - FOLDER_WORDS
        if len(words) == 1 and (split := SPLIT_WORDS.get(words.pop())):
            return split
    return None


def depth_of(file: Path, root: Path) -> int:
    """Count the folders between `root` and a file whose names are unusual in data sets."""
    if not file.is_relative_to(root):
        return 0
    words = [set(re.findall(r"[a-z]+", folder.lower())) for folder in file.relative_to(root).parts[:-1]]
    return sum(not each <= FOLDER_WORDS | SPLIT_WORDS.keys() for each in words)


def by_split(splits: Iterable[str]) -> list[str]:
    """Sort splits: train, val, trainval, test, then all others by name."""
    return sorted(splits, key=lambda split: (SPLITS.index(split) if split in SPLITS else len(SPLITS), split))
