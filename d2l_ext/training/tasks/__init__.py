"""What is trained on what: a corpus in parts, a model of a size, and how well it does."""

from d2l_ext.data import Subwords
from d2l_ext.training.settings import Settings
from d2l_ext.training.tasks.base import Task
from d2l_ext.training.tasks.images import ImageTask
from d2l_ext.training.tasks.masked import MaskedTask
from d2l_ext.training.tasks.text import TextTask
from d2l_ext.training.tasks.translation import TranslationTask, build_module, digest, parts

__all__ = ["Task", "build_module", "digest", "parts", "task"]

TASKS = {"gpt": TextTask, "bert": MaskedTask, "vit": ImageTask}


def task(settings: Settings, subwords: tuple[Subwords, Subwords] | None = None) -> Task:
    """Return the task of a run; a translator's subwords are trained where none are given."""
    if settings.model in TASKS:
        return TASKS[settings.model](settings)
    return TranslationTask(settings, subwords)
