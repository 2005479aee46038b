"""What identifies a person or opens a door, found in texts: addresses, phone and account numbers, keys."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.fr import nir

REGIONS = ("FR", "BE")  # where a phone number without country code may be from, the likeliest first
SECRETS = ("key", "url_password")  # the kinds that open something


class Finding(NamedTuple):
    """What stands at text[start:end]; `value` is the same however it is written there."""

    kind: str
    start: int
    end: int
    text: str
    value: str


_SPACE = r" \t\u00a0\u2009\u202f"
_SEP = rf"[{_SPACE}.\-]?"
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s/:@<>\"']{1,100}:[^\s/@<>\"']{1,200}@[^\s<>\"']+", re.IGNORECASE)
_KEY_STARTS = "hf_ sk- AKIA ASIA gho_ ghp_ ghr_ ghs_ ghu_ github_pat_ glpat- xox AIza eyJ earer PRIVATE".split()
_KEY = re.compile(
    r"(?<![\w-])(?:hf_[A-Za-z0-9]{20,}|sk-(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}|"
    r"gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{35}|"
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}|[Bb]earer[ \t]+(?=[\w.~+/-]*[0-9])[\w.~+/-]{16,}=*)(?![\w-])|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{0,10000}?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w+%-](?:[\w.+%-]{0,62}[\w+%-])?@(?:\w(?:[\w-]{0,61}\w)?\.)+(?P<end>[^\W\d_]{2,24})(?![\w@])"
)
_FILE_ENDS = "css gif ico jpeg jpg js png svg webp".split()  # "logo@2x.png"

_IBAN = re.compile(rf"(?<![A-Z0-9])(?=(?P<all>[A-Z]{{2}}[0-9]{{2}}(?:[{_SPACE}-]?[A-Z0-9]){{11,30}}))", re.IGNORECASE)
_CARD = re.compile(rf"(?<![0-9])(?=(?P<all>[2-6](?:[{_SPACE}-]?[0-9]){{12,18}}))")
_CARDS = {  # brand's first digits -> lengths
    re.compile("4"): (19, 16, 13),
    re.compile("5[1-5]|2[2-7]"): (16,),
    re.compile("3[47]"): (15,),
    re.compile("36|38|30[0-5]"): (14,),
    re.compile("6011|65|64[4-9]|62|35"): (19, 16),
}
_NIR = re.compile(
    rf"(?<![0-9])[1278]{_SEP}[0-9]{{2}}{_SEP}[0-9]{{2}}{_SEP}[0-9][0-9AB]{_SEP}[0-9]{{3}}{_SEP}[0-9]{{3}}{_SEP}[0-9]{{2}}"
    r"(?![0-9])"
)
_NN = re.compile(rf"(?<![0-9])[0-9]{{2}}(?:{_SEP}[0-9]{{2}}){{2}}{_SEP}[0-9]{{3}}{_SEP}[0-9]{{2}}(?![0-9])")

_MANY_DIGITS = re.compile(rf"[0-9](?:[{_SPACE}.\-/()]{{0,3}}[0-9]){{6,}}")
_YEAR = re.compile(r"(?<![0-9])(?:1[5-9]|20)[0-9]{2}(?![0-9])")
_ISBN_END = re.compile(r"[ -][0-9]$")  # phone numbers do not end in one digit alone, ISBNs do
_NO_PHONE_BEFORE = re.compile(
    rf"(?:\b(?:ISBN|ISSN|EAN|SIREN|SIRET|TVA|cotes?|ark|doi)\b[^0-9\n]{{0,8}}|\w/|"
    rf"(?<![0-9])(?<![0-9][{_SPACE}.-])[0-9]{{1,7}}[.,]|(?<![0-9])(?:[0-9]{{2}}[{_SPACE}.-]){{2}})$",
    re.IGNORECASE,
)
_NO_PHONE_AFTER = re.compile(
    rf"[{_SPACE}]?(?:[€%$£]|euros?\b|EUR\b|francs?\b|km\b|kg\b|m²)|"
    rf"[.,][0-9]{{1,3}}(?![0-9]|[{_SPACE}.-][0-9])|(?:[{_SPACE}-][0-9]{{2}}\b){{2}}",
    re.IGNORECASE,
)
_IP = re.compile(
    r"(?<![\w.:])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4})(?![\w:]|\.[0-9])"
)
_NO_IP_BEFORE = re.compile(r"(?:\bv|version|release|chapitre|section|§|article|art\.)\s*$", re.IGNORECASE)


def find(text: str, regions: Sequence[str] = REGIONS) -> list[Finding]:
    """The personal data and secrets in a text, in order, none overlapping another.

    Kinds: email, phone (of `regions`, or with a country code), iban, card, nir (France), nn (Belgium), key, ip,
    url_password. Numbers count when their control digits are right, phone numbers when they may exist; what is written
    like a date, an ISBN, a call number, a price or a version is none. Not seen: a national number without its control
    key, two phone numbers with only a space between them, names and postal addresses.
    """
    taken: list[Finding] = []
    for finding in _candidates(text, regions):
        if all(finding.end <= other.start or other.end <= finding.start for other in taken):
            taken.append(finding)
    return sorted(taken, key=lambda finding: finding.start)


def _candidates(text: str, regions: Sequence[str]) -> Iterator[Finding]:
    """What looks like personal data, the surest kinds first; cheap tests first spare most texts the costly ones."""
    if "@" in text:
        if "://" in text:
            yield from (_finding("url_password", match) for match in _URL.finditer(text))
        emails = (match for match in _EMAIL.finditer(text) if match["end"].lower() not in _FILE_ENDS)
        yield from (_finding("email", match) for match in emails)
    if any(start in text for start in _KEY_STARTS):
        yield from (_finding("key", match) for match in _KEY.finditer(text))
    if _MANY_DIGITS.search(text):
        yield from _ibans(text)
        yield from _cards(text)
        yield from (_finding("nir", match) for match in _NIR.finditer(text) if nir.is_valid(match[0]))
        yield from (_finding("nn", match) for match in _NN.finditer(text) if nn.is_valid(match[0]))
        yield from _phones(text, regions)
    if "." in text or ":" in text:
        yield from _ip_addresses(text)


def _finding(kind: str, match: re.Match[str]) -> Finding:
    text = match[0]
    value = text if kind in SECRETS else text.lower() if kind == "email" else re.sub(r"\W", "", text)
    return Finding(kind, match.start(), match.end(), text, value)


def _ibans(text: str) -> Iterator[Finding]:
    for match in _IBAN.finditer(text):
        for end in range(match.end("all"), match.start() + 14, -1):
            written = text[match.start() : end]
            whole = written[-1].isalnum() and not text[end : end + 1].isalnum()
            if whole and iban.is_valid(written, check_country=False):
                yield Finding("iban", match.start(), end, written, iban.compact(written))
                break


def _cards(text: str) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        places = [match.start() + place for place, character in enumerate(match["all"]) if character.isdigit()]
        digits = "".join(text[place] for place in places)
        lengths = next((lengths for start, lengths in _CARDS.items() if start.match(digits)), ())
        for length in lengths:
            end = places[length - 1] + 1 if length <= len(places) else len(text) + 1
            if end <= len(text) and not text[end : end + 1].isdigit() and luhn.is_valid(digits[:length]):
                if not _NO_PHONE_BEFORE.search(text, max(0, match.start() - 20), match.start()):
                    yield Finding("card", match.start(), end, text[match.start() : end], digits[:length])
                break


def _phones(text: str, regions: Sequence[str]) -> Iterator[Finding]:
    plain = re.sub("[\u2009\u202f]", " ", text)  # thin spaces end a number for phonenumbers
    for digits in _MANY_DIGITS.finditer(text):
        around = max(0, digits.start() - 3)  # room for "(+"
        for region in regions:
            for match in phonenumbers.PhoneNumberMatcher(plain[around : digits.end() + 3], region):
                start, end = around + match.start, around + match.end
                if _may_be_phone(text, start, end):
                    value = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
                    yield Finding("phone", start, end, text[start:end], value)


def _may_be_phone(text: str, start: int, end: int) -> bool:
    """Whether a number that exists somewhere is not more likely to be a date, an ISBN, a call number or a price."""
    number = text[start:end]
    if _NO_PHONE_BEFORE.search(text, max(0, start - 20), start) or _NO_PHONE_AFTER.match(text, end):
        return False
    return number.startswith(("+", "00", "(+")) or not (_YEAR.search(number) or _ISBN_END.search(number))


def _ip_addresses(text: str) -> Iterator[Finding]:
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        nobody = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_reserved
        numbering = address.version == 4 and max(address.packed) < 10  # "voir 1.2.3.4"
        if not (nobody or numbering or _NO_IP_BEFORE.search(text, max(0, match.start() - 12), match.start())):
            yield Finding("ip", match.start(), match.end(), match[0], str(address))
