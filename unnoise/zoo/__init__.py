"""Published weights for our networks: one adapter for each family, of names and scales only.

`load(state_dict, config)` gives a network; `dump(network)` gives their configuration and state dict, where they can read one.
Nothing here reads a file.
"""

from unnoise.zoo import diffusers, dit, edm, guided

__all__ = ["diffusers", "dit", "edm", "guided"]
