"""The SKY130 process: installation of its SPICE models and their resolution to plain numbers."""

from zsgym.pdk.install import install, install_dir, locate
from zsgym.pdk.library import CORNERS, DEVICES, corner_includes
from zsgym.pdk.models import CornerModels, load_corner, models_hash

__all__ = [
    "CORNERS",
    "DEVICES",
    "CornerModels",
    "corner_includes",
    "install",
    "install_dir",
    "load_corner",
    "locate",
    "models_hash",
]
