"""Searches for an order of the operations on one key that explains every reply.

Wing and Gong's search with the memory that Lowe added: an operation may come next if no other one returned before it was sent. An
operation of unknown outcome may be applied at any time after it was sent, or never; each of them could double the work, and each order of
them be another state. So that a gap without answers stays cheap, the search leaves out what cannot change the verdict:

- what its reply shows to be without any effect is applied as soon as it fits: later it would do no more;
- of operations that are the same, one is as good as another: the one that returns (or, unknown, was sent) first is taken;
- values that nobody ever saw are one value;
- whoever applied more unknown operations to come to the same state with the same replies explained is no better off;
- a value that is written once never comes back: it must not be overwritten while somebody has still to see it;
- what only grows must not outgrow what is still to be seen of it, nor differ from the longest that was seen.

The first four keep an order for every order they leave out; the last two leave out only what has no good end. Which of them hold depends on
the commands of the history: `Registers` and `Growing` say so. Knows no clients and no files.
"""

import bisect
import collections
import math
import time
from typing import Any, NamedTuple

# How an operation ended.
OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
NEVER = math.inf

READS = ("get", "lrange", "strlen")
# The clock is looked at once in so many configurations.
CLOCK_EVERY = 256
# Among so many sets of spent operations a smaller one is looked for; among more, only the same.
COMPARED_MAX = 32


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


class Bounds(NamedTuple):
    """What a search may take: `configurations` is about memory, `deadline` is a time of the monotonic clock."""

    configurations: int
    deadline: float = NEVER


class Found(NamedTuple):
    """`good` is None where a bound was hit; then `why` names it."""

    good: Any
    explored: int
    why: str = ""


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


def search(operations, bounds):
    """Whether some order explains all replies of a key that was absent at first."""
    known = [one for one in operations if one.outcome == OK]
    unknown = [one for one in operations if one.outcome == UNKNOWN and one.kind not in READS]
    return Search(known, unknown, bounds).run()


class Plain:
    """Rules for a history of any commands: nothing is known of what they do to each other."""

    def rename(self, one):
        """The operation as the search is to see it."""
        return one

    def prepare(self, known, unknown):
        """Told what takes part; the known ones are numbered as in the masks of applied operations."""

    def hopeless(self, applied, before, after):
        """Whether a change of the state cannot lead to a good end. `applied` are the known operations so far, with the one that changed it."""
        return False


class Registers(Plain):
    """Values that are set, taken and deleted as a whole."""

    KINDS = {"get", "set", "setnx", "setxx", "getset", "getdel", "del"}
    WRITERS = ("set", "setnx", "setxx", "getset")
    OBSERVERS = ("get", "getset", "getdel")
    # No reply is of this type.
    UNSEEN = "unseen"
    # What an operation comes to when nobody knows its reply.
    BLIND = {"getset": "set", "getdel": "del"}

    def __init__(self, known):
        self.seen = {one.value for one in known if one.kind in self.OBSERVERS}
        self.observers = {}

    def rename(self, one):
        if one.kind in self.WRITERS and one.argument not in self.seen:
            one = one._replace(argument=self.UNSEEN)
        return one._replace(kind=self.BLIND.get(one.kind, one.kind)) if one.outcome == UNKNOWN else one

    def prepare(self, known, unknown):
        writers = collections.Counter(one.argument for one in known + unknown if one.kind in self.WRITERS)
        for number, one in enumerate(known):
            if one.kind in self.OBSERVERS and writers[one.value] == 1:
                self.observers[one.value] = self.observers.get(one.value, 0) | 1 << number

    def hopeless(self, applied, before, after):
        observers = self.observers.get(before, 0)
        return before != after and observers & applied != observers


class Growing(Plain):
    """Counters, texts and lists to which things are only added. Their size says what must have been before what."""

    FAMILIES = ({"incrby", "get"}, {"append", "strlen", "get"}, {"rpush", "lrange"})

    def __init__(self, known, is_counter):
        """Raises TypeError or ValueError when a reply is none that such a command gives."""
        self.is_counter = is_counter
        values = [one.value for one in known if one.kind in ("get", "lrange") and one.value is not None]
        self.longest = max(values, key=self.size, default=None)
        for one in known:
            self.needed(one)
        # What the known operations need to find, in order; and, for each of these sizes, the mask of all that need less.
        self.sizes, self.smaller = [], [0]

    def size(self, state):
        if self.is_counter:
            return _integer(state)
        return 0 if state is None else len(state)

    def needed(self, one):
        """The size before a known operation."""
        if one.kind in ("get", "lrange"):
            return self.size(one.value)
        added = {"strlen": lambda _: 0, "incrby": int, "append": len, "rpush": lambda _: 1}[one.kind](one.argument)
        return one.value - added

    def prepare(self, known, unknown):
        for size, number in sorted((self.needed(one), number) for number, one in enumerate(known)):
            self.sizes.append(size)
            self.smaller.append(self.smaller[-1] | 1 << number)

    def hopeless(self, applied, before, after):
        size = self.size(after)
        left_behind = self.smaller[bisect.bisect_left(self.sizes, size)]
        if left_behind & applied != left_behind:
            return True
        if self.is_counter or self.longest is None:
            return False
        common = min(size, len(self.longest))
        return after[:common] != self.longest[:common]


