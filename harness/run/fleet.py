"""The instances of one level's target, as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.run.hosting import Hosting


class TargetFleet:
    """One or more hosts of the target. What befalls a target (crashes, faults) is of a single one: the first."""

    def __init__(self, size: int, start: Callable[[int], Hosting]) -> None:
        self._instances: list[Hosting] = []
        try:
            for instance in range(size):
                self._instances.append(start(instance))
        except BaseException:
            self.end()
            raise

    @property
    def first(self) -> Hosting:
        """The only one, unless there are several."""
        return self._instances[0]

    @property
    def pids(self) -> Sequence[int]:
        """Of all of them, now."""
        return [instance.host.pid for instance in self._instances]

    def look(self) -> str | None:
        """See after all of them; why one died, if nobody asked it to. Raises TargetUnavailable."""
        return next((why for instance in self._instances if (why := instance.look()) is not None), None)

    def end(self) -> None:
        """End all of them."""
        for instance in self._instances:
            instance.end()
