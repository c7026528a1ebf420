"""Training maps through small simulations, a small network, and a mass map with it."""

import json

import keras
import numpy as np
import pytest
from astropy.io import fits

import priors
from benchmarks.priors import draws
from flowpm_ext.cosmology import Planck18
from flowpm_ext.cosmology.redshift import delta_nz
from flowpm_ext.lensing import write_maps
from priors.__main__ import main
from priors.map_prior import NOISE, load_prior, train_prior
from priors.map_spectrum import spectrum, without_window
from priors.sky_grid import SkyGrid
from priors.theory_power import theory_power
from priors.training_maps import TrainingMaps, read_maps, simulate_training_maps

PIXEL = 3.0
NZ = ([0.8, 1.2], [1.0, 1.0])
SMALL = {"mesh_shape": 32, "box_size": 200.0}
OPTIONS = {
    "num_pixels": 32, "pixel_size_arcmin": PIXEL, "num_simulations": 2, "num_held_out": 1,
    "num_maps": 24, "simulation": SMALL, "progress": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    simulate_training_maps(folder, NZ, **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def prior(folder):
    maps = read_maps(folder / "training.h5")
    return train_prior(maps, filters=(4, 8), num_steps=20, batch_size=8)


def grid(shape=(32, 32), pixel=PIXEL):
    return SkyGrid((10.0, 0.0), shape, pixel)


def test_maps_have_mean_zero_and_about_the_spectrum_of_theory(folder):
    maps = read_maps(folder / "training.h5")
    assert maps.kappa.shape == (24, 32, 32) and maps.kappa.dtype == np.float32
    assert maps.pixel_size_arcmin == PIXEL and maps.about["nz"]["counts"] == [1.0, 1.0]
    np.testing.assert_allclose(maps.kappa.mean((1, 2)), 0, atol=1e-7)
    expected = theory_power(NZ, grid(), Planck18())
    # Two boxes with cells of 6 Mpc/h: a third of it, or three times.
    ratio = spectrum(maps.kappa, PIXEL)[1][1] / theory_at(expected, 2)
    assert 1 / 3 < ratio < 3


def theory_at(power, mode):
    """C_ell of a mode along an axis."""
    return power[0, mode] * np.deg2rad(PIXEL / 60) ** 2


def test_held_out_maps_are_others(folder):
    one, other = (read_maps(folder / name).kappa for name in ("training.h5", "held_out.h5"))
    assert other.shape == (12, 32, 32)
    assert not np.isin(np.round(other[:, 0, 0], 7), np.round(one[:, 0, 0], 7)).any()


def test_planes_are_simulated_once(folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("planes_*")}
    kappa = read_maps(folder / "training.h5").kappa
    simulate_training_maps(folder, NZ, **OPTIONS)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("planes_*")} == before
    np.testing.assert_array_equal(read_maps(folder / "training.h5").kappa, kappa)
    with pytest.raises(ValueError, match="must hold planes of this run"):
        simulate_training_maps(folder, NZ, **OPTIONS | {"seed": 5})


def test_spectrum_of_white_noise_is_flat():
    kappa = np.random.default_rng(0).normal(size=(200, 32, 32)).astype(np.float32)
    ell, cl = spectrum(kappa, PIXEL)
    # Of a hundred modes in 200 maps, a bin scatters by some percent; a window halves the modes.
    np.testing.assert_allclose(cl / np.deg2rad(PIXEL / 60) ** 2, 1, atol=0.12)
    assert np.all(np.diff(ell) > 0)


def test_what_the_window_takes_of_the_lowest_modes_is_given_back():
    """A Gaussian field of known power, without a mean: its window takes a fifth."""
    prior, sides = priors.load_pretrained("cosmos"), (128, 128)
    known = prior.trained_power(sides)
    white = np.random.default_rng(0).normal(size=(1000, *sides)).astype(np.float32)
    kappa = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(known)).real.astype(np.float32)
    ell, cl = spectrum(kappa, 1.0)
    assert cl[0] < 0.85 * prior.cl[0]
    np.testing.assert_allclose(without_window(ell, cl, sides, 1.0) / prior.cl, 1, atol=0.07)


@pytest.mark.parametrize("sides", [(8, 8), (10, 10), (14, 14), (22, 22), (8, 24), (24, 20)])
def test_spectrum_of_any_map_has_bins_with_modes(sides):
    kappa = np.random.default_rng(0).normal(size=(100, *sides)).astype(np.float32)
    ell, cl = spectrum(kappa, PIXEL)
    assert np.isfinite(cl).all() and np.all(np.diff(ell) > 0)
    np.testing.assert_allclose(np.mean(cl) / np.deg2rad(PIXEL / 60) ** 2, 1, atol=0.1)


