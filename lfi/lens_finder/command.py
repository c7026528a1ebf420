"""What the command line does to train a lens finder on simulated stamps."""

import argparse
import json

import keras

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import integer_seed
from flowpm_ext.nn import EpochBar, decaying_adam
from lfi.chains import with_suffix
from lfi.commands import require_new
from lfi.lens_finder.calibration import reliability
from lfi.lens_finder.finder import LensFinder
from lfi.lens_finder.plot import finder_figure
from lfi.lens_finder.scores import score
from lfi.lens_finder.stamps import simulate_stamps
from lfi.lens_finder.survey import ImagingSurvey

LEARNING_RATE, BATCH = 3e-3, 64


def lenses(options: argparse.Namespace) -> None:
    """Simulate stamps, train a network, calibrate it, and say what it finds among others.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    checks.positive_integers(stamps=options.stamps, epochs=options.epochs)
    files = [with_suffix(options.output, suffix) for suffix in (".keras", ".json", ".png")]
    require_new(files, options.overwrite)
    survey = ImagingSurvey(options.bands, options.side)
    finder = LensFinder(options.bands, options.side, options.size, seed=options.seed)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(integer_seed(options.seed, 0))
    train, held, test = (
        simulate_stamps(num, integer_seed(options.seed, 1 + number), survey)
        for number, num in enumerate((options.stamps, *2 * [max(options.stamps // 4, 100)]))
    )
    finder.compile(decaying_adam(LEARNING_RATE, options.epochs * -(-len(train) // BATCH)))
    finder.fit(train, batch_size=BATCH, epochs=options.epochs, verbose=0, callbacks=[EpochBar()])
    finder.calibrate(held)
    finder.save(files[0])
    logits = finder.logits(test)
    found = score(logits, test.is_lens)._asdict()
    stated = reliability(finder.predict(test), test.is_lens)
    found["expected_calibration_error"] = stated.expected_calibration_error
    found |= {"seed": options.seed, "stamps": options.stamps, "epochs": options.epochs}
    files[1].write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    finder_figure(test, logits).savefig(files[2], dpi=110)
    error = found["errors"]["roc_area"]
    print(f"of {len(test)} stamps not trained on: ROC area {found['roc_area']:.4f} ± {error:.4f}")
    print(f"network, scores and figure: {', '.join(map(str, files))}")
