"""Learned tomographic bins, fixed ones, and the catalogues they are learned from."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import lfi
from flowpm_ext.cosmology import tomography
from flowpm_ext.cosmology.tomography import Survey
from lfi.__main__ import main
from lfi.tomography import BinClassifier, FixedEdges, mock_catalogue, redshift_edges, score
from lfi.tomography.catalogue import UNDETECTED, photometric_features

PARAMETERS = ("Omega_c", "sigma8", "w0", "wa")
NUM = 2000


@pytest.fixture(scope="module")
def spectra():
    """Fewer slices, multipoles and parameters than in the challenge."""
    tf.config.run_functions_eagerly(True)  # compiling takes longer
    made = tomography.challenge_spectra(num_slices=30, num_ell=6, parameters=PARAMETERS)
    tf.config.run_functions_eagerly(False)
    return made


@pytest.fixture(scope="module")
def galaxies():
    return mock_catalogue(2 * NUM, seed=1).split(NUM)


def trained(spectra, catalogue, num_bins=3, epochs=25, **options):
    model = BinClassifier(num_bins, spectra=spectra, hidden=(32,), **options)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(catalogue.features, catalogue.redshift, epochs=epochs, verbose=0)
    return model, history.history["loss"]


def test_learned_bins_are_better_than_those_of_a_forest(spectra, galaxies):
    train, test = galaxies
    model, losses = trained(spectra, train, epochs=60)
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0] - 0.1
    assigned = model.assign(test.features)
    assert set(assigned) <= {0, 1, 2}
    learned = score(assigned, test.redshift, 3, spectra)
    fixed = FixedEdges(3, "number").fit(train.features, train.redshift)
    fixed = score(fixed.assign(test.features), test.redshift, 3, spectra)
    # The bar at full size is 1.5; here are few galaxies, slices and updates.
    assert learned["detf"] > 1.2 * fixed["detf"]


@pytest.fixture(scope="module")
def model(spectra, galaxies):
    """A classifier that may leave galaxies out, hardly trained."""
    return trained(spectra, galaxies[0], epochs=2, reject=True, survey=Survey(f_sky=0.1))[0]


def test_loss_is_the_metric_of_soft_bins(spectra, galaxies, model):
    train = galaxies[0]
    x, slice_of, _ = model._in_order(train.features, train.redshift)
    weights = model(x)
    bins = tomography.bins_of_weights(weights, slice_of, spectra.num_slices)
    fisher = tomography.fisher_matrix(spectra, bins, Survey(f_sky=0.1))
    expected = -np.log(tomography.figure_of_merit(fisher, PARAMETERS))
    np.testing.assert_allclose(model.compute_loss(y=slice_of, y_pred=weights), expected, rtol=1e-5)
    total = tf.reduce_sum(weights, axis=1)
    assert np.all((total > 0) & (total <= 1 + 1e-6))


def test_scales_are_learned_where_the_model_was_built_before(spectra, galaxies):
    x, z = (part[:300] for part in (galaxies[0].features, galaxies[0].redshift))
    plain, built = (BinClassifier(3, spectra=spectra, hidden=(8,)) for _ in range(2))
    with pytest.raises(ValueError, match="`model` must be trained by `fit` first"):
        built.assign(x)
    built(x)  # builds it
    for model in (plain, built):
        model.compile()
        model.fit(x, z, epochs=2, verbose=0)
    assert np.all(built.centre > 0)
    for one, other in zip(plain.get_weights(), built.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_goes_on_and_is_evaluated(spectra, galaxies):
    train, test = galaxies
    model, _ = trained(spectra, train, epochs=5)
    held, before = (test.features, test.redshift), [v.numpy() for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.0))
    again = model.fit(train.features, train.redshift, epochs=2, verbose=0, validation_data=held)
    for one, other in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)  # no second warm start
    x, slice_of, _ = model._in_order(*held)
    expected = float(model.compute_loss(y=slice_of, y_pred=model(x)))
    shuffled = np.random.default_rng(0).permutation(NUM)
    found = model.evaluate(*(part[shuffled] for part in held), verbose=0)
    for value in (found, again.history["val_loss"][-1]):
        np.testing.assert_allclose(value, expected, rtol=1e-4)
    for call in (model.assign, lambda x: model.fit(x, train.redshift)):
        with pytest.raises(ValueError, match="`x` must have the 14 features of the training"):
            call(train.features[:, :5])


@pytest.mark.parametrize("num_bins, seed", [(1, 0), (9, 1)])
def test_no_nan(spectra, galaxies, num_bins, seed):
    few = galaxies[0].split(200)[0]
    model, losses = trained(spectra, few, num_bins, epochs=6, seed=seed, reject=True)
    assert np.all(np.isfinite(losses))
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())


def test_a_file_keeps_the_classifier(spectra, galaxies, model, tmp_path):
    x = galaxies[1].features
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.assign(x), model.assign(x))
    assert float(again.survey.f_sky) == 0.1 and again.reject
    # A galaxy that is most of all left out is in no bin.
    again.stack[-1].bias.assign(np.array([0, 0, 0, 1e4], np.float32))
    assert np.all(again.assign(x[:5]) == -1)
    np.testing.assert_allclose(again(x[:5]), 0, atol=1e-6)
    lfi.tomography.write_spectra(tmp_path / "spectra.h5", spectra)
    found = lfi.tomography.read_spectra(tmp_path / "spectra.h5")
    assert found.parameters == PARAMETERS
    np.testing.assert_array_equal(found.shear, spectra.shear)


@pytest.mark.parametrize("edges", ["number", "distance"])
@pytest.mark.parametrize("classifier", ["forest", "neighbours"])
def test_fixed_edges(galaxies, edges, classifier):
    train, test = galaxies
    model = FixedEdges(3, edges, classifier).fit(train.features, train.redshift)
    cuts = redshift_edges(train.redshift, 3, edges)
    right = model.assign(test.features) == np.searchsorted(cuts, test.redshift)
    assert np.mean(right) > 0.7
    np.testing.assert_allclose(model.predict(test.features).sum(axis=1), 1, rtol=1e-5)


def test_edges_divide_numbers_or_distances():
    z = np.random.default_rng(0).uniform(0.2, 1.4, 1000)
    cuts = redshift_edges(z, 4, "number")
    assert np.all(np.abs(np.histogram(z, [0, *cuts, 2])[0] - 250) <= 1)
    cuts = redshift_edges(z, 3)
    grid = np.linspace(0, 2, 20_001)
    rate = np.sqrt(0.315 * (1 + grid) ** 3 + 0.685)
    chi = np.concatenate([[0], np.cumsum(0.5 * (1 / rate[1:] + 1 / rate[:-1]))])
    ends = np.quantile(z, [0.005, 0.995])
    width = np.diff(np.interp([ends[0], *cuts, ends[1]], grid, chi))
    np.testing.assert_allclose(width, width.mean(), rtol=1e-3)  # of the table of distances


def test_scores_do_not_mind_empty_bins(spectra):
    z = np.linspace(0.1, 1.5, 300)
    whole = score(np.zeros(300, int), z, 1, spectra)
    with_empty = score(np.zeros(300, int), z, 4, spectra)
    assert all(np.isclose(whole[kind], with_empty[kind], rtol=1e-6) for kind in whole)
    nothing = score(np.full(300, -1), z, 2, spectra)
    assert all(0 <= value < 1e-3 for value in nothing.values())


def test_mock_galaxies_have_colours_and_errors_of_a_survey():
    found = mock_catalogue(4000, seed=3, bands="ugrizy", kind="buzzard")
    again = mock_catalogue(4000, seed=3, bands="ugrizy", kind="buzzard")
    np.testing.assert_array_equal(found.magnitudes, again.magnitudes)
    assert found.magnitudes.shape == (4000, 6) and np.all(np.isfinite(found.features))
    seen = found.magnitudes < UNDETECTED
    assert np.all(found.errors[~seen] == UNDETECTED) and 0 < np.mean(~seen) < 0.1
    # Sources at 5 sigma of the depth of a band have an error of a fifth.
    near = np.abs(found.magnitudes[:, 0] - (24.8 - 0.3)) < 0.1
    np.testing.assert_allclose(np.median(found.errors[near, 0]), 0.217, rtol=0.1)
    grid = np.linspace(0, 3.6, 721)
    n = 0.956 * smail(grid, 1.286, 1.782, 0.521) + 0.044 * smail(grid, 12, 1.185, 0.178)
    np.testing.assert_allclose(found.redshift.mean(), np.sum(n * grid), rtol=0.03)


def smail(z, a, b, z0):
    shape = z**a * np.exp(-((z / z0) ** b))
    return shape / shape.sum()


def test_layout_of_the_challenge(galaxies, tmp_path):
    path = tmp_path / "data.hdf5"
    lfi.tomography.write_catalogue(path, galaxies[0])
    with h5py.File(path, "a") as file:
        assert file["g_mag"].shape == file["i_mag_err"].shape == file["redshift_true"].shape
        file["g_mag"][:3] = np.inf
    found = lfi.tomography.read_catalogue(path, "griz")
    assert np.all(found.magnitudes[:3, 0] == UNDETECTED) and np.all(found.errors[:3, 0] == 30)
    np.testing.assert_array_equal(found.magnitudes[3:], galaxies[0].magnitudes[3:])
    assert lfi.tomography.read_catalogue(path, "ri").magnitudes.shape == (NUM, 2)
    assert found.features.shape == (NUM, 4 + 6 + 4)


def test_messages(spectra, galaxies):
    x, z = galaxies[0].features, galaxies[0].redshift
    bad = np.array([[21.0, np.nan]])
    with pytest.raises(ValueError, match="`magnitudes` must be finite"):
        photometric_features(bad, bad)
    for make in (lambda n: BinClassifier(n, spectra=spectra), FixedEdges):
        with pytest.raises(ValueError, match="`x` must be finite"):
            make(3).fit(np.where(x > 25, np.inf, x), z)
        with pytest.raises(ValueError, match="`num_bins` must be at most the number of galaxies"):
            make(9).fit(x[:8], z[:8])
        with pytest.raises(ValueError, match="`redshift` must differ between galaxies"):
            make(3).fit(x, np.ones_like(z))
        with pytest.raises(ValueError, match="`x` must have a row for each of 5 redshifts"):
            make(3).fit(x, z[:5])
        with pytest.raises(ValueError, match="`num_bins` must be a positive integer"):
            make(0)
    with pytest.raises(ValueError, match="`metric` must be one of"):
        BinClassifier(3, "best")
    with pytest.raises(ValueError, match="`edges` must be one of"):
        FixedEdges(3, "colour")
    with pytest.raises(ValueError, match="`model` must be trained"):
        FixedEdges(3).assign(x)
    with pytest.raises(ValueError, match="`bands` must be different letters of 'ugrizy'"):
        mock_catalogue(5, bands="K")
    with pytest.raises(ValueError, match="`assigned` must be one bin for each of"):
        score(np.zeros(3, int), z, 2, spectra)
    with pytest.raises(ValueError, match="`assigned` must be below `num_bins`, 2"):
        score(np.full(NUM, 2), z, 2, spectra)


def test_command(spectra, galaxies, tmp_path, capsys):
    data, kept, output = (str(tmp_path / name) for name in ("data.hdf5", "spectra.h5", "out"))
    lfi.tomography.write_catalogue(data, galaxies[0])
    lfi.tomography.write_spectra(kept, spectra)
    words = ["tomography", data, "--bins=3", "--epochs=4", f"--spectra={kept}"]
    assert main([*words, f"--output={output}", "--baselines"]) == 0
    said = capsys.readouterr().out
    assert "learned" in said and "equal number, random forest" in said
    with h5py.File(f"{output}.h5") as file:
        assert file["bin"].shape == (NUM,) and np.sum(file["is_training"]) == NUM // 2
    assert keras.models.load_model(f"{output}.keras").num_bins == 3


@pytest.mark.parametrize("bands", ["", "gg"])
def test_command_refuses_bands(galaxies, tmp_path, capsys, bands):
    path = tmp_path / "data.hdf5"
    lfi.tomography.write_catalogue(path, galaxies[0].split(40)[0])
    words = ["tomography", str(path), "--bands", bands, f"--output={tmp_path / 'out'}"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "`bands` must be different letters" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda file: file.pop("g_mag_err"), "`DATA` must hold g_mag_err"),
        (lambda file: file["r_mag"].write_direct(np.full(40, np.nan)), "`r_mag` must be a number"),
        (lambda file: file["redshift_true"].write_direct(np.ones(40)), "`redshift` must differ"),
        (lambda file: None, "`num_bins` must be at most the number of galaxies, 20"),
    ],
)
def test_command_refuses_in_one_line(galaxies, tmp_path, capsys, change, line):
    path = tmp_path / "data.hdf5"
    lfi.tomography.write_catalogue(path, galaxies[0].split(40)[0])
    with h5py.File(path, "a") as file:
        change(file)
    bins = 21 if "num_bins" in line else 3
    code = main(["tomography", str(path), f"--bins={bins}", f"--output={tmp_path / 'out'}"])
    error = capsys.readouterr().err
    assert code == 2 and line in error and error.count("\n") == 1
