"""Which gate a call is: the same on every pass, and never one gate for two calls."""

import pytest

from gates.core.errors import MisusedGate
from gates.flow.keys import Keys, Scope

LINE = Scope()


def take(keys, name="pay", key=None, digest="a", scope=LINE):
    return keys.take(name, key, digest * 64, f"{name}({digest}) at flow.py:1", scope)


def task(number, attempt=0):
    return Scope(task=f"task-{number}", attempt=attempt, ordered=False)


def ended(ticket, state="ended"):
    ticket.state = state
    return ticket


def test_in_the_flow_calls_are_counted_by_name():
    """The default key is the action's name and its ordinal, whatever the arguments."""
    keys = Keys()
    found = [take(keys, name, digest=digest).key for name, digest in ("pa", "pb", "qa", "pa")]
    assert found == ["p-1", "p-2", "q-1", "p-3"]


def test_two_passes_find_the_same_keys():
    """A run that comes back reads what is there."""
    calls = [("pay", "a", LINE), ("pay", "b", LINE), ("pay", "a", task(1)), ("ask", "c", LINE)]
    passes = []
    for _ in range(2):
        keys = Keys()
        passes.append([take(keys, name, None, digest, scope).key for name, digest, scope in calls])
    assert passes[0] == passes[1]
    assert len(set(passes[0])) == len(calls)


def test_tasks_find_their_gates_in_whatever_order_they_start():
    """Side by side no order repeats itself: the key follows the arguments, not the arrival."""
    first, second = Keys(), Keys()
    one = {digest: take(first, digest=digest, scope=task(digest)).key for digest in "abc"}
    two = {digest: take(second, digest=digest, scope=task(digest)).key for digest in "cab"}
    assert one == two
    assert len(set(one.values())) == 3


def test_equal_calls_side_by_side_are_different_gates():
    """Two tasks that pay the same twice mean it twice."""
    keys = Keys()
    assert take(keys, scope=task(1)).key != take(keys, scope=task(2)).key


def test_a_task_that_is_tried_again_finds_its_own_gates():
    """A task that failed after its gate does not pay a second time."""
    keys = Keys()
    before = [ended(take(keys, scope=task(1))), ended(take(keys, scope=task(1)))]
    other = take(keys, scope=task(2))
    again = [take(keys, scope=task(1, 1)), take(keys, scope=task(1, 1))]
    assert [one.key for one in again] == [one.key for one in before]
    assert [one.call for one in again] == [1, 1]
    assert other.key not in {one.key for one in before}


def test_a_try_that_did_not_come_to_its_gate_changes_nothing():
    """The third try finds the gate of the first."""
    keys = Keys()
    first = ended(take(keys, scope=task(1)))
    assert take(keys, scope=task(1, 2)).key == first.key


def test_a_task_that_is_tried_again_after_a_failure_tries_again():
    """ActionFailed, raised out of the task, is answered by the task's retry with a new try."""
    keys = Keys()
    ended(take(keys, scope=task(1)), "failed")
    again = take(keys, scope=task(1, 1))
    assert again.call == 2


def test_sub_flows_count_for_themselves():
    """A sub-flow's calls do not shift those of its parent."""
    keys = Keys()
    assert take(keys, scope=Scope(flow="f00")).key == "pay-f00-1"
    assert take(keys).key == "pay-1"


@pytest.mark.parametrize("state", ["open", "ended"])
@pytest.mark.parametrize("digest", ["a", "b"])
def test_two_calls_with_one_key_are_refused(state, digest):
    """Whether with the same arguments or others: one of the two would silently not run."""
    keys = Keys()
    ended(take(keys, key="k"), state)
    with pytest.raises(MisusedGate, match=r"'k': pay\(a\).* and pay\("):
        take(keys, key="k", digest=digest)


def test_a_call_after_a_failure_is_the_next_try():
    """The server tells a repeat of try 1 from try 2 by this number."""
    keys = Keys()
    calls = [ended(take(keys, key="k"), "failed").call for _ in range(3)]
    assert calls == [1, 2, 3]


def test_a_corrected_call_after_a_failure_is_a_gate_of_its_own():
    """Or a later pass, repeating the first try, would look like a change of mind."""
    keys = Keys()
    ended(take(keys, key="k", digest="a"), "failed")
    second = ended(take(keys, key="k", digest="b"), "failed")
    third = take(keys, key="k", digest="b")
    assert (second.key, second.call) == ("k~2", 1)
    assert (third.key, third.call) == ("k~2", 2)


@pytest.mark.parametrize("scope", [LINE, task(1)])
@pytest.mark.parametrize("digest", ["a", "b"])
def test_a_call_after_a_refusal_is_a_gate_of_its_own(scope, digest):
    """Whatever it proposes: the agent is told again, and in the end people are."""
    passes = []
    for _ in range(2):
        keys = Keys()
        found = [ended(take(keys, key="k", scope=scope), "refused").key]
        found += [
            ended(take(keys, key="k", digest=digest, scope=scope), "refused").key for _ in range(2)
        ]
        passes.append(found)
    assert passes == [["k", "k~2", "k~3"]] * 2


