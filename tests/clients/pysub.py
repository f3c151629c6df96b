"""substrate-interface against a node.

usage: python pysub.py ws://127.0.0.1:9944
"""

from steps import ALICE_SEED, BOB, URL, finish, step
from substrateinterface import Keypair, KeypairType, SubstrateInterface

chain = SubstrateInterface(url=URL)
alice = Keypair.create_from_seed("0x" + ALICE_SEED, crypto_type=KeypairType.ED25519, ss58_format=42)
wallet = Keypair.create_from_uri("//Alice", ss58_format=42)


def transfer(value):
    return chain.compose_call("Balances", "transfer_keep_alive", {"dest": BOB, "value": value})


def sent(call, signer, **options):
    extrinsic = chain.create_signed_extrinsic(call, signer, **options)
    return chain.submit_extrinsic(extrinsic, wait_for_finalization=True)


def transferred(signer, **options):
    receipt = sent(transfer(5_000_000), signer, **options)
    assert receipt.is_success, receipt.error_message
    names = [f"{event.value['module_id']}.{event.value['event_id']}" for event in receipt.triggered_events]
    assert "Balances.Transfer" in names, names
    assert receipt.total_fee_amount > 0
    return f"fee={receipt.total_fee_amount}"


def long_payload():
    receipt = sent(chain.compose_call("System", "remark_with_event", {"remark": "0x" + "42" * 400}), wallet)
    assert receipt.is_success


def failing():
    receipt = sent(transfer(10**30), alice)
    assert not receipt.is_success and receipt.error_message["name"] == "InsufficientBalance", receipt.error_message


def forged():
    try:
        chain.submit_extrinsic(chain.create_signed_extrinsic(transfer(1), alice, signature="0x" + "11" * 64))
    except Exception as error:
        return str(error)[:60]
    raise AssertionError("accepted")


def accounts():
    count = sum(1 for _ in chain.query_map("System", "Account", page_size=5))
    assert count >= 12, count
    return count


def heads():
    seen = []

    def handler(head, number, _):
        seen.append(head["header"]["number"])
        return seen if number >= 2 else None

    return chain.subscribe_block_headers(handler, finalized_only=True)


def storage():
    return chain.query("Timestamp", "Now", subscription_handler=lambda value, number, _: value.value if number else None)


step("chain", lambda: f"{chain.chain} {chain.properties}")
step("constant", lambda: chain.get_constant("Balances", "ExistentialDeposit").value)
step("account", lambda: chain.query("System", "Account", [alice.ss58_address]).value["data"]["free"])
step("account map", accounts)
step("nonce", lambda: chain.get_account_nonce(alice.ss58_address))
step("fee", lambda: chain.get_payment_info(transfer(5_000_000), alice)["partialFee"])
step("transfer, ed25519, immortal", lambda: transferred(alice))
step("transfer, ed25519, mortal", lambda: transferred(alice, era={"period": 64}))
step("transfer, sr25519 //Alice", lambda: transferred(wallet))
step("sr25519, payload over 256 bytes", long_payload)
step("failing call: module error", failing)
step("forged signature refused", forged)
step("block", lambda: [x.value["call"]["call_module"] for x in chain.get_block()["extrinsics"]])
step("header digest", lambda: list(chain.get_block_header()["header"]["digest"]["logs"][0].value))
step("finalized heads", heads)
step("storage subscription", storage)
step("events of block 1", lambda: len(chain.get_events(chain.get_block_hash(1))))
finish()
