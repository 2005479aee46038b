"""HTML left over in texts: found and taken out, but not where a text is about it."""

import re
from html import unescape
from html.entities import html5

BREAKS = """address article aside blockquote br center dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4
h5 h6 header hr li main nav ol p pre section table tbody td tfoot th thead tr ul"""
INLINE = """a abbr acronym b big cite code del dfn em font i iframe img ins kbd label mark nobr q samp small span strike
strong sub sup time tt u var wbr"""
NEEDS_NO_END = set("br dd dt hr img li p td th tr wbr".split())
PARAGRAPHS = set("blockquote div h1 h2 h3 h4 h5 h6 hr ol p pre table ul".split())

# Only attributes with a value, so that "0 <p and q> 1" is no tag.
_ATTRIBUTES = r"""(?:\s+[a-zA-Z_:][-\w:.]*\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'=<>`]+))*\s*/?"""
_TAG = re.compile(rf"</?(?P<name>{'|'.join((BREAKS + ' ' + INLINE).split())}){_ATTRIBUTES}>", re.IGNORECASE)
_BREAK = re.compile(rf"(?<![ \t])[ \t]*(?:</?(?:{'|'.join(BREAKS.split())}){_ATTRIBUTES}>\s*)+", re.IGNORECASE)
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_ABOUT_MARKUP = re.compile(
    r"\b(?:x?html5?|xml|svg|css|javascript|typescript|php|jsx|balises?)\b|<!doctype|<html\b|<\?xml", re.IGNORECASE
)


def is_about_markup(text: str) -> bool:
    """Whether tags in a text are likely to be meant: it names HTML or a language akin to it, or holds a whole page."""
    return _ABOUT_MARKUP.search(text) is not None


def without_markup(text: str) -> str:
    """The text without comments, scripts, styles and the tags of known HTML elements, its entities as characters.

    Tags that break the line become line breaks. What stands between backquotes stays, and so does what only looks
    like HTML: "a < b", "List<String>", "<name>", "AT&T", an opening tag whose closing tag is missing.
    """
    if "<" not in text and "&" not in text:
        return text
    ended = NEEDS_NO_END | {name.lower() for name in re.findall(r"</([a-zA-Z0-9]+)\s*>", text)}
    pieces, at = [], 0
    for code in _CODE.finditer(text):
        pieces += [_prose(text[at : code.start()], ended), code[0]]
        at = code.end()
    return "".join([*pieces, _prose(text[at:], ended)])


def _prose(text: str, ended: set[str]) -> str:
    """Text outside code without markup; `ended` are the elements whose tags count."""

    def lines(match: re.Match[str]) -> str:
        names = [tag["name"].lower() for tag in _TAG.finditer(match[0])]
        if not ended.issuperset(names):
            return match[0]
        return "\n\n" if PARAGRAPHS.intersection(names) or names.count("br") > 1 else "\n"

    def tag(match: re.Match[str]) -> str:
        return "" if match["name"].lower() in ended else match[0]

    def entity(match: re.Match[str]) -> str:
        return unescape(match[0]) if match[0][1] == "#" or match[0][1:] in html5 else match[0]

    return _ENTITY.sub(entity, _TAG.sub(tag, _BREAK.sub(lines, _HIDDEN.sub("", text))))
