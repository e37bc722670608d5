"""Plug-ins: what installed packages add by their entry points.

==================  ==============================================  =========================================
group               what an entry point names                       where it counts
==================  ==============================================  =========================================
chimera.servers     ``(settings) -> list[ServerSpec]``              every installation with that package
chimera.models      ``(settings) -> BaseChatModel``                 where a setting gives its name as a model
chimera.reviewers   ``async (ReviewItem) -> ReviewDecision | None``  where ``--reviewer`` gives its name
chimera.guards      ``(settings, **options) -> Guard``              where the policy names it, as ``plugin:NAME``
==================  ==============================================  =========================================

A reviewer answers under a name of its own, which has to be enrolled: ``chimera principal add NAME --kind service --role
stand-in``.

A plug-in is code that its user installed: it runs with the rights of the process. One that is broken stops what needs
it with an error that names it; it is never passed over in silence.
"""

from collections import Counter
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar, cast

from chimera.core.errors import ChimeraError, ConfigError

if TYPE_CHECKING:
    from chimera.core.settings import Settings

SERVERS, MODELS, REVIEWERS = "chimera.servers", "chimera.models", "chimera.reviewers"
GUARDS = "chimera.guards"
Made = TypeVar("Made")


@dataclass(frozen=True)
class Plugin:
    """One entry point. Nothing of its package is imported before it is loaded."""

    entry: EntryPoint

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        return self.entry.name

    def __str__(self) -> str:
        package = f" of {self.entry.dist.name} {self.entry.dist.version}" if self.entry.dist else ""
        return f"plug-in {self.entry.group}:{self.name}{package}"

    def load(self) -> Any:
        """What the entry point names.

        Raises:
            ConfigError: it cannot be imported, or is nothing that can be called.
        """
        try:
            found = self.entry.load()
        except Exception as error:  # a module may raise anything when it is imported
            raise self.broken(f"cannot be loaded: {type(error).__name__}", error) from error
        if not callable(found):
            raise self.broken(f"names {self.entry.value}, which cannot be called")
        return found

    def make(self, settings: "Settings", kind: type[Made]) -> Made:
        """What it gives for these settings.

        Raises:
            ConfigError: it is broken, or gives something else than a ``kind``.
        """
        made = self._call(settings)
        if not isinstance(made, kind):
            raise self.broken(f"gives a {type(made).__name__} instead of a {kind.__name__}")
        return made

    def make_all(self, settings: "Settings", kind: type[Made]) -> list[Made]:
        """The list that it gives for these settings.

        Raises:
            ConfigError: it is broken, or gives something else than a list of ``kind``.
        """
        made = self._call(settings)
        if not isinstance(made, list):
            raise self.broken(f"gives a {type(made).__name__} instead of a list of {kind.__name__}")
        items = cast("list[Any]", made)
        wrong = [type(item).__name__ for item in items if not isinstance(item, kind)]
        if wrong:
            raise self.broken(f"gives a list with a {wrong[0]} instead of a list of {kind.__name__}")
        return items

    def _call(self, settings: "Settings") -> Any:
        try:
            return self.load()(settings)
        except ChimeraError:
            raise
        except Exception as error:  # somebody else's code may raise anything
            raise self.broken(f"failed: {type(error).__name__}", error) from error

    def broken(self, why: str, error: BaseException | None = None) -> ConfigError:
        """The error that says what is wrong with it, and which package it is of."""
        missing = f" ({error.name})" if isinstance(error, ImportError) and error.name else ""
        return ConfigError(f"{self} {why}{missing}", remedy="Repair, update or uninstall the package that it is in.")


def installed(group: str) -> list[str]:
    """The names of a group's plug-ins, whether they work or not."""
    return sorted({entry.name for entry in entry_points(group=group)})


def plugins(group: str) -> list[Plugin]:
    """The plug-ins of a group, by name.

    Raises:
        ConfigError: two packages use the same name.
    """
    # A package that is found twice on the path (say, a checkout and an installed copy) is one package.
    found = {(entry.name, entry.value): Plugin(entry) for entry in entry_points(group=group)}
    twice = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    if twice:
        raise ConfigError(
            f"several packages have a plug-in {group}:{sorted(twice)[0]}", remedy="Uninstall all of them but one."
        )
    return sorted(found.values(), key=lambda plugin: plugin.name)


def plugin(group: str, name: str) -> Plugin:
    """The plug-in of that name.

    Raises:
        ConfigError: there is none; the remedy lists what there is.
    """
    known = {found.name: found for found in plugins(group)}
    if name not in known:
        listed = ", ".join(known) or "there are none"
        raise ConfigError(f"no plug-in {group}:{name[:60]}", remedy=f"Install its package. Installed: {listed}.")
    return known[name]
