"""Message logs of agents as steps for the detector: what a model called, and what came back.

Three forms, read by what each message holds, since real exports mix them: chat completions
(`tool_calls`, `tool_call_id`), Anthropic's messages (`tool_use`, `tool_result`) and the items of
the Responses API (`function_call`, `function_call_output`). The rules:
1. Calls that no answer stands between were proposed side by side: one round.
2. An answer is that of the oldest open call with its id, in the last message that used the id:
   some models number their calls anew in each. Where there are no ids, the tool's name counts.
3. A call without an answer has not ended, and an answer without a call tells of none. Both are
   left out and counted, so that a log whose ids do not fit is not taken for a quiet one.
4. `is_error` and `status: error` say that a call failed; without a flag its answer does, where it
   begins as errors do. In doubt it did not fail.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from gates.core.errors import NotCanonical
from gates.core.loops.steps import End, Step, digest_and_beginning, digest_of, named, once, written

CALLS = frozenset({"function_call", "custom_tool_call"})  # items of the Responses API
ANSWERS = frozenset({"function_call_output", "custom_tool_call_output", "tool", "function"})
# How tools, the agent frameworks and MCP begin the text of a failure that they hand to the model.
_FAILED = re.compile(
    r"\s{0,99}(?:Traceback \(most recent call last\)"
    r"|An error occurred while running the tool\b"
    r"|(?i:(?:mcp )?error(?: -?\d{1,9})?"
    r"(?: (?:executing|invoking|calling|running) [^\n:]{1,200})?)\s{0,9}(?::|\n|\Z)"
    r"|(?:[A-Za-z_][\w.]{0,120})?(?:Error|Exception)\s{0,9}(?:[:(]|\Z))"
)


class Called(NamedTuple):
    id: str
    name: str
    arguments: JsonValue


class Answered(NamedTuple):
    id: str
    name: str
    content: JsonValue
    failed: bool | None  # None: nobody says


class Foreign(BaseModel):
    """What else stands there is somebody else's."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


Word = Annotated[str, BeforeValidator(str)]


def _inner(given: Any) -> Any:
    """A chat's call holds name and arguments one level down, LangChain's does not."""
    if isinstance(given, dict):
        for kind in ("function", "custom"):
            if isinstance(given.get(kind), dict):
                return given | given[kind]
    return given


class ToolCall(Foreign):
    """Of a chat's message; the older `function_call` has no id."""

    id: str | None = None
    name: str
    arguments: JsonValue = Field(None, validation_alias=AliasChoices("arguments", "args", "input"))

    @property
    def called(self) -> Called:
        return Called(self.id or "", self.name, self.arguments)


class Piece(Foreign):
    """A call or an answer that stands by itself: a block of Anthropic's, an item of the Responses
    API, a chat's message of role `tool`.
    """

    type: Word = ""
    role: Word = ""
    id: str | None = Field(None, validation_alias=AliasChoices("call_id", "id"))
    to: str | None = Field(None, validation_alias=AliasChoices("tool_call_id", "tool_use_id"))
    name: str | None = Field(None, validation_alias=AliasChoices("name", "tool_name"))
    arguments: JsonValue = Field(None, validation_alias=AliasChoices("arguments", "input"))
    content: JsonValue = Field(None, validation_alias=AliasChoices("output", "content"))
    is_error: bool | None = None
    status: Word = ""

    @model_validator(mode="after")
    def _named(self) -> Piece:
        if self.calls and self.name is None:
            raise ValueError("this call names no tool")
        return self

    @property
    def calls(self) -> bool:
        return self.type in CALLS or self.type.endswith("tool_use")

    @property
    def answers(self) -> bool:
        return bool(self.to) or self.role in ANSWERS or self.type in ANSWERS

    def told(self) -> Iterator[Called | Answered]:
        if self.calls:
            yield Called(self.id or "", self.name or "", self.arguments)
        elif self.answers:
            failed = True if self.status == "error" else self.is_error
            to = self.id if self.type.endswith("_output") else self.to
            yield Answered(to or "", self.name or "", self.content, failed)


def _blocks(given: Any) -> list[Any]:
    """The places stay, so that an error names the right one; what is neither call nor answer may
    hold anything.
    """
    if not isinstance(given, list):
        return []
    return [one if _is_block(one) else {} for one in given]


def _is_block(one: Any) -> bool:
    """Those of tools that run at Anthropic, too: `mcp_tool_use`, `web_search_tool_result`."""
    return isinstance(one, dict) and str(one.get("type")).endswith(("tool_use", "tool_result"))


def _unwrapped(given: Any) -> Any:
    """LangChain dumps a message within `kwargs`, or within `data`."""
    if isinstance(given, dict):
        for within in ("kwargs", "data"):
            inner = given.get(within)
            if isinstance(inner, dict) and "content" in inner:
                return inner
    return given


Count = Annotated[int | None, Field(ge=0)]


