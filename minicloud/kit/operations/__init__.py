"""Long work as recipes: short lists of steps with do and undo, run by one engine."""

from minicloud.kit.operations.engine import Ended, run, unwind
from minicloud.kit.operations.recipe import Journal, Recipe, Step

__all__ = ["Ended", "Journal", "Recipe", "Step", "run", "unwind"]
