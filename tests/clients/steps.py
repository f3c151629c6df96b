"""Steps of an acceptance run: each prints PASS or FAIL, the last line says whether all passed."""

import sys

# The ed25519 seed of the development account //Alice.
ALICE_SEED = "abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115"
# The account of //Bob, ed25519.
BOB = "5GoNkf6WdbxCFnPdAnYYQyCjAKPJgLNxXwPjwTh6DGg6gN3E"
# Where the node is: the first argument.
URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9944"

_failures = 0


def told(name, outcome):
    print("PASS", name, "" if outcome is None else outcome)


def failed(name, error):
    global _failures
    _failures += 1
    print("FAIL", name, "->", type(error).__name__, str(error)[:200])


def step(name, run):
    try:
        told(name, run())
    except Exception as error:
        failed(name, error)


def finish():
    print("ALL PASS" if _failures == 0 else f"{_failures} FAILED")
    sys.exit(0 if _failures == 0 else 1)


def value_of(found):
    """What a query found, which some clients put in an object."""
    return found if isinstance(found, (dict, list, str, int)) else found.value


def event_names(events):
    names = []
    for event in events:
        value = value_of(event)
        inner = value.get("event", value)
        names.append(f"{inner['module_id']}.{inner['event_id']}")
    return names
