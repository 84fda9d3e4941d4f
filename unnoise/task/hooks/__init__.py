"""What happens beside training, every so many steps: nothing of it touches weights or randomness."""

from unnoise.task.hooks.health import Health
from unnoise.task.hooks.show import Preview, Publish
from unnoise.task.hooks.validate import Validate

__all__ = ["Health", "Preview", "Publish", "Validate"]
