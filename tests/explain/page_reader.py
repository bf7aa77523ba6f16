"""Read values from an open explanation page."""

from pathlib import Path
from typing import Any

import numpy as np

from lookonce.detections import Detections
from lookonce.explain import Explanation
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.postprocess import postprocess
from tests.browser import Opened

# All elements with text of their own on a plain background, with their contrast (WCAG 2.1).
CONTRAST = """() => {
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (at.matches("rect.frame ~ *")) break;
      if (color.length < 4 || color[3] === 1) return color;
    }
    return numbers(getComputedStyle(document.body).backgroundColor);
  };
  const poor = [];
  for (const element of document.body.querySelectorAll("*")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || !element.checkVisibility() || element.closest("script, .image svg")) continue;
    const style = getComputedStyle(element);
    const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [luminance(numbers(ink)), luminance(paper(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${element.tagName}: ${element.textContent}`);
  }
  return poor;
}"""

# Moves both sliders to each of many positions, and collects the listed candidates.
SLIDE = """(positions) => positions.map(([score, iou]) => {
  for (const [id, value] of [["score_threshold", score], ["iou_threshold", iou]]) {
    const field = document.getElementById(id).nextElementSibling;
    field.value = value;
    field.dispatchEvent(new Event("change"));
  }
  const rows = [...document.querySelectorAll("#candidates tbody tr")];
  return rows.map((row) => [...row.cells].map((cell) => cell.textContent));
})"""

Row = tuple[str, str, str, str, str]  # class, score, outcome, IoU, box


def slide(seen: Opened, positions: list[tuple[float, float]]) -> list[list[Row]]:
    """Return the list of candidates at each (confidence, IoU)."""
    listed: list[list[Row]] = seen.page.evaluate(SLIDE, positions)
    return [[tuple(row) for row in rows] for rows in listed]


def all_candidates(found: Explanation) -> np.ndarray:
    """Return all predictions (K, 5+C) as decoded by the network."""
    every = [
        np.concatenate([scale.boxes, scale.objectness[..., None], scale.probabilities], axis=-1)
        for scale in found.scales
    ]
    return np.concatenate([scale.reshape(-1, scale.shape[-1]) for scale in every])


def detections_at(found: Explanation, conf: float, iou: float) -> Detections:
    """Return the detections that a Detector would return, computed from all predictions."""
    options = DetectOptions(conf=conf, iou=iou)
    return postprocess(all_candidates(found), found.input.letterbox, options, found.info.names)


def as_rows(found: Detections) -> list[tuple[str, str, str]]:
    """Return class, score and box as written on the page."""
    return [
        (found.name_of(int(label)), f"{score:.3f}", ", ".join(f"{side:.1f}" for side in box))
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]


def go_to_cell(seen: Opened, position: tuple[int, int, int, int], anchors: int = 3) -> None:
    """Choose a map and a cell in stage 4, with the fields beside the image."""
    scale, row, column, anchor = position
    controls = seen.page.locator("#decode-controls")
    controls.locator("select").select_option(index=scale * anchors + anchor)
    for number, value in enumerate((row, column)):
        field = controls.locator("input").nth(number)
        field.fill(str(value))
        field.dispatch_event("change")


def decoded(seen: Opened) -> dict[str, Any]:
    """Return the numbers shown in stage 4, by name."""
    texts: dict[str, str] = seen.page.evaluate(
        """() => Object.fromEntries(
        [...document.querySelectorAll("#formulas [data-raw], #formulas [data-result]")]
        .map((each) => [each.dataset.raw ?? each.dataset.result, each.textContent]))"""
    )
    return {name: _numbers(text) for name, text in texts.items()}


def _numbers(text: str) -> Any:
    values = [
        float(word) for word in text.replace("−", "-").replace(",", " ").split() if word not in ("=", "image")
    ]
    return values[0] if len(values) == 1 else values


def save_html(folder: Path, html: str) -> Path:
    """Write the page as a file, and return its path."""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    return path
