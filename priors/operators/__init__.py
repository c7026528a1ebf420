"""Linear operators from images to data, each with its adjoint."""

from priors.operators.base import AbstractLinearOperator, Product
from priors.operators.convolution import Convolution
from priors.operators.fourier import MaskedFourier
from priors.operators.lensing import ConvergenceModes, KaiserSquires
from priors.operators.masking import Mask

__all__ = [
    "AbstractLinearOperator",
    "ConvergenceModes",
    "Convolution",
    "KaiserSquires",
    "Mask",
    "MaskedFourier",
    "Product",
]
