"""What the command line does to divide the galaxies of a catalogue into tomographic bins."""

import argparse
import pathlib

import numpy as np

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.core.seeds import generator
from flowpm_ext.cosmology.tomography import METRICS, SliceSpectra, challenge_spectra
from flowpm_ext.nn import EpochBar, decaying_adam
from lfi.chains import with_suffix
from lfi.commands import require_new
from lfi.tomography.baselines import FixedEdges
from lfi.tomography.catalogue import Catalogue, read_catalogue
from lfi.tomography.classifier import BinClassifier
from lfi.tomography.scores import check_redshifts, score
from lfi.tomography.spectra_file import read_spectra, write_spectra

LEARNING_RATE, LAST = 1e-2, 0.1  # of the steps, and part of it that is left at the end


def tomography(options: argparse.Namespace) -> None:
    """Train a classifier on half of the galaxies; say what its bins of the others are worth.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    checks.positive_integers(bins=options.bins, epochs=options.epochs)
    files = [with_suffix(options.output, suffix) for suffix in (".keras", ".h5")]
    require_new(files, options.overwrite)
    catalogue = read_catalogue(options.data, options.bands)
    order = generator(options.seed).permutation(len(catalogue.redshift))
    mixed = Catalogue(catalogue.bands, *(x[order] for x in catalogue[1:]))
    train, test = mixed.split(len(order) // 2)
    check_redshifts(train.redshift, options.bins)
    x = train.features  # refuses what is not finite before any work is done
    spectra = _spectra(options)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    model = BinClassifier(
        options.bins, options.metric, spectra, reject=options.reject, seed=options.seed
    )
    model.compile(decaying_adam(LEARNING_RATE, options.epochs, LAST))
    model.fit(x, train.redshift, epochs=options.epochs, verbose=0, callbacks=[EpochBar()])
    model.save(files[0])
    assigned = np.empty(len(order), np.int32)
    assigned[order] = model.assign(mixed.features)
    is_training = np.zeros(len(order), bool)
    is_training[order[: len(x)]] = True
    datasets = {"bin": (assigned, {"rejected": -1}), "is_training": (is_training, {})}
    hdf5.write(files[1], "tomographic bins", 1, datasets, {"seed": options.seed})
    print(f"{'bins, of galaxies not trained on':34}" + "".join(f"{kind:>10}" for kind in METRICS))
    rows = {"learned": model}
    for edges in ("distance", "number") if options.baselines else ():
        rows[f"equal {edges}, random forest"] = FixedEdges(
            options.bins, edges, seed=options.seed
        ).fit(x, train.redshift)
    for name, each in rows.items():
        found = score(each.assign(test.features), test.redshift, options.bins, spectra)
        print(f"{name:34}" + "".join(f"{found[kind]:10.1f}" for kind in METRICS))
    print(f"classifier and bins: {files[0]}, {files[1]}")


def _spectra(options: argparse.Namespace) -> SliceSpectra:
    """Those of a file, which is made where it is not there; or new ones."""
    path = None if options.spectra is None else pathlib.Path(options.spectra)
    if path is not None and path.exists():
        return read_spectra(path)
    spectra = challenge_spectra(num_ell=25)
    if path is not None:
        write_spectra(path, spectra)
    return spectra
