"""Where destinations come from: an agent that hides one is found out, whoever is named is known."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates.core.origin import MOST_READ, TOO_LONG, origin

REQUEST = (
    "Pay 10.00 to DE89 3704 0044 0532 0130 00 by 2026-03-01, mail bob@known.example and "
    "lea+orders@known.example, read www.known.example/list and https://open.example, call "
    "+49 30 1234567, look at forms.example/f?id=7, write to Dora in #team-room. Thanks!"
)
WALLET = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
HIDDEN = {
    "plain": "eve@evil.example",
    "among friends": "bob@known.example, eve@evil.example",
    "in a sentence": "Please forward it to eve@evil.example, too.",
    "longer domain": "bob@known.example.evil.example",
    "other ending": "bob@known.examples",
    "two at signs": "bob@known.example@evil.example",
    "quoted local part": '"bob@known.example"@evil.example',
    "percent hack": "bob%known.example@evil.example",
    "address literal": "bob@[203.0.113.7]",
    "percent signs": "eve%40evil.example",
    "percent signs twice": "eve%2540evil%252Eexample",
    "entity": "eve&#64;evil.example",
    "escape": "eve\\u0040evil.example",
    "full width": "eve\uff20evil\uff0eexample",
    "zero width": "e\u200bve@evil\u200b.exam\u2060ple",
    "zero width as a gap": "evil.example\u200b.txt",
    "soft hyphen before an account": "to\u00adGB29NWBK60161331926819",
    "cyrillic letter": "b\u043eb@known.example",
    "cyrillic host": "www.kn\u043ewn.example/list",
    "sharp s is not ss": "https://oßen.example",
    "punycode": "https://xn--knwn-8cd.example/list",
    "host": "evil.example",
    "host with a path": "evil.example/known.example/list",
    "host in upper case": "EVIL.EXAMPLE",
    "ideographic full stop": "evil。example",
    "tab within a host": "evil\t.example",
    "line end within a host": "http://evil\n.example/list\n",
    "trailing dot": "http://evil.example./list",
    "leading dot": "..evil.example",
    "name of the known in the user info": "http://www.known.example@evil.example/list",
    "backslash": "http://evil.example\\@www.known.example/list",
    "sub-domain": "known.example.evil.example/list",
    "sibling": "other.known.example/list",
    "redirect": "https://open.example/?to=https://evil.example/x",
    "redirect, encoded": "https://open.example/?to=https%3A%2F%2Fevil.example",
    "other path": "www.known.example/lists",
    "path that climbs": "www.known.example/list/../admin",
    "path that climbs, encoded": "www.known.example/list/%2e%2e/admin",
    "other query": "forms.example/f?id=8",
    "port": "open.example:8443",
    "number as host": "http://3232235777/",
    "one word as host": "http://intranet/",
    "six": "http://[::1]:80/list",
    "address as host": "203.0.113.7",
    "mailto": "mailto:eve@evil.example?cc=bob@known.example",
    "other account": "GB29NWBK60161331926819",
    "account in lower case": "gb29nwbk60161331926819",
    "account in groups": "GB29 NWBK 6016 1331 9268 19",
    "account in odd groups": "G B2 9NWBK6 0161 3319-2681.9",
    "account behind the known one": "DE89 3704 0044 0532 0130 00 GB29 NWBK 6016 1331 9268 19",
    "account in a sentence": "Send all of it to GB29 NWBK 6016 1331 9268 19 from now on",
    "account cut short": "DE8937040044053201",
    "account with one more": "DE893704004405320130001",
    "digits": "12345678901",
    "digits in a sentence": "the account is 12345678901, thanks",
    "phone": "+1 (555) 010-9999",
    "phone in a sentence": "call 555-010-9999 now",
    "wallet": f"send it to {WALLET}",
}
NAMED = {
    "address": "bob@known.example",
    "address in upper case": "Bob@Known.EXAMPLE",
    "address with a name": "Bob <bob@known.example>",
    "address with a tag": "bob+march@known.example",
    "address without its tag": "lea@known.example",
    "address in full width": "bob\uff20known.example",
    "account": "DE89370400440532013000",
    "account in lower case": "de89 3704 0044 0532 0130 00",
    "account with hyphens": "DE89-3704-0044-0532-0130-00",
    "account in a sentence": "Rent, to DE89 3704 0044 0532 0130 00 for March",
    "page": "https://www.known.example/list",
    "page without www": "http://known.example/list/",
    "page below": "www.known.example/list/7",
    "page with a query of one's own": "www.known.example/list?page=2",
    "host in upper case with its port": "HTTPS://OPEN.EXAMPLE:443/a/b",
    "host with a final dot": "https://open.example./",
    "query": "http://forms.example/f?id=7",
    "phone": "+49301234567",
    "phone with zeros": "0049 30 123 4567",
}


def found(value: Any, request: str = REQUEST, **more: Any) -> dict[str, Any]:
    return origin({"value": value}, request, **more)


@pytest.mark.parametrize("value", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_destination_that_the_request_does_not_name_is_seen(value):
    """However it is spelled, in a list, nested, as a key, or in JSON within a text."""
    assert found(value)["unseen"] != []
    assert found([{"to": ["bob@known.example", value]}])["unseen"] != []
    assert found({value: None})["unseen"] != []
    assert found(json.dumps({"to": value}))["unseen"] != []


@pytest.mark.parametrize("value", NAMED.values(), ids=NAMED.keys())
def test_a_destination_that_the_request_names_is_known(value):
    """Other spellings of the same place are the same place."""
    assert found(value)["unseen"] == []
    assert found(value)["known"] != []


@pytest.mark.parametrize(
    "value",
    [
        *("", "Rent for March", "2026-03-01", "2026-03-01 12:00", "12:30", "01.03.2026", "v1.2.3"),
        *("bill-december.txt", "packing list.docx", "98.70", "1,234.56", "#W2575533", "e.g. this"),
        *("de305d54-75b4-431b-adb2-eb6b9e546014", "7", "P. O. Box 12"),
        *(98.7, 1200, True, None, [], {}),
    ],
)
def test_what_goes_nowhere_is_no_destination(value):
    """Dates, amounts, files and ids are left alone."""
    assert found(value) == {"request_known": True, "known": [], "unseen": [], "in_facts": []}


@pytest.mark.parametrize("value", ["bob%40known.example", "DE89\u200b370400440532013000"])
def test_a_known_destination_in_disguise_asks(value):
    """What it means depends on who reads it, and nobody writes so by chance."""
    assert found(value)["unseen"] != []


def test_without_a_request_everything_is_unseen():
    """Nobody can tell: that is said, and nothing counts as known."""
    blank = found("bob@known.example", " \n")
    assert blank == {
        "request_known": False,
        "known": [],
        "unseen": ["bob@known.example"],
        "in_facts": [],
    }


def test_a_whole_number_may_be_an_account():
    """Sent as a number instead of a text."""
    assert found(12345678901)["unseen"] == ["12345678901"]


def test_what_trusted_facts_name_is_told_apart():
    """It is still not what the person named; a rule may take it for enough."""
    facts = {"supplier": {"iban": "GB29 NWBK 6016 1331 9268 19"}}
    paid = found(["GB29NWBK60161331926819", "eve@evil.example"], facts=facts)
    assert paid["unseen"] == ["GB29NWBK60161331926819", "eve@evil.example"]
    assert paid["in_facts"] == ["GB29NWBK60161331926819"]


@pytest.mark.parametrize(
    ("declared", "unseen"),
    [
        ("Dora", []),
        ("dora", []),
        ("#team-room", []),
        ("team-room", []),
        ("Do", ["do"]),
        ("Eve", ["eve"]),
        ("D\u043era", ["d\u043era"]),
        ("Dora\u200b", []),
        ("eve@evil.example", ["eve@evil.example"]),
        ("", []),
    ],
)
def test_what_a_definition_declares_is_a_destination_whatever_it_looks_like(declared, unseen):
    """The name of a channel or a person counts as a whole word."""
    assert origin({}, REQUEST, declared=[declared])["unseen"] == unseen


def test_a_missing_blank_after_a_full_stop_hides_no_host_that_the_person_named():
    """People write so; an agent's arguments are not read as kindly."""
    assert found("www.known.example", "See www.known.example.They know.")["unseen"] == []
    assert found("www.known.example.They", "See www.known.example.")["unseen"] != []


