"""Bins with fixed edges in redshift, and classifiers from photometry to them."""

from typing import Any

import numpy as np

from flowpm_ext.core import checks
from lfi.tomography.scores import EDGES, check_redshifts, redshift_edges

CLASSIFIERS = ("forest", "neighbours")
NUM_TREES, LEAST_IN_LEAF, NUM_NEIGHBOURS = 60, 5, 25


class FixedEdges:
    """Galaxies in the bin of redshift that a classifier thinks they are in.

    It has `fit`, `predict` and `assign`, as `BinClassifier` does.

    Args:
        num_bins: Number of bins.
        edges: "number" for equally many training galaxies in each bin, "distance" for bins as wide
            in comoving distance.
        classifier: "forest" for a random forest, "neighbours" for a vote of 25 nearest neighbours.
        seed: Of the forest.

    Raises:
        ValueError: If `num_bins` is not a positive integer, or an option is unknown.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 4; Breiman 2001, Machine Learning 45, 5.
    """

    def __init__(
        self, num_bins: int, edges: str = "number", classifier: str = "forest", seed: int = 0
    ) -> None:
        checks.positive_integers(num_bins=num_bins)
        checks.one_of(edges, "edges", EDGES)
        checks.one_of(classifier, "classifier", CLASSIFIERS)
        self.num_bins, self.edges, self.classifier, self.seed = num_bins, edges, classifier, seed
        self.model: Any = None

    def fit(self, x: np.ndarray, redshift: np.ndarray) -> "FixedEdges":
        """Learn from galaxies with redshifts.

        Args:
            x: Photometric features, shape [num_galaxies, num_features].
            redshift: True redshifts, shape [num_galaxies].

        Returns:
            Itself.

        Raises:
            ValueError: If something is not finite, there are fewer galaxies than bins, or all
                have the same redshift.
        """
        check_features(x, redshift)
        check_redshifts(redshift, self.num_bins)
        cuts = redshift_edges(redshift, self.num_bins, self.edges)
        self.model = self._untrained()
        self.model.fit(np.asarray(x), np.searchsorted(cuts, redshift, side="right"))
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probability of each bin, [num_galaxies, num_bins]."""
        checks.require(self.model is not None, "model", "be trained by `fit` first", None)
        check_features(x)
        found = np.zeros((len(x), self.num_bins), np.float32)
        found[:, self.model.classes_] = self.model.predict_proba(np.asarray(x))
        return found

    def assign(self, x: np.ndarray) -> np.ndarray:
        """Bin of each galaxy, int [num_galaxies]."""
        return np.argmax(self.predict(x), axis=1)

    def _untrained(self) -> Any:
        # Not before they are used: scikit-learn takes a second to import.
        if self.classifier == "forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(
                NUM_TREES, min_samples_leaf=LEAST_IN_LEAF, random_state=self.seed
            )
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import RobustScaler

        return make_pipeline(RobustScaler(), KNeighborsClassifier(NUM_NEIGHBOURS))


def check_features(x: np.ndarray, redshift: np.ndarray | None = None) -> None:
    """Refuse features that are not finite, or do not go with the redshifts.

    Args:
        x: What was received.
        redshift: The redshifts, where they are known.

    Raises:
        ValueError: If so.
    """
    checks.rank(x, "x", 2)
    checks.finite(x, "x", "Write 30 for magnitudes of what is not detected.")
    if redshift is not None:
        rule = f"have a row for each of {len(redshift)} redshifts"
        checks.require(len(x) == len(redshift), "x", rule, f"shape {np.shape(x)}")
