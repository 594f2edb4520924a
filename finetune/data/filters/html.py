"""HTML pages whose visible text is less than 20 % of the code or shorter than 100 characters."""

from __future__ import annotations

from html.parser import HTMLParser

from finetune.data.rows import TextRow

ENDINGS = (".html", ".htm", ".xhtml")
MIN_SHARE = 0.2
MIN_CHARACTERS = 100
HIDDEN = frozenset(("script", "style", "template", "noscript", "head"))
# html.parser takes quadratic time on some malformed input; a page is judged by this much of it.
JUDGED_CHARACTERS = 32 * 1024


def objection(row: TextRow) -> str | None:
    if not row.path.lower().endswith(ENDINGS):
        return None
    code = row.text[:JUDGED_CHARACTERS]
    try:
        visible = visible_characters(code)
    except AssertionError:  # how html.parser reports markup that it can't read
        return "its markup is malformed"
    if visible < MIN_CHARACTERS:
        return f"its visible text is shorter than {MIN_CHARACTERS} characters"
    return "less than 20 % of it is visible text" if visible < MIN_SHARE * len(code) else None


def visible_characters(code: str) -> int:
    """Characters that a reader of the page would see; runs of blanks count once."""
    page = _Page()
    page.feed(code)
    page.close()
    return len(" ".join("".join(page.visible).split()))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.visible: list[str] = []
        self._hidden_by: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in HIDDEN:
            self._hidden_by.append(tag)
        elif tag == "body":
            self._hidden_by.clear()  # an unclosed head ends where the body starts

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden_by:
            del self._hidden_by[self._hidden_by.index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self._hidden_by:
            self.visible.append(data)
