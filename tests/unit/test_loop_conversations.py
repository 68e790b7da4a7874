"""Message logs through the detector: the forms, what real logs do differently, and the option."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gates.core.errors import InvalidInput
from gates.core.loops import End, Kind, Replayed, Step, replay
from gates.core.loops.recorded import read_run
from integrations.cli import app

PAY = ("erp.pay", {"bill": 1})
Call = tuple[str, dict, str, bool]  # tool, arguments, answer, failed


# -- the same calls in each form ----------------------------------------------------------------


def chat(rounds: list[list[Call]]) -> dict:
    messages: list[dict] = [{"role": "user", "content": "Pay the bills."}]
    for number, calls in enumerate(rounds):
        asked = [
            {
                "id": f"call_{number}_{n}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for n, (name, arguments, _, _) in enumerate(calls)
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": asked})
        for n, (_, _, said, _) in enumerate(calls):
            content = [{"type": "text", "text": said}] if n else said
            messages.append(
                {"role": "tool", "tool_call_id": f"call_{number}_{n}", "content": content}
            )
    return {"id": "r", "model": "somebody's", "messages": messages}


def langchain(rounds: list[list[Call]]) -> dict:
    messages: list[dict] = []
    for calls in rounds:
        asked = [
            {"id": f"c{n}", "type": "tool_call", "name": name, "args": arguments}
            for n, (name, arguments, _, _) in enumerate(calls)
        ]
        messages.append({"kwargs": {"type": "ai", "content": "", "tool_calls": asked}})
        for n, (_, _, said, failed) in enumerate(calls):
            status = "error" if failed else "success"
            answer = {"type": "tool", "tool_call_id": f"c{n}", "content": said, "status": status}
            messages.append({"lc": 1, "id": ["langchain", "ToolMessage"], "kwargs": answer})
    return {"thread_id": "r", "messages": messages}


def anthropic(rounds: list[list[Call]]) -> dict:
    messages: list[dict] = []
    for number, calls in enumerate(rounds):
        asked: list[dict] = [{"type": "text", "text": "Let me see."}]
        told: list[dict] = []
        for n, (name, arguments, said, failed) in enumerate(calls):
            use = f"toolu_{number}_{n}"
            asked.append({"type": "tool_use", "id": use, "name": name, "input": arguments})
            content = [{"type": "text", "text": said}]
            told.append(
                {
                    "type": "tool_result",
                    "tool_use_id": use,
                    "content": content,
                    "is_error": failed,
                }
            )
        messages += [{"role": "assistant", "content": asked}, {"role": "user", "content": told}]
    return {"id": "r", "messages": messages}


def responses(rounds: list[list[Call]]) -> dict:
    items: list[dict] = [{"type": "message", "role": "user", "content": "Pay the bills."}]
    for number, calls in enumerate(rounds):
        ids = [f"call_{number}_{n}" for n in range(len(calls))]
        items += [
            {
                "type": "function_call",
                "id": f"fc_{use}",
                "call_id": use,
                "name": name,
                "arguments": json.dumps(arguments),
                "status": "completed",
            }
            for use, (name, arguments, _, _) in zip(ids, calls, strict=True)
        ]
        items += [
            {"type": "function_call_output", "call_id": use, "output": said}
            for use, (_, _, said, _) in zip(ids, calls, strict=True)
        ]
    return {"id": "r", "input": items}


def own(rounds: list[list[Call]]) -> dict:
    return {
        "run": "r",
        "attempts": [
            {
                "action": name,
                "arguments": arguments,
                "round": str(number),
                "failed": failed,
                "error" if failed else "result": said,
            }
            for number, calls in enumerate(rounds)
            for name, arguments, said, failed in calls
        ],
    }


def traced(rounds: list[list[Call]]) -> dict:
    """Which knows no rounds."""
    return {
        "trajectory_id": "r",
        "steps": [
            {"tool": name, "args": arguments, "result": said, "error": failed}
            for calls in rounds
            for name, arguments, said, failed in calls
        ],
    }


FAILURES = st.sampled_from(["Error: the period is closed", "ValueError: no such bill"])
ANSWERS = st.sampled_from(["paid", "queued", '{"id": 7, "error": null}'])
CALLS = st.tuples(
    st.sampled_from(["erp.pay", "erp.list"]),
    st.sampled_from([{}, {"bill": 1}, {"bill": 2, "lines": [1.5, None]}]),
    st.booleans().flatmap(
        lambda failed: st.tuples(FAILURES if failed else ANSWERS, st.just(failed))
    ),
).map(lambda one: (one[0], one[1], *one[2]))
ROUNDS = st.lists(st.lists(CALLS, min_size=1, max_size=3), max_size=14)


def replayed(conversation: dict, *writes: str) -> Replayed:
    (done,) = replay([json.dumps(conversation)], writes=writes)
    return done


@given(ROUNDS)
def test_the_same_calls_give_the_same_findings_in_all_forms(rounds):
    """Whoever wrote them down; the form without rounds where nothing stands side by side."""
    expected = replayed(own(rounds), "*.pay")
    forms = [chat, langchain, anthropic, responses]
    if all(len(calls) == 1 for calls in rounds):
        forms.append(traced)
    for form in forms:
        assert replayed(form(rounds), "*.pay") == expected, form.__name__


def test_three_failures_and_a_second_write_are_found_in_each_form():
    """So that the property above is not about nothing."""
    rounds = [[(*PAY, "paid", False)], *[[("erp.post", {}, "Error: closed", True)]] * 3]
    rounds.append(rounds[0])
    for form in (chat, langchain, anthropic, responses, own, traced):
        done = replayed(form(rounds), "erp.p[a]*")
        assert [one.first.kind for one in done.episodes] == [Kind.SAME_OUTCOME], form.__name__
        assert [(one.kind, one.number) for one in done.refused] == [(Kind.SAME_WRITE, 5)]
        assert (done.run, done.steps, done.unmatched) == ("r", 5, 0)


# -- what real logs do differently --------------------------------------------------------------


def call(use: str | None = "c", name: str = "erp.pay", arguments: object = "{}") -> dict:
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [made | ({"id": use} if use else {})]}


def answer(use: str | None = "c", content: object = "ok", **more: object) -> dict:
    said = {"role": "tool", "content": content, **more}
    return said | ({"tool_call_id": use} if use else {})


def pairs(*messages: dict, writes: tuple[str, ...] = ()) -> list[tuple[Step, End]]:
    return read_run(json.dumps({"messages": messages}), 1).pairs(writes)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"b": 1, "a": [2]}', {"a": [2], "b": 1}),
        ({"a": [2], "b": 1}, {"a": [2], "b": 1}),
        ("", {}),
        (None, {}),
        ('{"a": "par', '{"a": "par'),
        ("[" * 300 + "]" * 300, "[" * 300 + "]" * 300),
    ],
)
def test_arguments_are_what_their_text_says(written, meant):
    """An object where a server sends one; the text itself where it is no JSON."""
    ((step, _),) = pairs(call(arguments=written), answer())
    assert step.arguments == Step.of("erp.pay", meant).arguments


def test_a_call_without_an_answer_has_not_ended():
    """Left out and counted, as is an answer whose call was cut off; the others keep their place."""
    log = {"messages": [answer("lost"), call("a"), call("b"), answer("b", "done"), call("c")]}
    (done,) = replay([json.dumps(log)])
    assert (done.run, done.steps, done.unmatched) == ("line 1", 1, 3)


def test_ids_may_be_used_again():
    """In a later message; a call with that id that was still open there never ended."""
    first, second, third = (call(arguments={"n": n}) for n in range(3))
    done = pairs(first, answer(content="0"), second, third, answer(content="2"))
    assert [(step.shown, end.text) for step, end in done] == [('{"n":0}', "0"), ('{"n":2}', "2")]


def test_without_ids_the_name_counts():
    """As in the older `function_call`, and in some servers' logs."""
    old = {"role": "assistant", "function_call": {"name": "erp.pay", "arguments": "{}"}}
    done = pairs(
        old,
        {"role": "function", "name": "erp.pay", "content": "1"},
        call(None),
        answer(None, "2", tool_name="erp.pay"),
    )
    assert [end.text for _, end in done] == ["1", "2"]


