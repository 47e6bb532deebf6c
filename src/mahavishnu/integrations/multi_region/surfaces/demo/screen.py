"""What the demo shows while it runs: a live picture on a terminal, plain lines elsewhere, nothing for ``--json``."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from .controller import Happening
from .frame import Frame
from .view import picture

FRAMES_PER_S = 4
LINE_EVERY_S = 2.0


class Screen(Protocol):
    """Shows frames and says lines."""

    def show(self, frame: Frame) -> None:
        """Show how things are now."""

    def say(self, line: str) -> None:
        """Say that something happened."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


class Silent:
    """Shows nothing."""

    def show(self, frame: Frame) -> None:
        return

    def say(self, line: str) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class Lines(Silent):
    """A line now and then, and one for each thing that happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_s = -LINE_EVERY_S

    def show(self, frame: Frame) -> None:
        if frame.elapsed_s - self._last_s < LINE_EVERY_S:
            return
        self._last_s = frame.elapsed_s
        down = ", ".join(s.region_id for s in frame.statuses if s.phase == "down")
        first = "" if frame.through_edges else f"{frame.failed_first} failed at first, "
        ended = f"{frame.failed} {'failed' if frame.through_edges else 'in the end'}"
        self.say(
            f"{frame.elapsed_s:4.0f} s  {frame.requests} requests, {first}{ended}{f'; down: {down}' if down else ''}"
        )

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Picture(Silent):
    """A picture that changes in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=FRAMES_PER_S, transient=True)
        self._drawn = False

    def show(self, frame: Frame) -> None:
        self._drawn = True
        self._live.update(picture(frame))

    def say(self, line: str) -> None:
        if not self._drawn:  # from then on the picture shows what happened
            self._live.update(Text(line))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def describe(happening: Happening) -> str:
    """An event in one line, without its time."""
    what = " ".join(filter(None, (happening.kind, happening.subject, happening.outcome)))
    return f"{what}: {happening.reason}" if happening.reason else what
