"""Write the report of an evaluation: `report.html` and `report.json`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lookonce._files import write_json_file, write_text
from lookonce.detections import Detections
from lookonce.evaluate.error_report import error_report
from lookonce.evaluate.report import Evaluation
from lookonce.evaluate.worst import best_images
from lookonce.report.figures import Subject, figures
from lookonce.report.gallery import gallery_image
from lookonce.report.page import report_page
from lookonce.samples import Sample

BEST = 4  # number of best images to show

Explain = Callable[[Sequence[int], float], tuple[list[str], str]]


def write_report_page(
    folder: Path,
    truth: Sequence[Sample],
    detections: Sequence[Detections],
    evaluation: Evaluation,
    subject: Subject,
    explain: Explain = lambda images, threshold: ([], ""),
) -> str:
    """Write both files, each under a temporary name until it is complete.

    Args:
        folder: output folder, created if it does not exist.
        truth: annotated images.
        detections: detections on the same images, in the same order.
        evaluation: metrics of both.
        subject: model and data of the evaluation.
        explain: function of the numbers of the worst images and the score threshold; it writes pages that
            explain the first of these images, and returns links to the pages and a remark.

    Returns:
        First sentence of the report.
    """
    names = evaluation.names
    errors = error_report(truth, detections, evaluation)
    images = [str(sample.path) for sample in truth]
    tree = figures(evaluation, errors, images, subject)
    write_json_file(folder / "report.json", tree, indent=1)
    links, note = explain([each.image for each in errors.worst], errors.best.threshold)
    worst = [
        gallery_image(each, truth[each.image].path, errors.in_use, names, link, subject.values)
        for each, link in zip(errors.worst, [*links, *[""] * (len(errors.worst) - len(links))], strict=True)
    ]
    shown = {each.image for each in errors.worst}
    best = [
        gallery_image(each, truth[each.image].path, errors.in_use, names, values=subject.values)
        for each in best_images(errors.in_use, len(truth), BEST)
        if each.image not in shown
    ]
    write_text(folder / "report.html", report_page(tree, worst, best, note))
    sentence: str = tree["summary"]["text"]
    return sentence
