"""Learned likelihoods in Cobaya, and posteriors in getdist."""

import numpy as np
import pytest
from cobaya.model import get_model
from cobaya.run import run

import lfi
from lfi.dataset import Observation, write_observation

WIDTH = 0.4
LIKELIHOOD = "lfi.cobaya_likelihood.LearnedLikelihood"
# What others warn of while they are imported or run.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "FutureWarning")
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """x = theta + noise, whose likelihood is known; and an observation of it, in files."""
    folder = tmp_path_factory.mktemp("trained")
    prior = lfi.BoxPrior([-3, 0], [3, 6], names=["a", "sigma8"])
    theta = prior.sample(3000, 1).numpy()
    x = theta + WIDTH * np.random.default_rng(1).normal(size=theta.shape)
    nle = lfi.NLE(prior, "mdn", 1, num_components=1).append_simulations(theta, x)
    nle.fit(epochs=40, verbose=0)
    lfi.save_estimator(nle, folder / "nle")
    lfi.save_estimator(
        lfi.NPE(prior, "mdn", 1).append_simulations(theta, x).fit(epochs=2, verbose=0),
        folder / "npe",
    )
    write_observation(folder / "seen.h5", Observation(np.array([0.5, 2.0], np.float32), None))
    return folder, nle


def information(folder, name="nle"):
    return {
        "likelihood": {
            LIKELIHOOD: {"folder": str(folder / name), "observation": str(folder / "seen.h5")}
        },
        "params": {
            "a": {"prior": {"min": -4, "max": 4}, "proposal": WIDTH},
            "sigma8": {"prior": {"min": 0, "max": 6}, "proposal": WIDTH},
        },
    }


def test_likelihood_is_that_of_the_estimator(trained):
    folder, nle = trained
    model = get_model(information(folder))
    theta = np.array([[0.3, 2.2], [1.0, 1.0]], np.float32)
    expected = nle.log_likelihood(theta, np.tile([[0.5, 2.0]], [2, 1])).numpy()
    found = [model.loglike({"a": a, "sigma8": b}, return_derived=False) for a, b in theta]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert model.loglike({"a": 3.5, "sigma8": 2.0}, return_derived=False) == -np.inf


def test_cobaya_finds_the_posterior(trained):
    folder, _ = trained
    settings = information(folder) | {"sampler": {"mcmc": {"max_samples": 1200, "seed": 1}}}
    _, sampler = run(settings)
    chain = sampler.samples(combined=True, skip_samples=0.3)
    for name, truth in (("a", 0.5), ("sigma8", 2.0)):
        # Chains of a thousand steps are worth a hundred draws.
        assert chain.mean()[list(chain.columns[2:]).index(name)] == pytest.approx(truth, abs=0.2)


def test_unfit_options_are_refused(trained):
    folder, _ = trained
    for change, message in (
        ({"folder": None}, "`folder` must be given"),
        ({"observation": None}, "`observation` must be given"),
        ({"folder": str(folder / "npe")}, "`folder` must hold an NLE"),
        ({"observation": str(folder / "none.h5")}, "`observation` must be a file"),
    ):
        settings = information(folder)
        settings["likelihood"][LIKELIHOOD] |= change
        with pytest.raises(ValueError, match=message):
            get_model(settings)


def test_posteriors_go_to_getdist(trained):
    _, nle = trained
    posterior = nle.posterior([0.5, 2.0])
    found = posterior.to_getdist(4000, seed=1)
    assert found.getParamNames().list() == ["a", "sigma8"]
    assert found.getParamNames().labels()[1] == r"\sigma_8"
    np.testing.assert_allclose(found.mean(["a", "sigma8"]), [0.5, 2.0], atol=0.1)
    np.testing.assert_allclose(found.std(["a", "sigma8"]), WIDTH, rtol=0.15)
    chains = posterior.chains(100, seed=1)
    np.testing.assert_allclose(chains.bounds, [[-3, 3], [0, 6]])
    with pytest.raises(ValueError, match="`x_obs` must be one observation"):
        nle.posterior([[0.5, 2.0], [1.0, 1.0]]).to_getdist()