def test_training_goes_on_with_the_same_maps_and_plan_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("priors.map_prior.STEPS_PER_EPOCH", 2)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    maps = read_maps(folder / "training.h5")
    options = {"filters": (4,), "num_steps": 4, "batch_size": 2, "checkpoint": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        train_prior(maps, callbacks=[Stop()], **options)
    message = r"`checkpoint` must be of the same training\. Received: '.*kept, where {} differ'"
    others = {"seed": 1, "filters": (8,), "num_steps": 6, "batch_size": 3, "learning_rate": 1e-3}
    for name, value in others.items():
        with pytest.raises(ValueError, match=message.format(name)):
            train_prior(maps, **options | {name: value})
    with pytest.raises(ValueError, match=message.format("maps")):
        train_prior(maps._replace(kappa=2 * maps.kappa), **options)
    assert len(train_prior(maps, **options).about["loss"]["loss"]) == 1  # the epoch that is left
    assert not (tmp_path / "kept").exists()


def test_prior_knows_its_maps(folder, prior, tmp_path):
    maps = read_maps(folder / "training.h5").kappa
    rms = maps.std()
    assert prior.denoiser.sigma_min == pytest.approx(NOISE[0] * rms)
    assert prior.denoiser.sigma_max == pytest.approx(NOISE[1] * rms)
    power = prior.trained_power((32, 32))
    assert power[0, 0] == 0
    ell, cl = spectrum(maps, PIXEL)
    np.testing.assert_allclose(prior.cl, without_window(ell, cl, (32, 32), PIXEL), rtol=1e-6)
    # Bins take some of it; another size of the map leaves it as it is.
    assert power.mean() == pytest.approx(rms**2, rel=0.3)
    assert prior.trained_power((64, 32)).mean() == pytest.approx(power.mean(), rel=0.15)
    prior.save(tmp_path)
    again = load_prior(tmp_path)
    x = maps[:2]
    for one in (prior, again):
        score = one.score(grid())
        np.testing.assert_array_equal(score(x, 0.01), prior.score(grid())(x, 0.01))
    assert again.about["num_steps"] == prior.about["num_steps"]


def test_draws_are_compared_with_maps(folder, prior, tmp_path, capsys, monkeypatch):
    prior.save(tmp_path)
    output = tmp_path / "draws.json"
    words = ["draws", "--maps", str(folder), "--prior", str(tmp_path), "--num-draws", "8"]
    monkeypatch.setattr("sys.argv", [*words, "--sides", "32", "16", "--output", str(output)])
    draws.main()
    found = json.loads(output.read_text())
    assert list(found) == ["32", "16"] and found["32"]["seed"] == 1
    one = found["32"]
    assert one["maps"] == {"draws": 8, "training.h5": 24, "held_out.h5": 12}
    powers, ell = one["power over that of training maps"], np.array(one["ell"])
    assert {len(values) for values in powers.values()} == {len(ell)}
    held_out = [spectrum(read_maps(folder / name).kappa, PIXEL)[1]
                for name in ("held_out.h5", "training.h5")]  # fmt: skip
    np.testing.assert_allclose(powers["held out"], held_out[0] / held_out[1], atol=1e-3)
    off = np.array(powers["draws"])[ell > 500] - 1
    assert one["bins that keep to it"] == np.sum(np.abs(off) <= 0.03)
    assert abs(one["farthest bin"]) == pytest.approx(np.abs(off).max(), abs=1e-4)
    assert f"in {one['bins that keep to it']} of {len(off)} bins" in capsys.readouterr().out


def test_theory_takes_the_place_of_the_spectrum(prior):
    of_maps, of_theory = prior.score(grid()), prior.score(grid(), NZ, Planck18())
    x = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32) * 0.02
    sigma = np.float32(0.01)
    # The network is the same; what changes is the Gaussian part.
    change = of_theory(x, sigma) - of_maps(x, sigma)
    gaussian = [priors.GaussianScore(score.power)(x, sigma) for score in (of_theory, of_maps)]
    np.testing.assert_allclose(change, gaussian[0] - gaussian[1], atol=2e-3)
    assert np.abs(change).max() > 0.1


def test_other_pixels_are_refused(prior):
    with pytest.raises(ValueError, match=r"`pixel_size_arcmin` must be that of the maps.*3 arcmin"):
        prior.score(grid(pixel=1.0))
    with pytest.raises(ValueError, match="`grid` must have sides that divide by 2"):
        prior.score(grid((33, 32)))


