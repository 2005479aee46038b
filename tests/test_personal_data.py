"""Personal data that must be found, what only looks like it, and what each mode does with the rows."""

from itertools import pairwise

import pytest
from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.fr import nir

from affinage.curation.personal_data import Finding, Tags, disguised, find, hidden, scan
from affinage.curation.rows import Counts
from affinage.errors import AffinageError

# Numbers kept for fiction by the regulators, and values that issuers publish as examples; keys are made up.
PHONE = "01 99 00 12 34"
IBAN_FR, IBAN_BE = "FR76 3000 6000 0112 3456 7890 189", "BE68 5390 0754 7034"
CARD = "4111 1111 1111 1111"
NIR = "2 55 08 14 168 025 38"
NN = "85.07.30-033.28"
HF_KEY = "hf_" + "aB3dE6gH9jK2mN5pQ8sT1vX4"


def kinds(text, **options):
    return [(finding.kind, finding.text) for finding in find(text, **options)]


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Écrivez à Jean-Luc.O+test@archives.exemple.fr.", "email", "Jean-Luc.O+test@archives.exemple.fr"),
        ("<élodie@exemple.museum>", "email", "élodie@exemple.museum"),
        (f"Tél. : {PHONE}.", "phone", PHONE),
        ("appeler le 0199001234 avant midi", "phone", "0199001234"),
        ("au 04.65.71.12.34 (poste 12)", "phone", "04.65.71.12.34"),
        ("01\u202f99\u202f00\u202f12\u202f34", "phone", "01\u202f99\u202f00\u202f12\u202f34"),
        ("+33 (0)1 99 00 12 34", "phone", "+33 (0)1 99 00 12 34"),
        ("0033 1 99 00 12 34, bureau 4", "phone", "0033 1 99 00 12 34"),
        ("Belgique : 0470/12.34.56", "phone", "0470/12.34.56"),
        ("à Namur, 081 24 55 66", "phone", "081 24 55 66"),
        ("+32 2 511 22 33", "phone", "+32 2 511 22 33"),
        ("Call +44 20 7946 0018 now", "phone", "+44 20 7946 0018"),
        (f"IBAN {IBAN_FR} BIC AGRIFRPP", "iban", IBAN_FR),
        (f"compte : {IBAN_BE}.", "iban", IBAN_BE),
        ("be68539007547034", "iban", "be68539007547034"),
        (f"carte {CARD} 123", "card", CARD),
        ("3782-822463-10005", "card", "3782-822463-10005"),
        (f"sécu {NIR}, merci", "nir", NIR),
        ("255081416802538", "nir", "255081416802538"),
        (f"registre national {NN}", "nn", NN),
        (f"clé : {HF_KEY}", "key", HF_KEY),
        ("sk-proj-a1B2c3D4e5F6g7H8i9J0", "key", "sk-proj-a1B2c3D4e5F6g7H8i9J0"),
        ("export K=AKIA" + "IOSFODNN7EXAMPLE", "key", "AKIA" + "IOSFODNN7EXAMPLE"),
        ("ghp_" + "a1B2" * 9, "key", "ghp_" + "a1B2" * 9),
        ("Authorization: Bearer a1b2c3d4e5f6a7b8c9d0", "key", "Bearer a1b2c3d4e5f6a7b8c9d0"),
        ("https://jean:motdepasse@exemple.fr/x", "url_password", "https://jean:motdepasse@exemple.fr/x"),
        ("depuis 81.2.69.142, port 80", "ip", "81.2.69.142"),
        ("serveur 192.168.12.1.", "ip", "192.168.12.1"),
        ("adresse 2001:db8:85a3::8a2e:370:7334", "ip", "2001:db8:85a3::8a2e:370:7334"),
    ],
)
def test_personal_data_is_found_whole_and_alone(text, kind, found):
    assert kinds(text) == [(kind, found)]


