"""Keras blocks of any dimension, with periodic, reflecting or zero padding."""

from flowpm_ext.nn.convolution import Convolution, pad
from flowpm_ext.nn.decay import decaying_adam
from flowpm_ext.nn.epoch_bar import EpochBar
from flowpm_ext.nn.level_unet import LevelUNet
from flowpm_ext.nn.recurrent import ConvGRU, ConvLSTM
from flowpm_ext.nn.residual import ResNet, SmallCNN
from flowpm_ext.nn.seeding import seeded_layers, shuffled_batches
from flowpm_ext.nn.spectral_norm import SpectralNorm
from flowpm_ext.nn.training import OwnLoss, SharedTraining
from flowpm_ext.nn.turning import turned
from flowpm_ext.nn.unet import UNet
from flowpm_ext.nn.weight_average import WeightAverage

__all__ = [
    "ConvGRU",
    "ConvLSTM",
    "Convolution",
    "EpochBar",
    "LevelUNet",
    "OwnLoss",
    "ResNet",
    "SharedTraining",
    "SmallCNN",
    "SpectralNorm",
    "UNet",
    "WeightAverage",
    "decaying_adam",
    "pad",
    "seeded_layers",
    "shuffled_batches",
    "turned",
]
