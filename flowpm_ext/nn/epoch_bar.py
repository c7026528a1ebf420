"""How far a training is."""

from collections.abc import Mapping

import keras
from tqdm import tqdm


class EpochBar(keras.callbacks.Callback):
    """A progress bar of epochs for each training, with the loss of what is held out."""

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Show an empty bar."""
        self.bar = tqdm(total=self.params["epochs"], unit="epoch")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """One epoch more; those of an earlier run count."""
        logs = logs or {}
        shown = {"held out": "val_loss", "loss": "loss"}
        values = {name: f"{logs[key]:.3f}" for name, key in shown.items() if key in logs}
        self.bar.set_postfix(dict(list(values.items())[:1]), refresh=False)
        self.bar.update(epoch + 1 - self.bar.n)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Close the bar."""
        self.bar.close()