def test_a_call_that_stands_there_twice_is_one():
    """LangChain keeps Anthropic's block beside its own list."""
    block = {"type": "tool_use", "id": "c", "name": "erp.pay", "input": {}}
    assert len(pairs({**call(), "content": [block]}, answer())) == 1


def test_an_answer_may_stand_in_the_same_message():
    """Tools that run at Anthropic: one after the other, so no round; a result may be a list."""
    found = [{"type": "web_search_result", "url": "a"}, {"type": "web_search_result", "url": "b"}]
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "a"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": found},
        {"type": "mcp_tool_use", "id": "m1", "name": "look", "input": {}, "server_name": "x"},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": True, "content": []},
    ]
    done = pairs({"role": "assistant", "content": blocks})
    assert [(step.action, end.failed) for step, end in done] == [
        ("web_search", False),
        ("look", True),
    ]
    assert done[0][0].round != done[1][0].round
    assert '"url":"b"' in done[0][1].text


def test_calls_of_one_message_are_one_round():
    """Three times the same side by side is no circle; in three messages it is."""
    beside = {"role": "assistant", "tool_calls": [call(n)["tool_calls"][0] for n in "abc"]}
    answers = [answer(n) for n in "abc"]
    side = replayed({"messages": [beside, *answers]})
    after = replayed({"messages": [one for n in "abc" for one in (call(n), answer(n))]})
    assert (side.found, after.found) == (False, True)


