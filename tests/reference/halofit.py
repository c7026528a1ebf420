"""Halofit written out naively: roots by bisection, slopes by differences, one epoch at a time."""

import numpy as np
from scipy import integrate, optimize


def nonlinear(k, k_table, linear_table, matter, dark, w):
    """P at k from a table of the linear spectrum at the same epoch (Takahashi et al. 2012).

    `matter` and `dark` are the densities at that epoch, `w` the equation of state.
    """
    log_k, density = np.log(k_table), k_table**3 * linear_table / (2 * np.pi**2)

    def log_variance(log_radius):
        smooth = density * np.exp(-((k_table * np.exp(log_radius)) ** 2))
        return np.log(integrate.simpson(smooth, x=log_k))

    root = optimize.brentq(log_variance, np.log(1e-3), np.log(100.0), xtol=1e-13)
    h = 0.02
    far, near, here, next_, last = (log_variance(root + i * h) for i in (-2, -1, 0, 1, 2))
    n = -3 - (far - 8 * near + 8 * next_ - last) / (12 * h)
    c = (far - 16 * near + 30 * here - 16 * next_ + last) / (12 * h**2)
    linear = k**3 * np.exp(np.interp(np.log(k), log_k, np.log(linear_table))) / (2 * np.pi**2)
    return terms(k * np.exp(root), linear, n, c, matter, dark, w) * 2 * np.pi**2 / k**3


def terms(y, linear, n, c, matter, dark, w):
    """k**3 P / 2 pi**2 for y = k / k_nonlinear, index n and running c."""
    pressure = dark * (1 + w)
    a_n = 10 ** np.polyval([0.2250, 0.9903, 2.3706, 2.8553, 1.5222], n)
    a_n *= 10 ** (-0.6038 * c + 0.1749 * pressure)
    b_n = 10 ** (-0.5642 + 0.5864 * n + 0.5716 * n**2 - 1.5474 * c + 0.2279 * pressure)
    c_n = 10 ** (0.3698 + 2.0404 * n + 0.8161 * n**2 + 0.5869 * c)
    gamma = 0.1971 - 0.0843 * n + 0.8460 * c
    alpha = abs(6.0835 + 1.3373 * n - 0.1959 * n**2 - 5.5274 * c)
    beta = np.polyval([0.3980, 1.2490, 0.3157, -0.7354, 2.0379], n) - 0.1682 * c
    nu = 10 ** (5.2105 + 3.6902 * n)
    # Powers of Omega_m between open and flat universes, by the share of dark energy.
    share = dark / (1 - matter) if matter != 1 else 1.0
    flat, curved = (-0.0307, -0.0585, 0.0743), (-0.0732, -0.1423, 0.0725)
    f1, f2, f3 = (
        share * matter**x + (1 - share) * matter**y for x, y in zip(flat, curved, strict=True)
    )
    quasi = linear * (1 + linear) ** beta / (1 + alpha * linear) * np.exp(-y / 4 - y**2 / 8)
    halo = a_n * y ** (3 * f1) / (1 + b_n * y**f2 + (c_n * f3 * y) ** (3 - gamma))
    return quasi + halo / (1 + nu / y**2)


def effective_w(parameters, a, a_drag):
    """The constant w with the same distance from a to the drag epoch (Casarini et al. 2016)."""
    p = parameters
    matter = p["Omega_c"] + p["Omega_b"]
    dark = 1 - matter - p["Omega_k"]

    def length(density):
        def integrand(x):
            return 1 / np.sqrt(x * matter + p["Omega_k"] * x**2 + dark * density(x) * x**4)

        return integrate.quad(integrand, a_drag, a, epsabs=0, epsrel=1e-12)[0]

    w0, wa = p["w0"], p["wa"]
    goal = length(lambda x: x ** (-3 * (1 + w0 + wa)) * np.exp(-3 * wa * (1 - x)))
    return optimize.brentq(
        lambda w: length(lambda x: x ** (-3 * (1 + w))) - goal, -3.0, -0.2, xtol=1e-12
    )
