"""A model as a folder for others: without the machine and the training it came from, with a card and a certificate."""

from unnoise.share.card import Card
from unnoise.share.folder import finished, portable, read_run, save

__all__ = ["Card", "finished", "portable", "read_run", "save"]