def test_maps_of_a_lens_set_and_of_fits_files(tmp_path):
    options = {"method": "gaussian", "field_size_deg": 2.0, "num_pixels": 16}
    write_maps(tmp_path / "set", [delta_nz(1.0)], 4, **options)
    found = read_maps(tmp_path / "set")
    assert found.kappa.shape == (4, 16, 16) and found.pixel_size_arcmin == pytest.approx(7.5)
    path = tmp_path / "maps.fits"
    cube = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube), fits.ImageHDU(cube[0])]).writeto(path)
    assert read_maps(path, 2.0).kappa.shape == (4, 16, 16)
    with pytest.raises(ValueError, match="`pixel_size_arcmin` must be known of"):
        read_maps(path)
    fits.setval(path, "CDELT1", value=-1 / 60, ext=1)
    assert read_maps(path).pixel_size_arcmin == pytest.approx(1.0)
    with pytest.raises(ValueError, match="`pixel_size_arcmin` must be that of the maps, 1"):
        read_maps(path, 2.0)


def test_maps_that_cannot_be_used_are_refused(tmp_path):
    path = tmp_path / "maps.fits"
    broken = np.full((4, 16, 16), np.nan, np.float32)
    fits.PrimaryHDU(broken).writeto(path)
    with pytest.raises(ValueError, match="`maps` must be finite"):
        read_maps(path, 1.0)
    for size in (100, 3000):  # within the header, and within the data
        (tmp_path / "short.fits").write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match="`maps` must be a whole FITS file"):
            read_maps(tmp_path / "short.fits", 1.0)
    with pytest.raises(ValueError, match="`maps` must be a whole FITS file"):
        read_maps(tmp_path / "none.fits", 1.0)
    (tmp_path / "maps.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match="must be a whole convergence maps in HDF5"):
        read_maps(tmp_path / "maps.h5", 1.0)
    with pytest.raises(ValueError, match="`maps` must hold several maps"):
        train_prior(TrainingMaps(np.zeros((1, 16, 16), np.float32), 1.0, {}))
    with pytest.raises(ValueError, match=r"must hold a prior: denoiser.keras"):
        load_prior(tmp_path)


def test_command_line_trains_from_maps(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("priors.prior_figure.NUM_DRAWS", 4)
    out = tmp_path / "prior"
    words = ["train", str(folder / "training.h5"), "--validation", str(folder / "held_out.h5")]
    assert main([*words, "--out", str(out), "--filters", "4", "--steps", "2"]) == 0
    assert "val_loss" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"denoiser.keras", "prior.json", "prior.png"}
    assert json.loads((out / "prior.json").read_text())["pixel_size_arcmin"] == PIXEL
    assert main(["train", "--out", str(out)]) == 2
    assert "`MAPS` must be given" in capsys.readouterr().err
    assert main(["train", "--simulate", "--out", str(out)]) == 2
    assert "`--nz` must be given" in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--pixel-size-arcmin", "1"]) == 2
    assert "must be that of the maps, 3" in capsys.readouterr().err


def test_the_prior_that_comes_with_the_package():
    prior = priors.load_pretrained("cosmos")
    assert prior.pixel_size_arcmin == 1.0 and prior.multiple == 4
    rms = prior.denoiser.scale
    # A lognormal map with their spectrum and about their skewness: peaks on a quiet floor.
    power = prior.trained_power((64, 64))
    shape = np.random.default_rng(0).normal(size=(4, 64, 64))
    field = np.fft.ifft2(np.fft.fft2(shape) * np.sqrt(power)).real
    kappa = (0.03 * (np.exp(field / 0.03) / np.mean(np.exp(field / 0.03)) - 1)).astype(np.float32)
    noise = rms * np.random.default_rng(1).normal(size=kappa.shape).astype(np.float32)
    found = prior.denoiser(kappa + noise, rms).numpy()
    variance = np.mean(np.abs(np.fft.fft2(kappa)) ** 2, axis=0) / 64**2
    modes = np.fft.fft2(kappa + noise) * variance / (variance + rms**2)
    linear = np.fft.ifft2(modes).real
    # The Wiener filter knows this very spectrum; the network, what peaks look like.
    assert np.mean((found - kappa) ** 2) < 0.95 * np.mean((linear - kappa) ** 2)
    with pytest.raises(ValueError, match="`name` must be one of 'cosmos'"):
        priors.load_pretrained("des")
