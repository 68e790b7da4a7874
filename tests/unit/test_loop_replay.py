"""Recorded runs through the detector, by code and by command."""

import gzip
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gates.core.errors import InvalidInput
from gates.core.loops import Kind, Likeness, Limits, Thresholds, replay
from integrations.cli import app
from tests.benchmarks.loop_rules import RULES, gemini, openhands, openrouter_blocks
from tests.benchmarks.loop_scores import Labelled, episodes, f1, scored
from tests.support.policies import HEAD, ROOT

FAILED = {"action": "erp.post", "arguments": {"bill": 1}, "failed": True, "error": "closed"}
PAID = {"action": "erp.pay", "arguments": {"bill": 1}, "writes": True, "result": {"id": 7}}
TRACED = {"tool": "run", "args": {"command": "ls"}, "args_sha": "a", "result": "x", "error": False}


def own(*attempts: dict, run: str = "r1") -> str:
    return json.dumps({"run": run, "attempts": attempts})


def traced(*steps: dict) -> str:
    return json.dumps({"trajectory_id": "t1", "steps": steps, "model": "somebody's"})


def test_both_forms_are_read_line_by_line():
    """Our own, and the one of public traces; empty lines are nothing."""
    done = list(replay([own(*[FAILED] * 4), "\n", traced(*[TRACED] * 3), own(run="r2")]))
    assert [(one.run, one.steps, one.found) for one in done] == [
        ("r1", 4, True),
        ("t1", 3, True),
        ("r2", 0, False),
    ]
    (episode,) = done[0].episodes
    assert (episode.first.number, episode.last_step, episode.found) == (3, 4, 2)


def test_a_repeated_write_would_have_been_refused():
    """It is told apart from the circles."""
    (done,) = replay([own(PAID, FAILED, PAID)])
    assert done.episodes == ()
    assert [(one.kind, one.number) for one in done.refused] == [(Kind.SAME_WRITE, 3)]


@pytest.mark.parametrize("field", ["command", "cmd", "code", "keystrokes"])
def test_the_same_program_is_not_the_same_write(field: str):
    """A command whose text is the same may do something else."""
    run = {**TRACED, "is_write": True, "args": {field: "make"}}
    send = {**run, "tool": "send", "args": {"to": "a"}}
    (program,) = replay([traced(run, {**run, "result": "y"})])
    (write,) = replay([traced(send, {**send, "result": "y"})])
    assert (len(program.refused), len(write.refused)) == (0, 1)


def test_an_answer_without_a_flag_tells_whether_it_failed():
    """As in conversations: it begins like an error."""
    step = {**TRACED, "error": None}
    errors = [{**step, "result": f"Error: locked by {'x' * n}"} for n in range(3)]
    answers = [{**step, "result": f"errors found: {'x' * n}"} for n in range(3)]
    assert next(iter(replay([traced(*errors)]))).found
    assert not next(iter(replay([traced(*answers)]))).found


def test_the_beginning_of_a_long_answer_is_not_compared():
    """A cut preview says too little: the digest of the whole decides."""
    steps = [
        {**TRACED, "result": "page 2026-01-01T10:00:00…", "result_sha": str(n), "result_len": 900}
        for n in range(9)
    ]
    assert not next(iter(replay([traced(*steps)]))).found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: is no JSON"),
        ("[]", "line 2: is of none of the known forms"),
        ('{"run": "r1"}', "line 2: attempts"),
        (own({"action": 1}), "line 2: attempts.0.action = 1"),
        (own({**FAILED, "cost": -1}), "line 2: attempts.0.cost = -1"),
        (own({**FAILED, "colour": 1}), "line 2: attempts.0.colour = 1"),
        ('{"trajectory_id": "t", "steps": [{"tool": null}]}', "line 2: steps.0.tool = None"),
    ],
)
def test_a_bad_line_is_named_with_its_field(line, words):
    """And with what stands there."""
    with pytest.raises(InvalidInput) as refused:
        list(replay([own(FAILED), line]))
    assert str(refused.value).startswith(words)


# -- the command --------------------------------------------------------------------------------

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    def run(content: bytes | str, *words: str) -> Result:
        file = tmp_path / "runs.jsonl"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return CliRunner().invoke(app, ["loops", "replay", str(file), *words])

    return run


