"""Reads pages as a browser would: elements, the script's data, what they would fetch."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

# Elements that have no end.
_VOID = ("meta", "img", "input", "br", "link")


@dataclasses.dataclass
class Element:
    """One element: its name, attributes, and the text in it and below."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, f"</{tag}> ends nothing"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def close(self) -> None:
        super().close()
        assert not self._open, f"{self._open[-1].tag} has no end"


@dataclasses.dataclass(frozen=True)
class HtmlPage:
    """A page: well-formed, or it could not be read."""

    text: str
    elements: list[Element]

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of a name, with these attributes."""
        return [
            element
            for element in self.elements
            if element.tag == tag and attributes.items() <= element.attributes.items()
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def data(self) -> Any:
        """What the script gets; NaN and Infinity are refused, as browsers do."""
        return json.loads(self.one("script", id="data").text, parse_constant=_refuse)

    def tables(self) -> list[list[list[str]]]:
        """Cells of all tables, row by row, the head too."""
        found: list[list[list[str]]] = []
        for element in self.elements:
            if element.tag == "table":
                found.append([])
            elif element.tag == "tr":
                found[-1].append([])
            elif element.tag in ("th", "td"):
                found[-1][-1].append(element.text)
        return found

    def fetched(self) -> list[str]:
        """What a browser would get from elsewhere: nothing, of a page that has all in it."""
        outside = []
        for element in self.elements:
            for name in ("src", "href", "srcset", "poster", "data", "action", "formaction"):
                value = element.attributes.get(name)
                if value is not None and not value.startswith(("data:", "#")):
                    outside.append(f"{element.tag} {name}={value[:50]}")
            outside += [
                f"{element.tag} {name}" for name in element.attributes if name.startswith("on")
            ]
        styles = "".join(element.text for element in self.all("style"))
        outside += re.findall(r"url\([^)]*\)|@import[^;]*", styles)
        return outside + re.findall(r"https?://[^\s\"'<]*", self.text)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read_page(text: str) -> HtmlPage:
    """Reads a page.

    Raises:
      AssertionError: elements don't end where they should.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return HtmlPage(text, reader.elements)
