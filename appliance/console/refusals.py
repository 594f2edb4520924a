"""Why an act was refused or work waits, in the reader's language. An unknown sentence stays as it is."""

from __future__ import annotations

import re

from django.utils.translation import gettext, gettext_noop

from appliance.console import words

SENTENCES = (
    gettext_noop("Only operators and the tenant's owners decide on an adapter."),
    gettext_noop("Only operators and the tenant's owners sign off its data."),
    gettext_noop("A comment has at most %(most)s characters."),
    gettext_noop("%(name)s has no data report to sign off."),
    gettext_noop("The data report of %(name)s is another one by now; read it again."),
    gettext_noop("The data report of %(name)s is signed off already."),
    gettext_noop("The data report of %(name)s is not signed off."),
    gettext_noop("%(name)s trained on this data by the sign-off: it can't be taken back any more."),
    gettext_noop("You asked for this fine-tune; a second person has to decide."),
    gettext_noop("Nobody knows who asked for this fine-tune; an operator has to decide."),
    gettext_noop("%(name)s is %(state)s: nobody waits for a decision."),
    gettext_noop("%(name)s is %(state)s: there is nothing to withdraw."),
    gettext_noop("Somebody else decided on %(name)s a moment ago."),
    gettext_noop("%(name)s is %(status)s and can't be cancelled."),
    gettext_noop("%(name)s is %(status)s and can't be paused."),
    gettext_noop("%(name)s is %(status)s and can't be resumed."),
    gettext_noop("%(name)s is not paused."),
    gettext_noop("Waiting: the gateway does not answer."),
    gettext_noop("Waiting: the appliance or a limit of the tenant takes no more at the moment (%(status)s)."),
    gettext_noop("Paused: the appliance's disk is nearly full. Work goes on once there is room; nothing is lost."),
    gettext_noop("%(tenant)s has no alias %(name)s: say what it stands for."),
    gettext_noop("%(tenant)s has no alias %(name)s."),
    gettext_noop("A canary's share is 1 to %(most)s percent; 0 takes it back."),
    gettext_noop("A canary needs a share."),
    gettext_noop("A share is a canary's: name one."),
    gettext_noop("The canary is another model than the one that the alias stands for."),
    gettext_noop(
        "An alias has letters, digits, dots, hyphens, underscores and slashes, begins with a letter or digit, does not "
        "end with a slash, and has at most 200 characters."
    ),
    gettext_noop("%(name)s is a model's name."),
    gettext_noop("A tenant has at most %(most)s aliases."),
    gettext_noop("There is no served model %(name)s that %(tenant)s may know of; an alias is none."),
    gettext_noop("The plan of %(tenant)s does not include %(name)s."),
    gettext_noop("The batch %(name)s still needs this file; cancel it first."),
    gettext_noop("The fine-tune %(name)s still needs this file; cancel it first."),
)
_PLACE = re.compile(r"%\\\((\w+)\\\)s")


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(_PLACE.sub(r"(?P<\1>.+)", re.escape(sentence)))


_PATTERNS = tuple((_pattern(sentence), sentence) for sentence in SENTENCES)


def in_words(message: str) -> str:
    """The refusal as the reader reads it."""
    for pattern, sentence in _PATTERNS:
        found = pattern.fullmatch(message)
        if found is not None:
            return gettext(sentence) % _named(found.groupdict())
    return message


def _named(groups: dict[str, str]) -> dict[str, str]:
    return {key: str(words.job(value).text) if key == "status" else value for key, value in groups.items()}