def test_the_command_says_what_it_found(command: Command):
    """Exit code 1; each episode in words, a cycle drawn."""
    two = [{"action": name, "result": name} for name in ("erp.look", "erp.list")]
    done = command(
        "\n".join([own(*[FAILED] * 4), own(*two * 3, run="r2"), own(PAID, PAID, run="r3")])
    )
    assert done.exit_code == 1
    assert "steps 3 to 4: erp.post was called 3 times with the same outcome: closed" in done.output
    assert "erp.look {} → erp.list {} → erp.look {}" in done.output
    assert "step 2: erp.pay has succeeded with the same arguments" in done.output
    assert "3 of 3 runs have findings; 1 repeated write would not have run." in done.output


def test_the_command_finds_nothing_in_a_run_that_goes_well(command: Command):
    """Exit code 0; for scripts one document, from a gzipped file too."""
    done = command(gzip.compress(own(PAID, FAILED).encode()), "--json")
    assert done.exit_code == 0
    assert [(one["run"], one["steps"]) for one in json.loads(done.stdout)] == [("r1", 2)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "line 1: is no JSON"),
        (b"\xff\xfe", "line 1: is no JSON"),
        (gzip.compress(own(*[FAILED] * 99).encode())[:-20], "is cut off or damaged"),
        (b"\x1f\x8b\x00nothing of the kind", "cannot be read"),
        (b"\n\n", "holds no run"),
    ],
)
def test_the_command_refuses_a_bad_file(command: Command, content, words):
    """Exit code 2, and what is wrong with it."""
    done = command(content)
    assert done.exit_code == 2
    assert words in done.output


def test_the_command_names_a_file_that_is_not_there():
    """Exit code 2 as well."""
    done = CliRunner().invoke(app, ["loops", "replay", "/nowhere/runs.jsonl"])
    assert done.exit_code == 2
    assert "No such file" in done.output


