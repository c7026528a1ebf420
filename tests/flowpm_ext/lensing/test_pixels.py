"""The power of pixel means, beside the means of finer maps."""

import numpy as np
import pytest

from flowpm_ext.fields import gaussian_map, power_map
from flowpm_ext.lensing import pixel_factor
from flowpm_ext.stats import angular_power

EDGES = np.geomspace(400, 10_000, 7)


def spectrum(ell):
    return 1e-7 / np.asarray(ell) ** 1.3


def test_power_is_that_of_means_of_fine_maps():
    # Eight times finer maps hold what is beyond the Nyquist frequency of the coarse ones.
    fine_ell = np.geomspace(10, 1e6, 500)
    power = power_map((fine_ell, spectrum(fine_ell)), (256, 256), np.deg2rad(1 / 480))
    fine = gaussian_map(power, seed=1, batch_size=200).numpy()
    means = fine.reshape(200, 32, 8, 32, 8).mean(axis=(2, 4))
    found = angular_power(means[..., None], 1.0, EDGES)
    # The mean over the modes of each bin, as maps whose modes are the factors times those of
    # the spectrum have it.
    l2, l1 = np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)
    ell = 2 * np.pi * np.hypot(l1, l2) * 60 * 180 / np.pi
    factor = pixel_factor(spectrum, 32, 1.0)
    expected = factor**2 * spectrum(np.maximum(ell, 1.0))
    weight = np.where((l1 > 0) & (l1 < 0.5), 2.0, 1.0) * np.ones_like(ell)
    for low, high, cl, num in zip(
        EDGES, EDGES[1:], found.cl.numpy()[:, 0].mean(0), found.num_modes, strict=False
    ):
        part = (ell >= low) & (ell < high)
        mean = np.average(expected[part], weights=weight[part])
        assert cl == pytest.approx(mean, rel=5 * np.sqrt(2 / 200 / int(num)) + 0.005)


def test_mean_stays_and_means_have_less_power():
    factor = pixel_factor(spectrum, 16, 1.5)
    assert factor.shape == (16, 9) and factor[0, 0] == 1
    assert np.all(factor.ravel()[1:] < 1) and factor[0, 1] > 0.98


@pytest.mark.parametrize(
    "change", [{"num_pixels": 0}, {"pixel_size_arcmin": -1.0}, {"cl": lambda ell: -ell}]
)
def test_bad_input_to_pixel_factor(change):
    arguments = {"cl": spectrum, "num_pixels": 8, "pixel_size_arcmin": 1.0} | change
    with pytest.raises(ValueError, match="must"):
        pixel_factor(**arguments)
