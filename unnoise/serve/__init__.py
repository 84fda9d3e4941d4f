"""A model over HTTP: unlike requests in one network batch, with the bytes that each would have alone.

A request becomes a *wish* (validated, bounded), a wish a *job* in a bounded *line*; the *engine*, one thread, lets walks go on as
coroutines and answers what they ask of the network in batches (*gather*). The *guard* stands before all routes. Nothing here is
imported by the rest of the package; it needs the extra `serve`.
"""

from unnoise.serve.limits import LIMITS as LIMITS
from unnoise.serve.limits import Limits

__all__ = ["Limits"]
