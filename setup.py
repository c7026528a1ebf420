"""Installation of flowpm-ext."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "flowpm_ext" / "version.py").read_text()
).group(1)

PLOT = ["getdist"]
SAMPLERS = ["cobaya>=3.5"]
THEORY = ["camb"]
TEST = ["pytest>=8", "pytest-xdist", "ruff>=0.17,<0.18", "pyccl>=3.3", *THEORY, *PLOT, *SAMPLERS]
# jax_cosmo 0.1.0 needs pkg_resources, which setuptools 81 drops, and was tried with jax 0.9.2;
# what jaxpm 0.1.6 builds on needs packaging and does not say so.
BENCH = ["pyccl>=3.3", "jax_cosmo", "jaxpm", "packaging", "jax<0.10", "setuptools<81", "emcee>=3.1"]

setup(
    name="flowpm-ext",
    version=VERSION,
    description="Differentiable cosmology in TensorFlow: theory, simulations and inference",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["flowpm_ext*", "lfi*", "priors*", "rim*"]),
    package_data={
        "lfi": ["weights/README.md", "weights/*/*.keras", "weights/*/estimator/*"],
        "priors": ["weights/README.md", "weights/*/*"],
        "rim": ["weights/*.keras", "weights/README.md"],
    },
    install_requires=[
        "tensorflow>=2.20",
        "keras>=3.12",
        "tensorflow-probability[tf]>=0.25,<0.26",
        "numpy",
        "scipy",
        "astropy",
        "h5py",
        "matplotlib",
        "tqdm",
        "scikit-learn",
        "joblib>=1.3",
        "threadpoolctl",
    ],
    extras_require={
        "test": TEST,
        "bench": BENCH,
        "plot": PLOT,
        "cobaya": SAMPLERS,
        "theory": THEORY,
        "gpu": ["tensorflow[and-cuda]>=2.20"],
        "tpu": ["tensorflow-tpu>=2.20"],
        "tensorboard": ["tensorboard"],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Astronomy",
    ],
)
