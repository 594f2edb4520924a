"""What somebody asked of the registry that can't be done."""

from __future__ import annotations


class AliasRefused(Exception):
    """An alias that can't be set as asked; the message says why."""

    code = "alias_refused"
    permanent = True


class NoAlias(AliasRefused):
    """The tenant has no alias of that name."""

    code = "alias_not_found"
