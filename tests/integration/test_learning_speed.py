"""`LearningSpeed` and other packages: pictures by matplotlib, the wrapper of accelerate."""

import statistics

import accelerate
from matplotlib.figure import Figure
from torch import nn

from tests.watch.test_learning_speed import MAKERS, follow, perceptron


def test_the_wrapper_of_accelerate():
    """accelerate's wrapper around an optimizer is looked through."""
    net = perceptron()
    optimizer = MAKERS["plain"](net)
    wrapper = accelerate.Accelerator(cpu=True).prepare(optimizer)
    assert wrapper is not optimizer
    assert follow(net, wrapper).steps == 6


def test_a_picture(tmp_path):
    """A picture in a file: a line for each weight, through the numbers that were seen."""
    net = perceptron()
    speed = follow(net, MAKERS["equalized"](net))
    figure = speed.plot(tmp_path / "speeds.png")
    assert (tmp_path / "speeds.png").stat().st_size > 10_000
    (axes,) = figure.axes
    assert axes.get_title() == f"spread {speed.spread:.3g}"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    customary = "10$^{-3}$: customary in mid-training"
    assert legend == ["0.weight", "2.weight", "4.weight", customary]
    assert axes.get_yscale() == "log"
    for (name, points), line in zip(speed.relative_steps.items(), axes.get_lines(), strict=False):
        assert line.get_ydata().tolist() == [value for _, value in points], name


def test_a_picture_of_many_weights():
    """All are drawn, coloured by their blocks; the legend counts them and names the extremes."""
    net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(20)))
    speed = follow(net, MAKERS["plain"](net))
    axes = Figure().subplots()
    assert speed.plot(axes=axes) is axes.figure
    assert axes.get_legend() is None
    labels = axes.get_legend_handles_labels()[1]
    medians = {name: statistics.median(v for _, v in s) for name, s in speed.relative_steps.items()}
    assert labels[:10] == [f"{k} to {k + 1}: 2" for k in range(0, 20, 2)]
    assert labels[10] == f"fastest: {max(medians, key=medians.get)}"
    assert labels[11] == f"slowest: {min(medians, key=medians.get)}"
    assert labels[12] == "10$^{-3}$: customary in mid-training"
    assert len(axes.get_lines()) == 20 + 3
