# %% [markdown]
# # Strong lenses among galaxies that look like them
#
# A galaxy in front of another bends its light to arcs. Stamps of lenses are simulated here, and of
# galaxies with blue companions, spiral arms and rings that have as much light of the same colour as
# arcs would; so neither colour nor brightness tells them apart. A residual network in the manner
# of CMU DeepLens learns to. Then come probabilities that mean what they say, which lenses are
# found, and what happens under another sky. All galaxies are made up, and so are the scores: they
# are not those of the lens-finding challenge. Ten minutes on one core.

# %%
import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from lfi.diagnostics import MisspecificationWarning
from lfi.lens_finder import (
    ImagingSurvey,
    LensFinder,
    Population,
    draw_galaxies,
    finder_figure,
    reliability,
    render,
    score,
    shift_test,
    simulate_stamps,
)

small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
num_train, num_test, epochs, group = (400, 800, 1, 5) if small else (20_000, 10_000, 12, 100)

# %% [markdown]
# ## Stamps
# Four bands of LSST after a year, 32 pixels of 0.25 arcsec; half of the stamps are lenses.

# %%
survey = ImagingSurvey("griz", side=32, pixel_size_arcsec=0.25)
train, held, test = (
    simulate_stamps(num, seed, survey) for seed, num in enumerate((num_train, num_test, num_test))
)
print(f"{len(train)} stamps, {np.mean(train.is_lens):.0%} lenses; median signal to noise of arcs "
      f"{np.median(train.signal_to_noise[train.is_lens]):.0f}")  # fmt: skip

# %% [markdown]
# ## Training

# %%
keras.utils.set_random_seed(1)
finder = LensFinder(train.bands, side=32, seed=1)
steps = keras.optimizers.schedules.CosineDecay(3e-3, epochs * num_train // 64, alpha=0.01)
finder.compile(keras.optimizers.Adam(steps))
finder.fit(train, batch_size=64, epochs=epochs, verbose=0)
finder.save("lens_finder.keras")

# %% [markdown]
# ## Scores, and probabilities that are true

# %%
before = reliability(finder.predict(test), test.is_lens).expected_calibration_error
finder.calibrate(held)
after = reliability(finder.predict(test), test.is_lens).expected_calibration_error
logits = finder.logits(test)
found = score(logits, test.is_lens)
print(f"ROC area {found.roc_area:.4f} ± {found.errors['roc_area']:.4f}")
for name, count in (("tpr_0", "the first"), ("tpr_10", "the tenth")):
    print(f"lenses found before {count} of {found.num_others} others: "
          f"{getattr(found, name):.3f} ± {found.errors[name]:.3f}")  # fmt: skip
print(f"expected calibration error: {before:.4f}, calibrated {after:.4f}")

# %% [markdown]
# ## Another sky
# Scores fall where stamps are not like those of the training. Nobody knows labels of real stamps,
# but what the network sees of them is known, and compared with what it sees of simulations.

# %%
skies = {"as trained": (logits, test.is_lens)}
for name, seeing, noise in (("seeing + 30 %", 1.3, 1.0), ("noise x 2", 1.0, 2.0)):
    other = simulate_stamps(num_test // 4, 10, survey.degraded(seeing, noise))
    skies[name] = finder.logits(other), other.is_lens
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MisspecificationWarning)
        p_value = shift_test(finder, held, other, group=group).p_value
    print(f"{name}: p = {p_value:.3f}", *(str(w.message) for w in caught))

# %% [markdown]
# ## The simulator has gradients
# How would the arcs of a lens change with its Einstein radius?

# %%
galaxies = draw_galaxies(1, 3, survey, Population(lens_fraction=1.0))
with tf.autodiff.ForwardAccumulator(
    galaxies.einstein_radius, tf.ones_like(galaxies.einstein_radius)
) as accumulator:
    image = render(galaxies, survey)[0]
change = accumulator.jvp(image).numpy()
print(f"an Einstein radius 0.01 arcsec larger moves {0.005 * np.abs(change).sum():.2f} of "
      f"{np.abs(image.numpy()).sum():.0f} in flux to other pixels")  # fmt: skip

# %% [markdown]
# ## The figure

# %%
figure = finder_figure(test, logits, skies)
figure.suptitle("Simulated stamps, and what a network finds among them")
figure.savefig("lens_finder.png", dpi=110)
