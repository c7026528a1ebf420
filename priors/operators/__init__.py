"""Linear operators from images to data, each with its adjoint."""

from priors.operators.base import AbstractLinearOperator, Product
from priors.operators.convolution import Convolution
from priors.operators.fourier import MaskedFourier
from priors.operators.lensing import ConvergenceModes, KaiserSquires
from priors.operators.masking import Mask
from priors.operators.mixing import Mixing, ModeMixing
from priors.operators.placement import Padding, Shift
from priors.operators.sampling import DownSampling

__all__ = [
    "AbstractLinearOperator",
    "ConvergenceModes",
    "Convolution",
    "DownSampling",
    "KaiserSquires",
    "Mask",
    "MaskedFourier",
    "Mixing",
    "ModeMixing",
    "Padding",
    "Product",
    "Shift",
]
