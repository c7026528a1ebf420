"""Figures show what they were given."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from lfi.diagnostics import expected_coverage, sbc_ranks, tarp_coverage
from lfi.plot import corner_figure, coverage_figure, loss_figure, rank_figure

RNG = np.random.default_rng(0)
THETA = RNG.normal(size=(200, 2))
DRAWS = RNG.normal(size=(99, 200, 2))


def drawn(figure):
    """The figure, after it was drawn without a warning (they are errors)."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), dpi=50)
    return figure


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def line(axes, label):
    return next(line for line in axes.get_lines() if line.get_label() == label)


def test_coverage_figure_has_a_panel_for_each_result():
    density = {"log_prob_samples": DRAWS[..., 0], "log_prob_theta": THETA[:, 0]}
    central, tarp = expected_coverage(DRAWS, THETA, **density), tarp_coverage(DRAWS, THETA)
    left, right = drawn(coverage_figure([central, tarp], ["p", "q"])).axes
    assert labels(left) == ["95 % band", "p", "q", "highest density"]
    np.testing.assert_array_equal(line(left, "q").get_ydata(), central.coverage[:, 1])
    np.testing.assert_array_equal(line(left, "highest density").get_ydata(), central.joint)
    text = f"ATC {tarp.atc:+.3f}, p = {tarp.p_value:.2g}"
    np.testing.assert_array_equal(line(right, text).get_ydata(), tarp.coverage)
    assert len(drawn(coverage_figure(tarp)).axes) == 1
    assert "theta_1" in labels(coverage_figure(central).axes[0])


@pytest.mark.parametrize("num", [1, 2, 5, 8])
def test_rank_figure_counts_ranks(num):
    ranks = np.concatenate([sbc_ranks(DRAWS, THETA)] * 4, axis=1)[:, :num]
    figure = drawn(rank_figure(ranks, 99, num_bins=10))
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == [f"theta_{i}" for i in range(num)]
    expected = np.bincount(ranks[:, 0] // 10, minlength=10)
    np.testing.assert_array_equal(panels[0].patches[1].get_data().values, expected)
    band = panels[0].patches[0].get_data()
    np.testing.assert_allclose(band.values, stats.binom.ppf(0.975, 200, 0.1))
    np.testing.assert_allclose(band.baseline, stats.binom.ppf(0.025, 200, 0.1))
    # Every column says which ranks its panels show.
    shown = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels]
    assert sum(shown) == min(num, 4)


def test_rank_figure_has_no_bars_without_ranks():
    """Among 4 draws there are 5 ranks, and no more bars than that."""
    figure = drawn(rank_figure(RNG.integers(5, size=(1000, 1)), 4))
    assert len(figure.axes[0].patches[1].get_data().values) == 5


def test_loss_figure_shows_members_and_the_best_epoch():
    # The first epoch is far above the others, as it is in training.
    loss = [1e4, *np.linspace(1, -1, 60)]
    held = [1e4, *(np.linspace(-1, 1, 60) ** 2)]
    axes = drawn(loss_figure([{"loss": loss, "val_loss": held}, {"loss": loss}])).axes[0]
    assert labels(axes) == ["member 0", "member 1", "trained on", "held out", "best"]
    lengths = [len(line.get_xdata()) for line in axes.get_lines()]
    assert lengths == [61, 61, 1, 61]
    best = axes.get_lines()[2]
    assert best.get_xdata()[0] == 1 + int(np.argmin(held))
    assert axes.get_ylim()[1] < 3


def test_corner_figure_has_a_panel_for_each_pair():
    names = ["p", "q", "r"]
    draws = RNG.normal(size=(3000, 3)) * [1e-4, 1, 1e3]
    truth = [0.0, 8.0, 0.0]
    figure = drawn(corner_figure([draws, 0.5 * draws], names, truth, ["one", "two"]))
    panels = np.reshape(figure.axes, (3, 3))
    assert [axes.axison for axes in panels.ravel()] == list(np.tri(3, dtype=bool).ravel())
    assert [axes.get_xlabel() for axes in panels[-1]] == names
    assert [axes.get_ylabel() for axes in panels[:, 0]] == ["", "q", "r"]
    assert labels(panels[0, 2]) == ["one", "two", "truth"]
    # A truth far from all draws is still on the page.
    assert panels[2, 1].get_xlim()[1] > 8 and panels[1, 0].get_ylim()[1] > 8


def test_contours_of_normal_draws_are_circles_of_the_known_radius():
    draws = RNG.normal(size=(200_000, 2))
    axes = corner_figure(draws).axes[2]
    outline = axes.collections[-1]
    for path, held in zip(outline.get_paths(), (0.95, 0.68), strict=True):
        radius = np.hypot(*path.vertices.T)
        # Cells are 0.2 wide and smoothed over 1.5 of them, which widens by 4 %.
        exact = np.sqrt(stats.chi2.ppf(held, 2))
        np.testing.assert_allclose(np.mean(radius), exact, rtol=0.08)
        assert np.std(radius) < 0.1


def test_posterior_at_a_side_of_its_prior_does_not_fade_there():
    """The marginal of uniform draws is as high at their ends as in the middle."""
    axes = drawn(corner_figure(RNG.uniform(size=(50_000, 1)), labels=["flat"])).axes[0]
    height = axes.get_lines()[0].get_ydata()
    # Cells hold 1250 draws, to 3 %.
    assert height.min() > 0.85


HISTORY = {"loss": [1.0]}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: coverage_figure([]), "`results` must hold a result"),
        (
            lambda: coverage_figure(expected_coverage(DRAWS, THETA), ["p"]),
            "`names` must be 2 texts",
        ),
        (lambda: rank_figure([1, 2], 3), r"`ranks` must have shape \[num"),
        (lambda: rank_figure([[1], [5]], 3), r"`ranks` must lie in \[0, 3\]"),
        (lambda: rank_figure([[1], [2]], 3, num_bins=0), "`num_bins` must be a positive integer"),
        (lambda: loss_figure([]), "`histories` must hold a history"),
        (lambda: loss_figure([HISTORY, {"val_loss": [1.0]}]), '`histories` must have a "loss" eac'),
        (lambda: corner_figure(THETA * np.nan), "`samples` must be finite"),
        (lambda: corner_figure(THETA * [1, 0]), "`samples` must vary in every parameter"),
        (lambda: corner_figure([THETA, THETA[:, :1]]), "`samples` must have 2 parameters in each"),
        (lambda: corner_figure(THETA, ["p"]), "`names` must be 2 texts"),
        (lambda: corner_figure(THETA, truth=[1.0]), r"`truth` must have shape \[2\]"),
        (lambda: corner_figure(THETA, labels=["a", "b"]), "`labels` must be 1 texts"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