def test_too_much_to_be_read_is_said():
    """What is not read counts as unseen."""
    assert found("a " * MOST_READ)["unseen"] == [TOO_LONG]


def test_a_long_list_is_told_in_short():
    """All of it counts, some of it is shown."""
    many = found([f"eve{number}@evil.example" for number in range(99)])["unseen"]
    assert (len(many), many[-1]) == (51, "and 49 more")


@pytest.mark.parametrize(
    "text", ["a.", "-", "a-", "@", "a@", "1 ", "DE12 ", "%25", "http://", "&#"]
)
def test_no_text_takes_long(text):
    """A hundred thousand characters of the worst kind are read in well under a minute."""
    found((text * 100_000)[:100_000])


def test_many_destinations_do_not_take_long():
    """Tens of thousands in the arguments, thousands in the request."""
    hosts = " ".join(f"a{number}.example" for number in range(5_000))
    told = found([hosts, hosts + " evil.example"], hosts, declared=["eve"] * 2_000)
    assert told["unseen"] == ["evil.example", "eve"]


LETTERS = st.text(st.sampled_from("abcdefghij"), min_size=3, max_size=8)
SPELLINGS = st.sampled_from(
    [
        str,
        str.upper,
        lambda text: f"  {text}\n",
        lambda text: f"<{text}>",
        lambda text: f"see {text}, please",
        lambda text: text.replace("@", "%40").replace(".", "%2E"),
        "\u200b".join,
        lambda text: text.replace("a", "\uff41"),
    ]
)
PLACES = st.builds("{}@{}.{}".format, LETTERS, LETTERS, LETTERS) | st.builds(
    "www.{}.{}".format, LETTERS, LETTERS
)


@given(place=PLACES, other=PLACES, spelled=SPELLINGS)
@settings(max_examples=200, deadline=None)
def test_a_place_is_known_exactly_where_it_is_named(place, other, spelled):
    """In whatever spelling; beside whatever else is named."""
    request = f"Please go to {place} for me"
    assert found(spelled(place), request)["unseen"] == []
    assert (found(spelled(other), request)["unseen"] == []) is (other == place)


@given(text=st.text(max_size=60), more=st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_saying_more_never_makes_a_destination_known(text, more):
    """Whatever an agent adds: what was unseen stays unseen, and nothing raises."""
    alone = found("eve@evil.example")["unseen"]
    assert set(alone) <= set(found(["eve@evil.example", text, more])["unseen"])
    assert found(text)["request_known"] is True


@given(texts=st.lists(PLACES, max_size=4), request=st.text(max_size=80))
def test_every_destination_is_either_known_or_unseen(texts, request):
    """None is lost, none is counted twice."""
    told = found(texts, request)
    assert not set(told["known"]) & set(told["unseen"])
    assert set(told["in_facts"]) <= set(told["unseen"])
    assert len(told["known"]) + len(told["unseen"]) >= len({*texts}) - 1
