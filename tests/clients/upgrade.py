"""A Python client over a change of the rules, on one connection. The chain begins with rules 3 and gets 4.

usage: python upgrade.py ws://127.0.0.1:9944 [seed of a funded ed25519 account], with the packages of requirements-pysub.txt or requirements-asyncsub.txt
"""

import sys
import time

from steps import ALICE_SEED, BOB, URL, event_names, finish, step

SEED = sys.argv[2] if len(sys.argv) > 2 else ALICE_SEED
WAIT_SECONDS = 120

try:
    from substrateinterface import Keypair, KeypairType, SubstrateInterface

    account = Keypair.create_from_seed("0x" + SEED, crypto_type=KeypairType.ED25519, ss58_format=42)
except ImportError:
    from account import Account
    from async_substrate_interface import SubstrateInterface

    account = Account(SEED)

chain = SubstrateInterface(url=URL)
old = {}


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
    names = event_names(sent(chain.compose_call("Utility", "force_batch", {"calls": calls})).triggered_events)
    assert "Utility.ItemFailed" in names and "Utility.BatchCompletedWithErrors" in names, names


def history():
    names = event_names(chain.get_events(old["block"]))
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
finish()
