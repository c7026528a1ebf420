"""Knox covariance of angular power spectra, one entry at a time."""

import numpy as np


def knox_covariance(ell, total, num_tracers, f_sky, delta_ell):
    """Dense covariance [num_cl * num_ell] * 2 of spectra `total` [num_cl, num_ell]."""
    pairs = [(i, j) for i in range(num_tracers) for j in range(i, num_tracers)]
    number = {pair: n for n, pair in enumerate(pairs)}
    number |= {(j, i): n for (i, j), n in number.items()}
    covariance = np.zeros([len(pairs), len(ell), len(pairs), len(ell)])
    for m, (i, j) in enumerate(pairs):
        for n, (k, p) in enumerate(pairs):
            for at in range(len(ell)):
                c = {pair: total[number[pair], at] for pair in number}
                value = c[i, k] * c[j, p] + c[i, p] * c[j, k]
                covariance[m, at, n, at] = value / ((2 * ell[at] + 1) * delta_ell[at] * f_sky)
    return covariance.reshape(len(pairs) * len(ell), -1)
