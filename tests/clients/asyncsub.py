"""async-substrate-interface against a node: its asynchronous and its synchronous class.

usage: python asyncsub.py ws://127.0.0.1:9944
"""

import asyncio

from account import Account
from async_substrate_interface import AsyncSubstrateInterface, SubstrateInterface
from steps import ALICE_SEED, BOB, URL, event_names, failed, finish, told
from steps import step as sync_step

STEP_SECONDS = 40
ALICE = Account(ALICE_SEED)


async def step(name, run):
    try:
        told(name, await asyncio.wait_for(run(), STEP_SECONDS))
    except Exception as error:
        failed(name, error)


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
finish()
