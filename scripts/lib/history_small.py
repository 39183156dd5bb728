"""The exhaustive judge for small histories, and the small histories: nothing of the search's cleverness is used here."""

from history import NEVER, OK, REFUSED, STEPS, UNKNOWN, Operation

# Few different values, so that some are written twice.
VALUES = (b"a", b"b", b"c")
KINDS = {
    "register": ("set", "set", "get", "get", "setnx", "setxx", "getset", "getdel", "del"),
    "plain register": ("set", "get"),
    "counter": ("incrby", "incrby", "get"),
    "text": ("append", "append", "get", "strlen"),
    "list": ("rpush", "rpush", "lrange"),
    # What no family has together.
    "mixed": ("set", "append", "get", "strlen", "del", "getset"),
}
NUMBERS = (1, 1, 2, 3)


def is_explained(operations):
    """Tries every order of every choice of the unknown operations."""
    return _extend([one for one in operations if one.outcome != REFUSED], None)


def _extend(left, state):
    known = [one for one in left if one.outcome == OK]
    if not known:
        return True
    horizon = min(one.returned for one in known)
    for at, one in enumerate(left):
        if one.invoked > horizon:
            continue
        after, reply = STEPS[one.kind](state, one.argument)
        if (one.outcome == UNKNOWN or reply == one.value) and _extend(left[:at] + left[at + 1:], after):
            return True
    return False


def argument_of(kind, source):
    if kind in ("set", "setnx", "setxx", "getset", "append", "rpush"):
        return source.choice(VALUES)
    return source.choice(NUMBERS) if kind == "incrby" else None


def draw(family, source):
    """A history that is in order: each operation takes effect at one moment between its sending and its return, or, unknown, later or never."""
    planned = []
    for client in range(source.randint(2, 7)):
        kind = source.choice(KINDS[family])
        invoked = source.randrange(12)
        returned = invoked + source.randrange(1, 6)
        fate = source.random()
        outcome = OK if fate < 0.65 else UNKNOWN if fate < 0.92 else REFUSED
        effect = {OK: source.uniform(invoked, returned), UNKNOWN: source.uniform(invoked, 25), REFUSED: NEVER}[outcome]
        planned.append((effect, client, Operation(client, kind, argument_of(kind, source), invoked, returned, outcome)))
    state, operations = None, []
    for _, _, one in sorted(planned, key=lambda plan: plan[:2]):
        if one.outcome == OK:
            state, reply = STEPS[one.kind](state, one.argument)
            operations.append(one._replace(value=reply))
            continue
        if one.outcome == UNKNOWN and source.random() < 0.6:
            state, _ = STEPS[one.kind](state, one.argument)
        operations.append(one._replace(returned=NEVER) if one.outcome == UNKNOWN else one)
    return operations


def mutate(operations, source):
    """Changes a reply, an outcome or a time; what comes of it may be in order or not."""
    at = source.randrange(len(operations))
    one = operations[at]
    way = source.random()
    if one.outcome == OK and way < 0.6:
        same = [other.value for other in operations if other.outcome == OK and other.kind == one.kind]
        one = one._replace(value=source.choice(same + [other_reply(one, source)]))
    elif one.outcome == OK and way < 0.8:
        one = one._replace(returned=one.invoked + 0.5)
    elif one.outcome == UNKNOWN:
        one = one._replace(outcome=REFUSED)
    else:
        one = one._replace(invoked=max(one.invoked - 6, 0))
    return operations[:at] + [one] + operations[at + 1:]


def other_reply(one, source):
    """A reply of the kind that the command may give."""
    if isinstance(one.value, int):
        return max(one.value + source.choice((-2, -1, 1, 2)), 0)
    if isinstance(one.value, tuple):
        return source.choice((one.value[:-1], one.value + (source.choice(VALUES),), one.value[::-1]))
    if one.kind in ("setnx", "setxx"):
        return b"OK" if one.value is None else None
    if one.kind == "set":
        return one.value
    return source.choice((None, *VALUES))
