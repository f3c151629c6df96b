"""A Python client over a change of the rules, on one connection. The chain begins with rules 3 and gets 4.

usage: python upgrade.py ws://127.0.0.1:9944 [seed of a funded ed25519 account], with the packages of requirements-pysub.txt or requirements-asyncsub.txt
"""

import hashlib
import sys
import time

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9944"
BOB = "5GoNkf6WdbxCFnPdAnYYQyCjAKPJgLNxXwPjwTh6DGg6gN3E"
ALICE = "abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115"
SEED = sys.argv[2] if len(sys.argv) > 2 else ALICE
WAIT_SECONDS = 120
failures = 0

try:
    from substrateinterface import Keypair, KeypairType, SubstrateInterface

    account = Keypair.create_from_seed("0x" + SEED, crypto_type=KeypairType.ED25519, ss58_format=42)
except ImportError:
    from async_substrate_interface import SubstrateInterface
    from nacl.signing import SigningKey

    def ss58(public_key):
        """The address with prefix 42: prefix, key and two bytes of a hash, in base 58."""
        text = bytes([42]) + public_key
        number = int.from_bytes(text + hashlib.blake2b(b"SS58PRE" + text).digest()[:2], "big")
        digits = ""
        while number:
            number, digit = divmod(number, 58)
            digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + digits
        return digits

    class Account:
        """An ed25519 account."""

        crypto_type = 0
        ss58_format = 42

        def __init__(self):
            self._key = SigningKey(bytes.fromhex(SEED))
            self.public_key = bytes(self._key.verify_key)
            self.ss58_address = ss58(self.public_key)

        def sign(self, data):
            if isinstance(data, str):
                data = bytes.fromhex(data.removeprefix("0x"))
            return self._key.sign(bytes(getattr(data, "data", data))).signature

    account = Account()

chain = SubstrateInterface(url=URL)
old = {}


def step(name, run):
    global failures
    try:
        outcome = run()
        print("PASS", name, "" if outcome is None else outcome)
    except Exception as error:
        failures += 1
        print("FAIL", name, "->", type(error).__name__, str(error)[:160])


def value_of(found):
    return found if isinstance(found, (dict, list, str, int)) else found.value


def names_of(events):
    names = []
    for event in events:
        value = value_of(event)
        inner = value.get("event", value)
        names.append(f"{inner['module_id']}.{inner['event_id']}")
    return names


def transfer(value):
    return chain.compose_call("Balances", "transfer_keep_alive", {"dest": BOB, "value": value})


def sent(call):
    receipt = chain.submit_extrinsic(chain.create_signed_extrinsic(call, account), wait_for_finalization=True)
    assert receipt.is_success, receipt.error_message
    return receipt


def version(block=None):
    return chain.rpc_request("state_getRuntimeVersion", [block])["result"]["specVersion"]


def before():
    assert version() == 3, f"rules {version()}: started too late"
    old["block"] = sent(transfer(5_000_000)).block_hash
    try:
        chain.compose_call("Utility", "force_batch", {"calls": [transfer(1)]})
    except Exception:
        return old["block"]
    raise AssertionError("force_batch is there already")


def learns():
    # These clients ask for the version at the parent of the newest block: they learn of a change one block after it.
    deadline = time.monotonic() + WAIT_SECONDS
    while version(chain.rpc_request("chain_getHeader", [])["result"]["parentHash"]) != 4:
        assert time.monotonic() < deadline, "no upgrade"
        time.sleep(0.2)


def force_batch():
    calls = [transfer(1_000_000), transfer(10**30), transfer(2_000_000)]
    names = names_of(sent(chain.compose_call("Utility", "force_batch", {"calls": calls})).triggered_events)
    assert "Utility.ItemFailed" in names and "Utility.BatchCompletedWithErrors" in names, names


def history():
    names = names_of(chain.get_events(old["block"]))
    assert "Balances.Transfer" in names, names
    assert len(chain.get_block(old["block"])["extrinsics"]) == 2
    assert version(old["block"]) == 3


def again():
    sent(transfer(3_000_000))


step("rules 3", before)
step("the client learns of rules 4", learns)
step("a call that the new rules added", force_batch)
step("a transfer as before", again)
step("a block from before decodes with the old metadata", history)
step("a transfer after that", again)
chain.close()
print("ALL PASS" if failures == 0 else f"{failures} FAILED")
sys.exit(0 if failures == 0 else 1)