def test_a_task_that_is_tried_again_is_told_the_same_refusal():
    """It repeats its call, and does not propose anew."""
    keys = Keys()
    ended(take(keys, key="k", scope=task(1)), "refused")
    again = take(keys, key="k", scope=task(1, 1))
    assert (again.key, again.call) == ("k", 1)


def test_a_task_that_is_tried_again_after_several_refusals_hears_them_in_their_order():
    """Its first call is told what the first was told, and nothing is asked anew."""
    keys = Keys()
    calls = [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    found = [
        ended(take(keys, key="k", digest=digest, scope=task(1, attempt)), "refused").key
        for digest, attempt in calls
    ]
    assert found == ["k", "k~2", "k", "k~2"]


def test_a_task_that_broke_off_after_a_refusal_hears_it_again():
    """What it had asked last, and never heard about, comes in its place once more."""
    keys = Keys()
    ended(take(keys, key="k", scope=task(1)), "refused")
    take(keys, key="k", digest="b", scope=task(1))
    again = ended(take(keys, key="k", scope=task(1, 1)), "refused")
    assert (again.key, again.call) == ("k", 1)
    assert take(keys, key="k", digest="b", scope=task(1, 1)).key == "k~2"


def test_a_task_that_broke_off_after_a_next_try_begins_with_the_refusal():
    """What came between, failed and tried again, comes in its place once more."""
    keys = Keys()
    calls = [("a", 0, "refused"), ("b", 0, "failed"), ("b", 0, "ended")]
    calls += [("a", 1, "refused"), ("b", 1, "failed"), ("b", 1, "ended")]
    found = [
        ended(take(keys, key="k", digest=digest, scope=task(1, attempt)), state)
        for digest, attempt, state in calls
    ]
    assert [(one.key, one.call) for one in found] == [("k", 1), ("k~2", 1), ("k~2", 2)] * 2


def test_a_key_that_a_refusal_has_made_is_taken():
    """An author's own `k~2` would get the answer of the second call under `k`, and the other way
    round.
    """
    keys = Keys()
    ended(take(keys, key="k"), "refused")
    take(keys, key="k")
    with pytest.raises(MisusedGate, match="k~2"):
        take(keys, key="k~2")
    other = Keys()
    take(other, key="k~2")
    ended(take(other, key="k"), "refused")
    with pytest.raises(MisusedGate, match="k~2"):
        take(other, key="k")


def test_a_key_that_a_refusal_makes_is_no_longer_than_a_key_may_be():
    """The server would not take it."""
    keys = Keys()
    ended(take(keys, key="k" * 200), "refused")
    second = ended(take(keys, key="k" * 200), "refused")
    assert second.key == "k" * 198 + "~2"
    assert take(keys, key="k" * 200).key == "k" * 198 + "~3"


def test_another_place_must_not_take_a_refused_key():
    """Side by side nobody knows who comes first: a later pass could mix them up."""
    keys = Keys()
    ended(take(keys, key="k", scope=task(1)), "refused")
    with pytest.raises(MisusedGate):
        take(keys, key="k", scope=task(2))
    aside = Scope(ordered=False)
    ended(take(keys, key="a", scope=aside), "refused")
    with pytest.raises(MisusedGate):
        take(keys, key="a", scope=aside)


def test_a_call_that_came_to_nothing_can_be_made_again():
    """The server was away, or the arguments were refused: there is no gate yet."""
    keys = Keys()
    ended(take(keys, key="k"), "void")
    assert take(keys, key="k").call == 1


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_has_1_to_200_characters(key):
    """As the server takes it; found where it is written."""
    with pytest.raises(MisusedGate, match="use 1 to 200"):
        take(Keys(), key=key)


def test_a_long_name_makes_a_key_that_fits():
    """The ordinal is never cut off."""
    keys = Keys()
    found = [take(keys, "n" * 200, scope=Scope("f" * 12)).key for _ in range(2)]
    assert [len(key) for key in found] == [200, 200]
    assert found[0] != found[1]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_call_after_guidance_is_the_next_round_of_the_same_gate(key):
    """With whatever arguments: people see what has changed. The call after its end is another."""
    keys = Keys()
    first = ended(take(keys, key=key, digest="a"), "sent_back")
    second = ended(take(keys, key=key, digest="b"), "sent_back")
    third = ended(take(keys, key=key, digest="b"))
    assert {one.key for one in (first, second, third)} == {first.key}
    assert [first.call, second.call, third.call] == [1, 2, 3]
    if key is None:
        assert take(keys, digest="b").key == "pay-2"


def test_guidance_for_one_action_does_not_move_another():
    """Calls of another name in between keep their own count."""
    keys = Keys()
    ended(take(keys, "p"), "sent_back")
    assert take(keys, "q").key == "q-1"
    assert ended(take(keys, "p")).key == "p-1"
    assert take(keys, "p").key == "p-2"
