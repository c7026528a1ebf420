"""Estimators that come back from disk as they went."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lfi
from lfi.density import MixtureDensity
from lfi.saving import load_estimator, save_estimator

NUM = 120


def trained(kind, prior=None, density="mdn", **options):
    prior = prior or lfi.BoxPrior([-3, -3], [3, 3], names=["a", "b"])
    theta = np.asarray(prior.sample(NUM, seed=0))
    x = np.concatenate([theta, theta[:, :1]], 1)
    x = x + 0.5 * np.random.default_rng(0).normal(size=x.shape)
    estimator = kind(prior, density, num_members=2, seed=3, **options)
    return estimator.append_simulations(theta, x).fit(epochs=2, verbose=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "estimator"
    estimator = trained(lfi.NPE, hidden=(12, 12))
    save_estimator(estimator, folder)
    return estimator, folder


def test_posterior_comes_back(saved):
    before, folder = saved
    after = load_estimator(folder)
    assert type(after) is lfi.NPE and after.density == before.density and after.seed == 3
    assert list(after.options["hidden"]) == [12, 12]
    assert after.rounds == before.rounds and after.prior.names == ["a", "b"]
    np.testing.assert_array_equal(after.x, before.x)
    np.testing.assert_array_equal(after.ensemble.weights, before.ensemble.weights)
    assert after.ensemble.histories[1]["loss"] == before.ensemble.histories[1]["loss"]
    x_obs = before.x[:3]
    draws = before.posterior(x_obs).sample(20, seed=1)
    # The same weights in the same operations: nothing but the order of a sum could differ.
    np.testing.assert_allclose(after.posterior(x_obs).sample(20, seed=1), draws, atol=1e-6)
    log_prob = before.posterior(x_obs).log_prob(draws)
    np.testing.assert_allclose(after.posterior(x_obs).log_prob(draws), log_prob, atol=1e-5)


def test_estimator_that_came_back_can_be_trained_again(saved):
    _, folder = saved
    again = load_estimator(folder).fit(epochs=1, verbose=0)
    assert len(again.ensemble.histories) == 2


def test_likelihood_comes_back_and_is_sampled(tmp_path):
    before = trained(lfi.NLE)
    save_estimator(before, tmp_path)
    after = load_estimator(tmp_path)
    theta, x = before.theta[:5], before.x[:5]
    found = after.log_likelihood(theta, x)
    np.testing.assert_allclose(found, before.log_likelihood(theta, x), atol=1e-5)
    options = {"num_chains": 2, "num_points": 200, "num_warmup": 5}
    draws = [one.posterior(x[0], **options).sample(10, seed=2) for one in (before, after)]
    # Chains amplify rounding, but not from equal weights.
    np.testing.assert_allclose(*draws, atol=1e-4)


def test_prior_of_another_kind_is_given_again(tmp_path):
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(2))
    members = [MixtureDensity(2, 3, 1), MixtureDensity(2, 3, 2)]
    before = trained(lfi.NPE, prior, members)
    save_estimator(before, tmp_path)
    with pytest.raises(ValueError, match=r"`prior` must be given.*It was MultivariateNormalDiag"):
        load_estimator(tmp_path)
    after = load_estimator(tmp_path, prior)
    draws = [one.posterior(before.x[0]).sample(10) for one in (before, after)]
    np.testing.assert_allclose(*draws, atol=1e-6)
    assert [member.num_components for member in after.density] == [1, 2]


def test_smaller_ensemble_replaces_a_larger_one(saved, tmp_path):
    folder = tmp_path / "estimator"
    shutil.copytree(saved[1], folder)
    prior = lfi.BoxPrior([-3, -3], [3, 3])
    small = trained(lfi.NPE, prior, [MixtureDensity(2, 3, 1)])
    save_estimator(small, folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["estimator.json", "member_0.keras", "simulations.h5"]
    assert len(load_estimator(folder).ensemble.members) == 1


def test_bad_folders_are_refused(saved, tmp_path):
    with pytest.raises(ValueError, match="`folder` must be a folder"):
        load_estimator(tmp_path / "none")
    with pytest.raises(ValueError, match=r"which has no estimator.json.*lfi train"):
        load_estimator(tmp_path)
    with pytest.raises(ValueError, match="`prior` must be left out"):
        load_estimator(saved[1], lfi.BoxPrior([0], [1]))

    def broken(change, message):
        folder = tmp_path / message[:9]
        shutil.copytree(saved[1], folder)
        change(folder)
        with pytest.raises(ValueError, match=message) as error:
            load_estimator(folder)
        assert len(str(error.value)) < 500 and "\n" not in str(error.value)

    def edited(**changes):
        def change(folder):
            about = json.loads((folder / "estimator.json").read_text()) | changes
            (folder / "estimator.json").write_text(json.dumps(about))

        return change

    broken(lambda f: (f / "member_1.keras").unlink(), "`member` must be a file")
    broken(lambda f: (f / "member_0.keras").write_bytes(b"PK no"), "a .keras file of a Cond")
    broken(lambda f: (f / "simulations.h5").write_bytes(b"half"), "whole simulations of an est")
    broken(lambda f: (f / "estimator.json").write_text("{"), "must be JSON")
    broken(edited(format="recipe"), "describe a trained estimator")
    broken(lambda f: (f / "estimator.json").write_text('{"format": "trained estimator"}'),
           "be whole. Received: 'no kind")  # fmt: skip
    broken(edited(format_version=9), "have format 1")
    broken(edited(kind="abc"), "`kind` must be one of")


def test_untrained_and_foreign_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="must be trained by `fit`"):
        save_estimator(lfi.NPE(lfi.BoxPrior([0], [1])), tmp_path / "a")
    with pytest.raises(ValueError, match="`estimator` must be one of NPE, NLE"):
        save_estimator("posterior", tmp_path / "a")
    assert not (tmp_path / "a").exists()