def test_another_image_is_another_answer():
    """Though there is no text to compare; parts with text are read as their text."""
    image = {"type": "image_url", "image_url": {"url": "data:1"}}
    other = {"type": "image_url", "image_url": {"url": "data:2"}}
    contents = ([image], [other], [{"type": "text", "text": "a"}, "b"], {"n": 1}, None)
    ends = [pairs(call(), answer(content=one))[0][1] for one in contents]
    assert ends[0].outcome != ends[1].outcome
    assert [end.text for end in ends[2:]] == ["a\nb", '{"n":1}', ""]


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ("Error: closed", True),
        ("error: closed", True),
        ("ERROR\nclosed", True),
        ("Error 404: no such bill", True),
        ("Error executing tool erp.pay: closed", True),
        ("MCP error -32602: no such tool", True),
        ("An error occurred while running the tool. Please try again.", True),
        ("Traceback (most recent call last):\n  File", True),
        ("erp.errors.ClosedError: May", True),
        ("ToolException('closed')", True),
        ("\nTimeoutError", True),
        ('{"error": {"code": 7}}', True),
        ('{"isError": true, "content": []}', True),
        ('{"error": null, "id": 7}', False),
        ('{"error": "", "isError": false}', False),
        ('{"error": ', False),
        ('[{"error": "one of many"}]', False),
        ("Errors: 0", False),
        ("Error rates fell by half", False),
        ("Error handling: a guide", False),
        ("The log says Error: closed", False),
        ("No error", False),
        ("", False),
    ],
)
def test_without_a_flag_the_answer_says_whether_it_failed(said, failed):
    """Where it begins as errors do; what only speaks of errors is none."""
    ((_, end),) = pairs(call(), answer(content=said))
    assert end.failed is failed


def test_a_flag_says_more_than_the_answer():
    """`is_error` decides either way. `success` is what LangChain writes unless told otherwise."""
    flags = ({"is_error": False}, {"is_error": True}, {"status": "error"}, {"status": "success"})
    ends = [pairs(call(), answer(content="Error: no", **flag))[0][1] for flag in flags]
    assert [end.failed for end in ends] == [False, True, True, True]
    ((_, end),) = pairs(call(), answer(content="no", status="error"))
    assert end.failed


def test_tokens_count_once_for_what_came_before_a_call():
    """With the next call that ended, so that none is lost."""
    spent = {"usage": {"input_tokens": 5, "output_tokens": 2, "service_tier": "x"}}
    total = {"usage_metadata": {"input_tokens": 9, "total_tokens": 10}}
    older = {"usage": {"prompt_tokens": 1, "completion_tokens": None}}
    beside = {"role": "assistant", "tool_calls": [call(n)["tool_calls"][0] for n in "ab"]}
    thought = {"role": "assistant", "content": "Hm.", **older}
    log = [thought, call("lost") | total, beside | spent, answer("a"), answer("b")]
    assert [end.tokens for _, end in pairs(*log)] == [18, 0]


# -- what writes --------------------------------------------------------------------------------


def test_only_what_is_named_writes():
    """Without the option nothing does; the same program is never the same write."""
    log = [call(), answer(), call(name="bash", arguments={"command": "make"}), answer()]
    assert [step.writes for step, _ in pairs(*log)] == [False, False]
    done = pairs(*log, writes=("erp.p*", "bash"))
    assert [(step.writes, end.changed) for step, end in done] == [(True, True), (False, True)]


def test_what_a_run_says_itself_counts_more():
    """In our own form and in public traces, where they say whether a call writes."""
    attempts = [{"action": "pay"}, {"action": "pay", "writes": False}]
    steps = [{"tool": "pay"}, {"tool": "pay", "is_write": None}, {"tool": "pay", "is_write": False}]
    for run, expected in (
        ({"run": "r", "attempts": attempts}, [True, False]),
        ({"trajectory_id": "t", "steps": steps}, [True, True, False]),
    ):
        done = read_run(json.dumps(run), 1)
        assert [step.writes for step, _ in done.pairs(["pay"])] == expected
        assert not any(step.writes for step, _ in done.pairs())