def rules_for(known, unknown):
    kinds = {one.kind for one in known + unknown}
    if kinds <= Registers.KINDS:
        return Registers(known)
    if any(kinds <= family for family in Growing.FAMILIES):
        is_counter = "incrby" in kinds
        if not is_counter or all(one.argument >= 0 for one in known + unknown if one.kind == "incrby"):
            try:
                return Growing(known, is_counter)
            except (TypeError, ValueError):
                # The search itself will find what is wrong with that reply.
                pass
    return Plain()


def is_still(one):
    """Whether its reply shows that it has changed nothing, wherever it stands."""
    if one.kind in ("setnx", "setxx", "getdel"):
        return one.value is None
    return one.kind in READS or one.kind == "del" and one.value == 0


class Search:
    """Depth first. `applied` is a bit set over the known operations, `spent` one over those of unknown outcome, both in the order of sending."""

    def __init__(self, known, unknown, bounds):
        self.bounds = bounds
        self.rules = rules_for(known, unknown)
        self.known = sorted(map(self.rules.rename, known), key=lambda one: (one.invoked, one.returned))
        self.unknown = sorted(map(self.rules.rename, unknown), key=lambda one: one.invoked)
        self.rules.prepare(self.known, self.unknown)
        self.still = [is_still(one) for one in self.known]
        self.all = (1 << len(self.known)) - 1
        # Unknown operations that are the same, first sent first.
        alike = {}
        for number, one in enumerate(self.unknown):
            alike.setdefault((one.kind, one.argument), []).append(number)
        self.alike = list(alike.values())
        # (applied, state) -> what was spent to come there.
        self.memory = {}
        self.explored = self.looked = 0
        self.stack = []

    def run(self):
        self.enter(0, 0, 0, None)
        while self.stack:
            first, applied, spent, state, candidates, horizon = self.stack.pop()
            if applied == self.all:
                return Found(True, self.explored)
            why = self.exhausted()
            if why:
                return Found(None, self.explored, why)
            # The most promising last: answered before unknown, first returned before later returned.
            for number in self.unspent(spent, horizon):
                one = self.unknown[number]
                after = step(one, state)
                if after is not None and after[0] != state and not self.rules.hopeless(applied, state, after[0]):
                    self.enter(first, applied, spent | 1 << number, after[0])
            for number in self.different(candidates):
                after = self.fit(number, state)
                now = applied | 1 << number
                if after is not None and not self.rules.hopeless(now, state, after[0]):
                    self.enter(first, now, spent, after[0])
        return Found(False, self.explored)

    def exhausted(self):
        if self.explored > self.bounds.configurations:
            return f"given up after {self.explored:,} configurations"
        self.looked += 1
        if self.looked % CLOCK_EVERY == 0 and time.monotonic() > self.bounds.deadline:
            return f"the time was over after {self.explored:,} configurations"
        return None

    def enter(self, first, applied, spent, state):
        """Puts a configuration on the stack, with all that is still and fits applied; unless there was one that is as good."""
        while True:
            while applied >> first & 1:
                first += 1
            candidates, horizon = self.candidates(first, applied)
            still = [number for number in candidates if self.still[number] and self.fit(number, state)]
            if not still:
                break
            for number in still:
                applied |= 1 << number
        before = self.memory.setdefault((applied, state), set())
        if spent in before or len(before) <= COMPARED_MAX and any(less & spent == less for less in before):
            return
        before.add(spent)
        self.explored += 1
        self.stack.append((first, applied, spent, state, candidates, horizon))

    def candidates(self, first, applied):
        """(known operations that may come next, the moment by which an operation must have been sent to do so)."""
        horizon, numbers = NEVER, []
        for number in range(first, len(self.known)):
            one = self.known[number]
            if one.invoked > horizon:
                break
            if not applied >> number & 1:
                numbers.append(number)
                horizon = min(horizon, one.returned)
        return numbers, horizon

    def different(self, candidates):
        """One of each that are the same, the first returned; this one last."""
        firsts = {}
        for number in candidates:
            one = self.known[number]
            same = (one.kind, one.argument, one.value)
            if same not in firsts or one.returned < self.known[firsts[same]].returned:
                firsts[same] = number
        return sorted(firsts.values(), key=lambda number: -self.known[number].returned)

    def unspent(self, spent, horizon):
        for numbers in self.alike:
            number = next((number for number in numbers if not spent >> number & 1), None)
            if number is not None and self.unknown[number].invoked <= horizon:
                yield number

    def fit(self, number, state):
        """A tuple with the state after a known operation, or None where its reply does not fit."""
        one = self.known[number]
        after = step(one, state)
        return after[:1] if after is not None and after[1] == one.value else None


def step(one, state):
    """(the state after it, the reply), or None where the command refuses such a value."""
    try:
        return STEPS[one.kind](state, one.argument)
    except (TypeError, ValueError):
        return None