def test_what_a_recording_holds_cannot_paint_on_the_terminal(command: Command):
    """Neither a run's name nor an action's, an answer or a field."""
    evil = "\x1b[31mred"
    attempt = {**FAILED, "action": evil, "error": evil}
    two = [{"action": f"{evil}{n}", "result": n} for n in (1, 2)]
    runs = [own(*[attempt] * 3, run=evil), own(*two * 3), own(*[{**PAID, "action": evil}] * 2)]
    done = command("\n".join(runs))
    assert "31mred" in done.output
    assert "\x1b" not in done.output
    assert "\x1b" not in command(own({**FAILED, evil: 1})).output


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_recording_may_come_through_a_pipe(tmp_path: Path, packed: Callable[[bytes], bytes]):
    """As from another command, gzipped or not."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = packed(own(*[FAILED] * 4).encode())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pipe.write_bytes, content)
        done = CliRunner().invoke(app, ["loops", "replay", str(pipe)])
    assert done.exit_code == 1
    assert "steps 3 to 4: erp.post" in done.output


def test_a_policys_thresholds_can_be_tried(command: Command, tmp_path: Path):
    """Before they are in force; a policy that is wrong is named, with exit code 2."""
    policy, people = tmp_path / "p.yaml", tmp_path / "people.yaml"
    people.write_text((ROOT / "policies" / "people.yaml").read_text())
    words = ("--policy", str(policy), "--people", str(people))
    limits = "loops: {thresholds: {limits: {same_outcome: 6, same_failing_call: 6}}}\n"
    policy.write_text(limits + HEAD + "  - {name: a, on: x, verdict: forbid, because: a}\n")
    assert command(own(*[FAILED] * 4)).exit_code == 1
    assert command(own(*[FAILED] * 4), *words).exit_code == 0
    policy.write_text("version: 2\n")
    wrong = command(own(), *words)
    assert wrong.exit_code == 2
    assert "p.yaml:1:" in wrong.output
    away = command(own(), "--policy", str(tmp_path / "none.yaml"))
    assert away.exit_code == 2
    assert away.output.startswith("policy = ")  # and not the setting, which nobody gave


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        ({"arguments": {}, "result": "x" * 300}, "line 1: attempts.0.action: Field required."),
        ({**FAILED, "error": {"n": "x" * 300}}, "line 1: attempts.0.error = {'n': 'xxx"),
        ({**FAILED, "at": 7, "x" * 300: 7}, f"line 1: attempts.0.{'x' * 69}… = 7: Extra"),
    ],
)
def test_a_message_about_a_field_is_short(attempt: dict, words: str):
    """Where a name or a value is long, its beginning says enough."""
    with pytest.raises(InvalidInput) as refused:
        list(replay([own(attempt)]))
    assert str(refused.value).startswith(words)
    assert len(str(refused.value)) < 250


# -- the benchmark's own parts ------------------------------------------------------------------


def pairs(*names: str) -> list:
    steps = [{**TRACED, "args_sha": name, "result": name} for name in names]
    from gates.core.loops.recorded import read_run  # noqa: PLC0415 - what the benchmark reads

    return read_run(traced(*steps), 1).pairs()


def test_the_rules_of_others_fire_where_their_descriptions_say():
    """Four in a row, two in turn over six; a period five times; the third of a tool."""
    assert list(openhands(pairs(*"aaaa"))) == [3]
    assert list(openhands(pairs(*"ababab"))) == [5]
    assert list(gemini(pairs(*"aaaaa"))) == [4]
    assert list(gemini(pairs(*"ab" * 5))) == [9]
    assert list(openrouter_blocks(pairs(*"aabaaa"))) == [5]
    assert all(list(rule(pairs(*"abcdefgh"))) == [] for rule in RULES.values())


def test_a_rule_is_scored_by_what_it_finds_and_when():
    """An alarm two steps after the onset; one in a clean run; look-alikes in runs not stuck."""
    none = {"duplicate_write_steps": [], "benign_repeats": []}
    span = {"kind": "poll_or_scroll", "start": 2, "end": 5}
    stuck = {**none, "stuck_objective": True, "stuck_onset": 1, "final_state": "max_iterations"}
    clean = {**none, "stuck_objective": False, "final_state": "finished", "benign_repeats": [span]}
    runs = [
        Labelled("a/1", "f", pairs(*"abcdef"), stuck, succeeded=False),
        Labelled("a/2", "f", pairs(*"abcdef"), clean, succeeded=True),
    ]
    score = scored(lambda _: [3, 4], runs)
    assert (score.recall, score.precision, score.delays) == (1.0, 0.5, [2])
    assert (score.exhausted_found, score.finished_found, score.calls_after) == (1, 1, 2)
    assert (score.clean_episodes, score.part("poll_or_scroll")) == (1, 1.0)
    assert episodes([1, 2, 30]) == 2
    assert f1([True, True, False], [True, False, True]) == 0.5


# -- likeness -----------------------------------------------------------------------------------


def test_the_same_intent_in_other_words_is_noticed():
    """Twice within the last six steps; another subject is not like it."""
    likeness = Likeness()
    asked = [
        "Please search for the list of winners",
        "Search the list of winners once more, please",
    ]
    assert [likeness.after(one, "a page of winners") for one in (*asked, asked[0])] == [0, 0, 2]
    assert likeness.after("Book a flight to Berlin", "booked") == 0
    assert likeness.after("", "") == 0


# -- the page -----------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "loops.md").read_text()


def test_the_code_of_the_page_runs():
    """In the order of the page."""
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "loops.md", "exec"), {})  # noqa: S102 - our own page
    lines = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert [(one.run, one.steps) for one in replay(lines)] == [("r1", 1), ("c1", 1)]


def test_the_page_names_every_finding_and_every_threshold_with_its_bounds():
    """The table is the code's."""
    assert all(f"| `{kind}` |" in PAGE for kind in Kind)
    for prefix, model in (("limits.", Limits), ("", Thresholds)):
        for name, field in model.model_fields.items():
            bounds = {type(one).__name__: one for one in field.metadata}
            if "Ge" not in bounds:
                continue
            row = f"| `{prefix}{name}` | {field.default} | {bounds['Ge'].ge} | {bounds['Le'].le} |"
            assert row in PAGE, row
