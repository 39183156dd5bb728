"""Judges what clients saw: is there an order of a key's operations that explains every reply?

Each key is judged by itself (linearizability is composable), by the search of Wing and Gong with the memory
that Lowe added: an operation may come next if no other one returned before it was sent; a pair of "what has
been applied" and "the value now" is looked at once. An operation whose outcome is unknown may be applied at any
time after it was sent, or never. One that certainly was not applied takes no part: if its value is seen, nothing explains it.

Knows no sockets and no faults: operations come in, verdicts go out.
"""

import math
from typing import Any, NamedTuple

# How an operation ended.
OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
# Configurations looked at per key; a history that needs more is reported as undecided.
CONFIGURATIONS_MAX = 400_000
NEVER = math.inf

READS = ("get", "lrange", "strlen")


class Operation(NamedTuple):
    """One command on one key. Times are those of one monotonic clock; `returned` is NEVER when no answer came."""

    client: int
    kind: str
    argument: Any
    invoked: float
    returned: float
    outcome: str
    value: Any = None

    def __str__(self):
        returned = "never" if self.returned == NEVER else f"{self.returned:.6f}"
        argument = "" if self.argument is None else f" {show(self.argument)}"
        return f"[{self.invoked:.6f} {returned}] client {self.client}: {self.kind}{argument} -> {self.outcome} {show(self.value)}"


def show(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:24]} ... {text[-48:]}"


class Verdict(NamedTuple):
    """`good` is None when the search was given up. `culprit` is the operation whose reply nothing explains any more."""

    good: Any
    why: str = ""
    culprit: Any = None
    around: tuple = ()


def _integer(state):
    return 0 if state is None else int(state)


def _incr(state, by):
    value = _integer(state) + by
    return b"%d" % value, value


def _append(state, text):
    value = (state or b"") + text
    return value, len(value)


def _rpush(state, element):
    value = (state or ()) + (element,)
    return value, len(value)


# kind -> (state, argument) -> (the state after it, the reply). Absent keys are None; strings bytes; lists tuples.
STEPS = {
    "get": lambda state, _: (state, state),
    "strlen": lambda state, _: (state, len(state or b"")),
    "lrange": lambda state, _: (state, state or ()),
    "set": lambda _, value: (value, b"OK"),
    "setnx": lambda state, value: (value, b"OK") if state is None else (state, None),
    "setxx": lambda state, value: (state, None) if state is None else (value, b"OK"),
    "getset": lambda state, value: (value, state),
    "getdel": lambda state, _: (None, state),
    "del": lambda state, _: (None, 0 if state is None else 1),
    "incrby": _incr,
    "append": _append,
    "rpush": _rpush,
}


def judge(operations):
    """The verdict on one key that was absent before the first of these operations."""
    good, explored = search(operations)
    if good:
        return Verdict(True)
    if good is None:
        return Verdict(None, f"given up after {explored:,} configurations")
    return explain(operations)


def search(operations):
    """(whether an order explains all replies, or None if that is too long to find out; configurations looked at)."""
    taking_part = [operation for operation in operations
                   if operation.outcome == OK or operation.outcome == UNKNOWN and operation.kind not in READS]
    taking_part.sort(key=lambda operation: (operation.invoked, operation.returned))
    return Search(taking_part).run()


class Search:
    """Depth first. `applied` is a bit set over the operations in the order of their sending."""

    def __init__(self, operations):
        self.operations = operations
        self.invoked = [operation.invoked for operation in operations]
        self.returned = [operation.returned if operation.outcome == OK else NEVER for operation in operations]
        self.steps = [(STEPS[operation.kind], operation.argument) for operation in operations]
        self.known = 0
        for number, operation in enumerate(operations):
            if operation.outcome == OK:
                self.known |= 1 << number
        self.seen = set()

    def run(self):
        stack = [(0, 0, None)]
        while stack:
            first, applied, state = stack.pop()
            if applied & self.known == self.known:
                return True, len(self.seen)
            while applied >> first & 1:
                first += 1
            if len(self.seen) > CONFIGURATIONS_MAX:
                return None, len(self.seen)
            for number in self.candidates(first, applied):
                after = self.apply(number, state)
                if after is None:
                    continue
                configuration = (applied | 1 << number, after[0])
                if configuration not in self.seen:
                    self.seen.add(configuration)
                    stack.append((first, *configuration))
        return False, len(self.seen)

    def candidates(self, first, applied):
        """What may come next, the most promising last: answered before unknown, first returned before later returned."""
        horizon, answered, unknown = NEVER, [], []
        number, count = first, len(self.operations)
        while number < count and self.invoked[number] <= horizon:
            if not applied >> number & 1:
                returned = self.returned[number]
                if returned == NEVER:
                    unknown.append(number)
                else:
                    answered.append(number)
                    horizon = min(horizon, returned)
            number += 1
        answered.sort(key=self.returned.__getitem__, reverse=True)
        # Whoever returned before another one was sent has cut the horizon already; some were gathered before that was known.
        return unknown + [number for number in answered if self.invoked[number] <= horizon]

    def apply(self, number, state):
        """A tuple with the state after the operation, or None where its reply does not fit."""
        step, argument = self.steps[number]
        after, reply = step(state, argument)
        if self.known >> number & 1 and reply != self.operations[number].value:
            return None
        return (after,)


def explain(operations):
    """Names the first reply that nothing explains: histories cut at a return are judged until one fails."""
    answered = sorted((operation for operation in operations if operation.outcome == OK), key=lambda one: one.returned)
    low, high = 0, len(answered) - 1
    while low < high:
        middle = (low + high) // 2
        if search(cut(operations, answered[middle].returned))[0] is False:
            high = middle
        else:
            low = middle + 1
    culprit = answered[low]
    without = [operation for operation in operations if operation is not culprit]
    around = sorted(without, key=lambda one: one.invoked)
    near = [one for one in around if one.invoked <= culprit.returned][-14:]
    return Verdict(False, name_of(culprit, without), culprit, tuple(near))


def cut(operations, at):
    """What was known at a moment: later ones are not there yet, those under way are unknown."""
    known = (one for one in operations if one.invoked <= at)
    return [one._replace(returned=NEVER, outcome=UNKNOWN) if one.returned > at and one.outcome == OK else one for one in known]


def name_of(culprit, others):
    """A word for what went wrong; it helps to read the report and decides nothing."""
    refused = [one for one in others if one.outcome == REFUSED and one.argument is not None]
    if culprit.kind in ("get", "getset", "getdel") and culprit.value is not None:
        if any(one.argument == culprit.value for one in refused) and not any(
                one.argument == culprit.value for one in others if one.outcome != REFUSED):
            return "phantom: a value that was certainly not applied"
    if culprit.kind in READS:
        if search(others)[0]:
            return "stale read: the rest of the history is in order without it"
        return "lost write, or one applied twice: later replies agree with this read"
    return "a write's reply disagrees with what was acknowledged: something is lost, or was applied twice"
