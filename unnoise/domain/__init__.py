"""Domains: what files are, in and out. `[domain.Images]` in a recipe is `Images(...)` here."""

from unnoise.domain.base import Dataset, Domain
from unnoise.domain.images import Images
from unnoise.domain.inventory import Report, scan
from unnoise.domain.toy import Digits, Points

__all__ = ["Dataset", "Digits", "Domain", "Images", "Points", "Report", "scan"]