class Usage(Foreign):
    total_tokens: Count = None
    asked: Count = Field(None, validation_alias=AliasChoices("input_tokens", "prompt_tokens"))
    said: Count = Field(None, validation_alias=AliasChoices("output_tokens", "completion_tokens"))

    @property
    def tokens(self) -> int:
        if self.total_tokens is not None:
            return self.total_tokens
        return (self.asked or 0) + (self.said or 0)


class Message(Piece):
    tool_calls: tuple[Annotated[ToolCall, BeforeValidator(_inner)], ...] | None = None
    function_call: ToolCall | None = None
    blocks: Annotated[tuple[Piece, ...], BeforeValidator(_blocks)] = Field(
        (), validation_alias="content"
    )
    usage: Usage | None = Field(None, validation_alias=AliasChoices("usage", "usage_metadata"))

    def told(self) -> Iterator[Called | Answered]:
        """LangChain writes a call of Anthropic's both as a block and in `tool_calls`: it is one."""
        if self.calls or self.to:
            yield from super().told()
        elif self.tool_calls:
            yield from (one.called for one in self.tool_calls)
        elif self.function_call:
            yield self.function_call.called
        elif any(block.type for block in self.blocks):
            for block in self.blocks:
                yield from block.told()
        else:
            yield from super().told()


@dataclass(slots=True)
class Attempt:
    call: Called
    message: int
    round: int
    tokens: int
    answer: Answered | None = None

    def pair(self, answer: Answered, tokens: int, writes: Sequence[str]) -> tuple[Step, End]:
        arguments = _arguments(self.call.arguments)
        digest, beginning = _digested(arguments, self.call.arguments)
        text = _text(answer.content)
        failed = says_failed(text) if answer.failed is None else answer.failed
        changes = named(self.call.name, writes)
        step = Step(
            action=self.call.name,
            arguments=digest,
            shown=beginning,
            writes=changes and once(arguments),
            round=str(self.round),
        )
        end = End(digest_of(text), text, failed=failed, changed=changes, tokens=tokens)
        return step, end


class Conversation(Foreign):
    """One line of a log. Without an id its place in the file names it."""

    id: str | None = Field(None, validation_alias=AliasChoices("id", "run", "thread_id"))
    messages: tuple[Annotated[Message, BeforeValidator(_unwrapped)], ...] = Field(
        validation_alias=AliasChoices("messages", "items", "input")
    )

    @property
    def run(self) -> str:
        return self.id or ""

    def pairs(self, writes: Sequence[str] = ()) -> list[tuple[Step, End]]:
        made, tokens = [], 0
        for one in self.matched[0]:
            tokens += one.tokens
            if one.answer is not None:
                made.append(one.pair(one.answer, tokens, writes))
                tokens = 0
        return made

    @property
    def unmatched(self) -> int:
        attempts, strays = self.matched
        return strays + sum(one.answer is None for one in attempts)

    @cached_property
    def matched(self) -> tuple[list[Attempt], int]:
        """All calls in their order, with their answers; how many answers have no call."""
        attempts: list[Attempt] = []
        waiting: dict[tuple[str, str], deque[Attempt]] = {}
        side, ended, tokens, strays = 0, False, 0, 0
        for number, message in enumerate(self.messages):
            tokens += message.usage.tokens if message.usage else 0
            for piece in message.told():
                queue = waiting.setdefault((piece.id, "" if piece.id else piece.name), deque())
                if isinstance(piece, Called):
                    if ended:
                        side, ended = side + 1, False
                    if queue and queue[-1].message != number:
                        queue.clear()
                    queue.append(Attempt(piece, number, side, tokens))
                    attempts.append(queue[-1])
                    tokens = 0
                elif queue:
                    queue.popleft().answer, ended = piece, True
                else:
                    strays += 1
        return attempts, strays


def _arguments(given: JsonValue) -> JsonValue:
    """What the text of a chat's call says. A model that wrote no JSON has called with that text."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    if isinstance(given, str):
        try:
            parsed: JsonValue = orjson.loads(given)
        except ValueError:
            return given
        return parsed
    return given


def _digested(arguments: JsonValue, given: JsonValue) -> tuple[str, str]:
    try:
        return digest_and_beginning(arguments)
    except NotCanonical:  # nested deeper than can be written again: compared as the text it was
        return digest_and_beginning(given)


def _text(content: JsonValue) -> str:
    """Of a list of parts their texts; of an image and the like its JSON, so that another one is
    another answer.
    """
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(_part(one) for one in content)
    return content if isinstance(content, str) else written(content).decode()


def _part(part: JsonValue) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and str(part.get("type")).endswith("text"):
        text = part.get("text")
        if isinstance(text, str):
            return text
    return written(part).decode()


def says_failed(text: str) -> bool:
    """Rule 4, for an answer that has no flag."""
    if _FAILED.match(text):
        return True
    if not text.lstrip().startswith("{"):
        return False
    try:
        said = orjson.loads(text)
    except ValueError:
        return False
    return bool(said.get("error")) or said.get("isError") is True
