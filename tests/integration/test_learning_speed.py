"""`LearningSpeed` and other packages: pictures by matplotlib, the wrapper of accelerate."""

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
    assert legend == ["0.weight", "2.weight", "4.weight"]
    assert axes.get_yscale() == "log"
    for (name, points), line in zip(speed.relative_steps.items(), axes.get_lines(), strict=False):
        assert line.get_ydata().tolist() == [value for _, value in points], name


def test_a_picture_of_one_of_your_own():
    """The axes may be given; the legend is left to you, and of
    many weights it names the ends of the order."""
    net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(20)))
    speed = follow(net, MAKERS["plain"](net))
    axes = Figure().subplots()
    assert speed.plot(axes=axes) is axes.figure
    assert axes.get_legend() is None
    assert len(axes.get_legend_handles_labels()[1]) == 12
    assert len(axes.get_lines()) == 21