DECOYS = [
    "Né le 12/03/1921, baptisé le 14 03 1921, décédé le 1989-11-30 à 12:30:45.",
    "du 01.02.1914 au 11.11.1918, puis 02-09-1939",
    "Les années 1789-1799, 1804 1815, 1848, 1914 1918 et 2020.",
    "Pages 123-456, 0012 0034, f° 12-34, vues 01 02 03 à 17 18 19",
    "ISBN 978-2-07-036822-8, ISBN 2-07-036822-X, 0-7475-3269-9, EAN 9782070368228, ISSN 0395-2649",
    "Cote 3 E 45/12, 4 M 1234/56, 1 J 0102/0304, AN, F/7/0170181234, cote 0123 04 05 06",
    "FRAD075_5MI1234_0567, ark:/12148/btv1b84472995, 2 Mi 1234 R 56",
    "Prix : 12,50 €, 1 250 000 €, 0 123 456 789 euros, 01 23 45 67 89 €, 10 000 000 F",
    "SIRET 362 521 879 00034, SIREN 732 829 320, TVA FR 40 303 265 045",
    "départements 01 03 07 15 26 38 42 43 63 69",
    "Lambert 93 : 652469.02 6862035.26 ; 48.8566, 2.3522 ; parcelle 000 AB 0123",
    "Population : 12 345 678 habitants, 3 141 592 653 589 793",
    "version 4.18.0.1, v2.10.3.12, section 12.3.1.4, voir 1.2.3.4 et 1.2.3.4.5.6",
    "std::vector, a::b, 12:30:45, 1:2:3, 127.0.0.1, 0.0.0.0, ::1, 999.12.12.12",
    "logo@2x.png, @jean, jean@, a@b, 12 @ 5 €, foo@localhost",
    "https://exemple.fr:8080/a@b, ftp://exemple.fr, mailto:, http://[::1]:80/",
    "sk-learn, sk-estimator-pipeline-de-base-tres-long, bearer of the letter, hf_court, Bearer token",
    "FR14 2004 1010 0505 0001 3M02 607, 4111 1111 1111 1112, 2 55 08 14 168 025 39, 85.07.30-033.29",
    "n° 20231112131415, 123456789012345678901234567890, 0000000000",
    "1,618033988749895 et 3.14159265358979, 0,0199001234, 652469,02 6862035,26",
]


@pytest.mark.parametrize("text", DECOYS)
def test_what_only_looks_like_personal_data_is_left_alone(text):
    assert find(text) == []


def test_wrong_control_digits_are_not_taken_and_right_ones_are():
    # the libraries decide, digit by digit: of ten last digits one is right
    for check, stem in (
        (luhn.is_valid, "411111111111111"),
        (nir.is_valid, "25508141680253"),
        (nn.is_valid, "8507300332"),
    ):
        numbers = [f"{stem}{digit}" for digit in range(10)]
        found = [n for n in numbers if any(f.kind in ("card", "nir", "nn") for f in find(f"numéro {n}"))]
        assert found == [n for n in numbers if check(n)] != []
    ibans = [IBAN_BE.replace("68", f"{n:02}", 1) for n in range(100)]
    assert [n for n in ibans if find(n)] == [n for n in ibans if iban.is_valid(n, check_country=False)]


def test_several_findings_come_in_order_and_never_overlap():
    text = f"{PHONE}, ou 04 65 71 12 34 ; a@exemple.fr, b@exemple.be ; {IBAN_FR} ; https://u:p1@exemple.fr\n{NIR}"
    found = find(text)
    assert [f.kind for f in found] == ["phone", "phone", "email", "email", "iban", "url_password", "nir"]
    assert all(text[f.start : f.end] == f.text for f in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PHONE, "+33 (0)1.99.00.12.34"),
        ("Jean@Exemple.fr", "jean@exemple.FR"),
        (IBAN_BE, "be68 539007547034"),
        (NIR, "255081416802538"),
        (CARD, "4111-1111-1111-1111"),
    ],
)
def test_a_value_is_the_same_however_it_is_written(one, other):
    assert find(one)[0].value == find(other)[0].value


@pytest.mark.parametrize("between", [", ", ",", " / ", "\n", " ou ", ";"])
def test_phone_numbers_in_a_list_are_all_found(between):
    numbers = [PHONE, "04.65.71.12.34", "0470 12 34 56", "+33261911234"]
    assert [f.text for f in find(between.join(numbers))] == numbers


def test_regions_say_where_a_number_without_country_code_may_be_from():
    assert kinds("(202) 555-0143", regions=["US"]) == [("phone", "(202) 555-0143")]
    assert kinds("081 24 55 66", regions=["FR"]) == []


