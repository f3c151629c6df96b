"""async-substrate-interface against a node: its asynchronous and its synchronous class.

usage: python asyncsub.py ws://127.0.0.1:9944
"""

import asyncio
import sys

from async_substrate_interface import AsyncSubstrateInterface, SubstrateInterface
from nacl.signing import SigningKey

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9944"
STEP_SECONDS = 40
BOB = "5GoNkf6WdbxCFnPdAnYYQyCjAKPJgLNxXwPjwTh6DGg6gN3E"
failures = 0


class Alice:
    """The ed25519 development account //Alice."""

    crypto_type = 0
    ss58_format = 42
    ss58_address = "5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu"

    def __init__(self):
        self._key = SigningKey(bytes.fromhex("abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115"))
        self.public_key = bytes(self._key.verify_key)

    def sign(self, data):
        if isinstance(data, str):
            data = bytes.fromhex(data.removeprefix("0x"))
        return self._key.sign(bytes(getattr(data, "data", data))).signature


ALICE = Alice()


def told(name, outcome):
    print("PASS", name, "" if outcome is None else outcome)


def failed(name, error):
    global failures
    failures += 1
    print("FAIL", name, "->", type(error).__name__, str(error)[:200])


async def step(name, run):
    try:
        told(name, await asyncio.wait_for(run(), STEP_SECONDS))
    except Exception as error:
        failed(name, error)


def sync_step(name, run):
    try:
        told(name, run())
    except Exception as error:
        failed(name, error)


def event_names(events):
    names = []
    for event in events:
        value = event if isinstance(event, dict) else event.value
        inner = value.get("event", value)
        names.append(f"{inner['module_id']}.{inner['event_id']}")
    return names


async def asynchronous():
    async with AsyncSubstrateInterface(url=URL) as chain:
        async def transfer(value, wait, **options):
            call = await chain.compose_call("Balances", "transfer_keep_alive", {"dest": BOB, "value": value})
            extrinsic = await chain.create_signed_extrinsic(call, ALICE, **options)
            return await chain.submit_extrinsic(extrinsic, wait_for_finalization=wait)

        async def connect():
            return f"{await chain.get_chain_head()} {await chain.get_chain_finalised_head()}"

        async def account():
            found = await chain.query("System", "Account", [ALICE.ss58_address])
            value = found if isinstance(found, dict) else found.value
            assert value["data"]["free"] > 0
            return f"nonce={value['nonce']}"

        async def constant():
            return await chain.get_constant("Balances", "ExistentialDeposit")

        async def accounts():
            found = await chain.query_map("System", "Account", page_size=4)
            count = 0
            async for _ in found:
                count += 1
            assert count >= 12, count
            return count

        async def all_accounts():
            found = await chain.query_map("System", "Account", page_size=5, fully_exhaust=True)
            count = 0
            async for _ in found:
                count += 1
            assert count >= 12, count
            return count

        async def runtime_call():
            return await chain.runtime_call("AccountNonceApi", "account_nonce", [ALICE.ss58_address])

        async def fee():
            call = await chain.compose_call("Balances", "transfer_keep_alive", {"dest": BOB, "value": 5_000_000})
            return await chain.get_payment_info(call, ALICE)

        async def finalized():
            receipt = await transfer(5_000_000, True)
            assert await receipt.is_success, await receipt.error_message
            names = event_names(await receipt.triggered_events)
            assert "Balances.Transfer" in names, names
            return names

        async def mortal():
            receipt = await transfer(5_000_000, True, era={"period": 64})
            assert await receipt.is_success

        async def failing():
            receipt = await transfer(10**30, True)
            assert not await receipt.is_success
            error = await receipt.error_message
            assert error["name"] == "InsufficientBalance", error

        async def refused():
            try:
                await transfer(1, False, nonce=0)
            except Exception as error:
                return str(error)[:80]
            raise AssertionError("accepted")

        async def block():
            found = await chain.get_block(block_number=1)
            assert found["header"]["number"] == 1
            return len(found["extrinsics"])

        async def heads():
            seen = []

            async def handler(head, *_):
                seen.append(head["header"]["number"] if "header" in head else head["number"])
                return seen if len(seen) == 3 else None

            return await chain.subscribe_block_headers(handler, finalized_only=True)

        for name, run in [
            ("connect", connect),
            ("account", account),
            ("constant", constant),
            ("account map", accounts),
            ("account map, all at once", all_accounts),
            ("runtime call", runtime_call),
            ("fee", fee),
            ("transfer to finalized", finalized),
            ("transfer, mortal", mortal),
            ("failing call: module error", failing),
            ("invalid transaction refused", refused),
            ("historic block", block),
            ("finalized heads", heads),
        ]:
            await step(name, run)


def synchronous():
    with SubstrateInterface(url=URL) as chain:
        def transfer():
            call = chain.compose_call("Balances", "transfer_keep_alive", {"dest": BOB, "value": 5_000_000})
            receipt = chain.submit_extrinsic(chain.create_signed_extrinsic(call, ALICE), wait_for_finalization=True)
            assert receipt.is_success, receipt.error_message

        def account():
            found = chain.query("System", "Account", [ALICE.ss58_address])
            return (found if isinstance(found, dict) else found.value)["nonce"]

        def accounts():
            count = sum(1 for _ in chain.query_map("System", "Account", page_size=4))
            assert count >= 12, count
            return count

        sync_step("sync account", account)
        sync_step("sync account map", accounts)
        sync_step("sync transfer to finalized", transfer)
        sync_step("sync block", lambda: chain.get_block(block_number=1)["header"]["number"])


asyncio.run(asynchronous())
synchronous()
print("ALL PASS" if failures == 0 else f"{failures} FAILED")
sys.exit(0 if failures == 0 else 1)
