import json

from matplotlib.patches import Rectangle

from lookonce.bench.contenders import BenchCase
from lookonce.bench.measure import Result
from lookonce.bench.table import as_dict, as_text, plot

ONE, EIGHT = BenchCase((416, 416), 1, 2), BenchCase((416, 416), 8, 2)
RESULTS = [
    Result("lookonce", ONE, ((20.0, 20.0), (20.0, 22.0)), peak_mib=210.4, opening_seconds=0.5),
    Result("opencv", ONE, ((40.0, 40.0), (40.0, 44.0)), peak_mib=190, opening_seconds=0.25),
    Result("torch", ONE, error="torch: RuntimeError: <b>no</b>"),
    Result("lookonce", EIGHT, ((100.0,),), opening_seconds=0.5),
]


def test_one_table_per_case_with_ratios_to_the_first_row() -> None:
    assert as_text(RESULTS).splitlines() == [
        "416x416, batch 1, 2 threads",
        "            ms   90%   99%  images/s  time  peak MiB  opening s",
        "lookonce  20.0  21.4  21.9      50.0  1.00       210       0.50",
        "opencv    40.0  42.8  43.9      25.0  2.00       190       0.25",
        "torch: not measured: torch: RuntimeError: <b>no</b>",
        "",
        "416x416, batch 8, 2 threads",
        "             ms    90%    99%  images/s  time  peak MiB  opening s",
        "lookonce  100.0  100.0  100.0      80.0  1.00                 0.50",
    ]


def test_json_has_every_turn_and_no_nan() -> None:
    rows = json.loads(json.dumps(as_dict(RESULTS), allow_nan=False))

    assert rows[0]["turns_ms"] == [[20.0, 20.0], [20.0, 22.0]]
    assert rows[1]["images_per_second"] == 25
    assert rows[2]["ms_50"] is None
    assert rows[2]["error"] == "torch: RuntimeError: <b>no</b>"
    assert rows[3]["peak_mib"] is None


def test_the_plot_has_a_bar_for_each_row_that_ran() -> None:
    axes = plot(RESULTS, "a_model_with_$igns$").axes[0]

    assert [round(bar.get_width(), 1) for bar in axes.patches if isinstance(bar, Rectangle)] == [20, 40, 100]
    assert [label.get_text().split(",")[0] for label in axes.get_yticklabels()] == [
        "lookonce",
        "opencv",
        "lookonce",
    ]