@pytest.mark.parametrize(
    "text",
    ["a" * 50_000, "1" * 50_000, "1 " * 25_000, "a@" * 25_000, "a." * 25_000, "01 99 00 12 " * 2_000, ":" * 50_000],
)
@pytest.mark.timeout(10)
def test_no_text_makes_the_search_slow(text):
    assert find(text) == []


def row(identity, output="", **columns):
    return {"instruction": "q", "input": "", "output": output, "id": identity, "group": identity} | columns


ROWS = [
    row("1", f"Appelez le {PHONE}."),
    row("2", "rien"),
    row("3", "j.dupont@exemple.fr ou +33 1 99 00 12 34", instruction="J.DUPONT@exemple.fr ?"),
    row("4", "", note="m@exemple.be", votes=3),
]


def test_report_passes_rows_on_and_counts_the_rows_of_each_kind():
    counts = Counts()
    assert list(scan(iter(ROWS), "report", counts)) == ROWS
    assert counts.steps["personal data"] == {"seen": 4, "found: phone": 2, "found: email": 2}


def test_a_value_has_the_same_tag_in_every_row_and_column():
    counts = Counts()
    masked = list(scan(iter(ROWS), "mask", counts))
    assert masked == [
        row("1", "Appelez le <PHONE_1>."),
        row("2", "rien"),
        row("3", "<EMAIL_1> ou <PHONE_1>", instruction="<EMAIL_1> ?"),
        row("4", "", note="<EMAIL_2>", votes=3),
    ]
    assert counts.of("personal data", "changed") == 3
    assert list(scan(masked, "error", Counts())) == masked


def test_shared_tags_mask_several_files_alike():
    tags = Tags()
    first, second = (list(scan([ROWS[n]], "mask", Counts(), tags=tags)) for n in (3, 2))
    assert (first[0]["note"], second[0]["output"]) == ("<EMAIL_1>", "<EMAIL_2> ou <PHONE_1>")


def test_drop_takes_the_rows_out_and_says_why():
    counts = Counts()
    assert list(scan(iter(ROWS), "drop", counts)) == [ROWS[1]]
    dropped = {why: n for why, n in counts.steps["personal data"].items() if why.startswith("dropped")}
    assert dropped == {"dropped: phone": 1, "dropped: email, phone": 1, "dropped: email": 1}


def test_error_names_kinds_counts_and_first_rows_after_the_last_row():
    passed, stream = [], scan(iter(ROWS), "error", Counts())
    with pytest.raises(AffinageError) as raised:
        passed.extend(stream)
    assert [str(problem).split(". ")[0] for problem in raised.value.problems] == [
        "personal data: 2 rows with email, starting with 3, 4",
        "personal data: 2 rows with phone, starting with 1, 3",
    ]
    assert list(scan([ROWS[1]], "error", Counts())) == [ROWS[1]]


def test_names_of_rows_are_searched_for_addresses_but_not_for_numbers():
    given = row("0199001234", "rien", group="j@exemple.fr: demande", source="rows.csv#0639981234")
    counts = Counts()
    [masked] = scan([given], "mask", counts)
    assert masked == given | {"group": "<EMAIL_1>: demande"}


def test_no_value_is_written_in_counts_or_errors():
    values = [PHONE, "secret@exemple.fr", IBAN_FR, CARD, NIR, NN, HF_KEY, "81.2.69.142", "https://u:p1@exemple.fr"]
    rows = [row(f"{n} secret@exemple.fr", value) for n, value in enumerate(values)]
    shown = ""
    for mode in ("report", "mask", "drop", "error"):
        counts = Counts()
        try:
            list(scan(rows, mode, counts))
        except AffinageError as error:
            shown += str(error)
        shown += str(counts.to_json())
    assert [value for value in values if value in shown or value[4:] in shown] == []
    assert "s***@***.fr" in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jean@exemple.fr", "j***@***.fr"),
        (PHONE, "01 ** ** ** **"),
        (HF_KEY, "hf***"),
        (f"le {PHONE} et a@exemple.be", "le 01 ** ** ** ** et a***@***.be"),
        ("rien du tout", "rien du tout"),
    ],
)
def test_what_is_shown_is_disguised(text, expected):
    assert hidden(text) == expected


def test_a_disguise_keeps_no_more_than_two_characters_of_a_number():
    assert disguised(Finding("iban", 0, 27, IBAN_FR, "")) == "FR** **** **** **** **** **** ***"
