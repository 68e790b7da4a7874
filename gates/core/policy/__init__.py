"""Which actions may run, which must be looked at by whom, and which are forbidden.

`load_policies` reads files' texts and finds their mistakes, `load_policy` those of one;
`Policy.judge` answers one question.
"""

from gates.core.policy.conditions import Question
from gates.core.policy.judging import Defaults, LoopPolicy, Policy, Rule
from gates.core.policy.reading import load_policies, load_policy

__all__ = ["Defaults", "LoopPolicy", "Policy", "Question", "Rule", "load_policies", "load_policy"]
