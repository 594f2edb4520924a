"""What an operator allows of lending a model's devices to fine-tunes, and what stands on record of one loan."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MINUTES = 60
_DAY = 24 * _MINUTES
_FORM = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


class BadWindow(ValueError):
    """A text that is no window of a day."""

    code = "bad_window"
    permanent = True


@dataclass(frozen=True)
class Window:
    """A part of each day, in minutes since midnight; one that ends before it begins goes over midnight."""

    begins: int
    ends: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `22:00-06:00`.

        Raises: BadWindow.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadWindow(f"{text!r} is no window: write it as 22:00-06:00")
        hours = [int(part) for part in found.groups()]
        begins, ends = hours[0] * _MINUTES + hours[1], hours[2] * _MINUTES + hours[3]
        if begins == ends:
            raise BadWindow(f"{text} has no length: leave the window out to lend at any time")
        return cls(begins, ends)

    def has(self, minute: int) -> bool:
        """Whether a minute of the day lies in it; its last one does not."""
        return (minute - self.begins) % _DAY < (self.ends - self.begins) % _DAY

    def __str__(self) -> str:
        return "-".join(f"{at // _MINUTES:02}:{at % _MINUTES:02}" for at in (self.begins, self.ends))


@dataclass(frozen=True)
class Lending:
    """A deployment that lends: how many of its replicas go on serving all the while, and when it may."""

    min_serving: int = 1
    window: Window | None = None


@dataclass(frozen=True)
class Loan:
    """A replica that is lent: to which fine-tune, whether that has the devices by now, whether they were asked back."""

    job_id: str
    given: bool = False
    asked_back: bool = False