def test_a_named_program_is_never_the_same_write_in_any_form():
    """It changes something all the same. What our own form says of it counts."""
    bash = {"action": "bash", "arguments": {"command": "make"}}
    run = read_run(json.dumps({"run": "r", "attempts": [bash, bash | {"writes": True}]}), 1)
    done = run.pairs(["bash"])
    assert [(step.writes, end.changed) for step, end in done] == [(False, True), (True, True)]


# -- which form a line is of --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "run"),
    [
        ({"run": "a", "messages": []}, "a"),
        ({"id": 7, "steps": 3, "messages": []}, "7"),
        ({"id": None, "items": []}, "line 1"),
        ({"trajectory_id": "t", "steps": [], "messages": "somebody's"}, "t"),
        ({"run": "r", "attempts": []}, "r"),
    ],
)
def test_a_line_is_of_the_form_whose_keys_it_has(line, run):
    """Both of them, where a form has two."""
    assert replayed(line).run == run


# -- lines that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "x"}', "line 1: is of none of the known forms"),
        ('{"messages": {}}', "line 1: messages = {}"),
        ('{"input": "hello"}', "line 1: input = 'hello'"),
        ('{"items": ["x"]}', "line 1: items.0 = 'x'"),
        ('{"messages": [{"tool_calls": [{}]}]}', "line 1: messages.0.tool_calls.0.name: Field"),
        (
            '{"messages": [{"content": ["", {"type": "tool_use"}]}]}',
            "line 1: messages.0.content.1 = {'type': 'tool_use'}: this call names no tool.",
        ),
        ('{"items": [{"type": "function_call"}]}', "line 1: items.0 = {'type': 'function_call'}"),
        ('{"messages": [{"usage": {"total_tokens": -1}}]}', "line 1: messages.0.usage.total_tok"),
    ],
)
def test_a_bad_line_is_named_with_its_field(line, words):
    """As in the other forms."""
    with pytest.raises(InvalidInput) as refused:
        list(replay([line]))
    assert str(refused.value).startswith(words)


def test_a_line_of_no_form_is_told_all_of_them():
    """So that one need not look them up."""
    with pytest.raises(InvalidInput) as refused:
        list(replay(["{}"]))
    for key in ("run", "attempts", "trajectory_id", "steps", "messages", "items", "input"):
        assert f"`{key}`" in str(refused.value)


def test_what_is_nested_too_deep_is_refused_by_its_line():
    """Or read: never anything but that."""
    refused = 0
    for depth in range(235, 260):
        deep = json.loads("[" * depth + "]" * depth)
        try:
            assert len(pairs(call(arguments=deep), answer(content={"x": deep}))) == 1
        except InvalidInput as error:
            refused += str(error).startswith("line 1: messages.")
    assert refused > 1


def test_what_is_not_about_calls_may_hold_anything():
    """Messages of other roles, and parts that are no calls."""
    odd = [{"type": {}, "role": [], "content": {}}, {"content": [{"id": {}, "name": 7}, 7, None]}]
    assert pairs(*odd, call(), answer(content=[{"id": {}, "name": []}]))


# -- the command --------------------------------------------------------------------------------


def test_the_command_takes_what_writes(tmp_path: Path):
    """Repeated, as patterns; what was left out is said."""
    file = tmp_path / "log.jsonl"
    log = chat([[(*PAY, "paid", False)]] * 2)
    log["messages"].append(call("open"))
    file.write_text(json.dumps(log) + "\n")
    words = ["loops", "replay", str(file)]
    quiet = CliRunner().invoke(app, words)
    found = CliRunner().invoke(app, [*words, "--writes", "x", "--writes", "erp.*"])
    assert (quiet.exit_code, found.exit_code) == (0, 1)
    assert "0 of 1 run has a finding; 0 repeated writes would" in quiet.output
    assert "1 left out: calls without an answer, answers without a call." in quiet.output
    assert "step 2: erp.pay has succeeded with the same arguments" in found.output
    assert "--writes 'x' names no call of these runs" in found.stderr
    assert "erp.*" not in found.stderr
    document = CliRunner().invoke(app, [*words, "--json"])
    assert [one["unmatched"] for one in json.loads(document.stdout)] == [1]
