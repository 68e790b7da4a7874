"""The form of an approval with changes: what is untouched stays, what does not fit is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html
from pydantic import JsonValue

from gates.core.errors import InvalidInput
from gates.core.model import Action
from gates.web.changing import PREFIX, form, typed, values, with_errors
from gates.web.rendering import request_page
from gates.web.showing import TEMPLATES
from tests.unit.test_rendering import NOW, Reader, view

ARGUMENTS: dict[str, Any] = {
    "payee": "acme",
    "count": 3,
    "iban": None,
    "lines": [{"sku": "x", "n": 2}],
    "note": "one\ntwo",
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEY = st.text(st.characters(max_codepoint=127), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=12,
)


def sent(arguments: dict[str, Any], **changes: str) -> dict[str, str]:
    """What the form sends after `changes`, by argument."""
    fields = {field.name: field.shown for field in form(arguments)}
    return fields | {PREFIX + key: text for key, text in changes.items()}


def read(arguments: dict[str, Any], **changes: str) -> tuple[dict[str, Any], dict[str, str]]:
    found, told = values(arguments, typed(form(arguments), sent(arguments, **changes)))
    return found, {field.key: field.error for field in told if field.error}


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), JSON, max_size=5))
def test_a_form_that_nobody_touched_changes_nothing(arguments: dict[str, JsonValue]) -> None:
    """As a browser sends it, line ends and all; whatever the values hold."""
    shown = view(action=Action(name="x", arguments=arguments))
    page = TEMPLATES.get_template("change.html").render(
        page=request_page(shown, [], "dana", NOW),
        session=Reader(),
        fields=form(arguments),
        refusal="",
        typed="",
        longest=99,
    )
    (made,) = html.fromstring(page).xpath('//form[contains(@action, "/change")]')
    fields = {name: value or "" for name, value in made.fields.items()}
    crlf = {name: text.removeprefix("\n").replace("\n", "\r\n") for name, text in fields.items()}
    for field in form(arguments):
        if not field.rows:
            crlf[field.name] = fields[field.name]
    found, told = values(arguments, typed(form(arguments), crlf))
    assert found == arguments
    assert not any(field.error for field in told)


def test_texts_are_edited_as_text_and_the_rest_as_json() -> None:
    """A number stays a number; several lines get room."""
    fields = {field.key: field for field in form(ARGUMENTS)}
    assert (fields["payee"].shown, fields["payee"].as_json, fields["payee"].rows) == (
        "acme",
        False,
        0,
    )
    assert (fields["count"].shown, fields["iban"].shown) == ("3", "null")
    assert fields["lines"].rows > 1
    assert fields["note"].rows > 1
    found, errors = read(ARGUMENTS, payee="other", count="4", iban='"NL91"', lines="[]")
    assert errors == {}
    assert found == {**ARGUMENTS, "payee": "other", "count": 4, "iban": "NL91", "lines": []}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NL91", "not JSON"),
        ("", "not JSON"),
        ("0.5", 'as text, "0.5"'),
        ("NaN", "not exact"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_at_its_field(text: str, words: str) -> None:
    """Fractions are refused too: money in floats would not be exact."""
    _, errors = read(ARGUMENTS, iban=text)
    assert set(errors) == {"iban"}
    assert words in errors["iban"]


def test_a_text_in_which_something_does_not_show_is_edited_as_json() -> None:
    """A character that turns the reading order round stands there as its escape."""
    arguments = {"payee": "NL91\u202e0034\x7f"}
    (field,) = form(arguments)
    assert field.shown == r'"NL91\u202e0034\u007f"'
    assert read(arguments) == (arguments, {})


def test_a_form_that_lacks_an_argument_is_refused() -> None:
    """What is missing is not taken for empty."""
    with pytest.raises(InvalidInput, match="'payee'"):
        typed(form(ARGUMENTS), {})


def test_the_schemas_words_stand_at_their_field() -> None:
    """And what was typed stays in it."""
    fields = typed(form(ARGUMENTS), sent(ARGUMENTS, payee="nobody"))
    told = {one.key: one for one in with_errors(fields, {"payee": "is not known"})}
    assert (told["payee"].error, told["payee"].shown) == ("is not known", "nobody")
    assert told["count"].error == ""
