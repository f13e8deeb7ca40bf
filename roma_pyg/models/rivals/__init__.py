"""Models that ROMA is compared with; they differ from it in how they make their tokens."""

from roma_pyg.models.rivals.gps import GraphGPS
from roma_pyg.models.rivals.mesh import MeshGraphNet
from roma_pyg.models.rivals.message_passing import MessagePassingOperator
from roma_pyg.models.rivals.recurrent import RecurrentOperator
from roma_pyg.models.rivals.single_level import SingleLevel
from roma_pyg.models.rivals.slices import Transolver
from roma_pyg.models.rivals.tokenwise import TokenwiseOperator

__all__ = [
    "GraphGPS",
    "MeshGraphNet",
    "MessagePassingOperator",
    "RecurrentOperator",
    "SingleLevel",
    "TokenwiseOperator",
    "Transolver",
]
