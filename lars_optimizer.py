"""LARS under the module name of the authors' code; the implementation is `tf_simclr.optim.lars`."""

from tf_simclr.optim.lars import EETA_DEFAULT, LARSOptimizer

__all__ = ["EETA_DEFAULT", "LARSOptimizer"]
