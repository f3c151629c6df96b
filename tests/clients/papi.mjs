// polkadot-api against a node: reads, fees, submit and watch with both kinds of accounts, watchEntries, historic blocks.
// usage: node papi.mjs ws://127.0.0.1:9944

import { Keyring } from "@polkadot/keyring";
import { TypeRegistry } from "@polkadot/types";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { Binary, createClient, Enum } from "polkadot-api";
import { getPolkadotSignerFromPjs } from "polkadot-api/pjs-signer";
import { getPolkadotSigner } from "polkadot-api/signer";
import { getWsProvider } from "polkadot-api/ws";
import { WebSocket } from "ws";
import { ALICE, ALICE_SEED, BOB, assert, finish, limited, signEd25519, step } from "./steps.mjs";

const url = process.argv[2] ?? "ws://127.0.0.1:9944";
const client = createClient(getWsProvider(url, { websocketClass: WebSocket }));
const api = client.getUnsafeApi();
const alice = getPolkadotSigner(ALICE, "Ed25519", (message) => signEd25519(ALICE_SEED, message));
await cryptoWaitReady();
const wallet = new Keyring({ type: "sr25519", ss58Format: 42 }).addFromUri("//Alice");
const walletSigner = getPolkadotSigner(wallet.publicKey, "Sr25519", (message) => wallet.sign(message));
const aliceAddress = new Keyring({ type: "ed25519", ss58Format: 42 }).addFromSeed(ALICE_SEED).address;

const transfer = (value) => api.tx.Balances.transfer_keep_alive({ dest: Enum("Id", BOB), value });
const names = (events) => events.map((event) => `${event.type}.${event.value.type}`);
const taken = (observable, count) =>
  limited(
    new Promise((resolve, reject) => {
      const seen = [];
      const subscription = observable.subscribe({
        next: (item) => {
          seen.push(item);
          if (seen.length === count) {
            setTimeout(() => subscription.unsubscribe());
            resolve(seen);
          }
        },
        error: reject,
      });
    }),
    "observable",
  );

await step("chain spec", async () => {
  const spec = await client.getChainSpecData();
  assert(/^0x[0-9a-f]{64}$/.test(spec.genesisHash), "no genesis hash");
  return spec.name;
});
await step("finalized block", async () => {
  const block = await client.getFinalizedBlock();
  const header = await client.getBlockHeader(block.hash);
  assert(header.number === block.number, "header of another block");
  return block.number;
});
await step("constants", async () => {
  const version = await api.constants.System.Version();
  assert(version.spec_name === "cairn", version.spec_name);
  return `${await api.constants.Balances.ExistentialDeposit()}`;
});
await step("storage value", async () => {
  const account = await api.query.System.Account.getValue(aliceAddress);
  assert(account.data.free > 0n, "no balance");
  return `free=${account.data.free}`;
});
await step("storage values", async () => {
  const accounts = await api.query.System.Account.getValues([[aliceAddress], [BOB]]);
  assert(accounts.length === 2 && accounts[1].data.free > 0n, "not both");
});
await step("storage entries", async () => {
  const entries = await api.query.System.Account.getEntries();
  assert(entries.length >= 12, `${entries.length} accounts`);
  return entries.length;
});
await step("runtime call", async () => `${await api.apis.AccountNonceApi.account_nonce(aliceAddress)}`);
await step("three finalized blocks", async () => {
  const blocks = await taken(client.finalizedBlock$, 3);
  const numbers = blocks.map((block) => block.number);
  assert(numbers[1] === numbers[0] + 1 && numbers[2] === numbers[1] + 1, `gap: ${numbers}`);
  return numbers.join();
});
await step("fee", async () => {
  const fee = await transfer(5_000_000n).getEstimatedFees(aliceAddress);
  assert(fee > 0n, "no fee");
  return `${fee}`;
});
await step("transfer, ed25519", async () => {
  const done = await transfer(5_000_000n).signAndSubmit(alice);
  assert(done.ok, "not ok");
  assert(names(done.events).includes("Balances.Transfer"), names(done.events));
  return names(done.events).join();
});
await step("transfer, sr25519", async () => {
  const done = await transfer(5_000_000n).signAndSubmit(walletSigner);
  assert(done.ok, "not ok");
  return names(done.events).join();
});
await step("submit and watch to finalized", async () => {
  const seen = await limited(
    new Promise((resolve, reject) => {
      const types = [];
      transfer(6_000_000n)
        .signSubmitAndWatch(alice)
        .subscribe({
          next: (event) => {
            types.push(event.type);
            if (event.type === "finalized") resolve(types);
          },
          error: reject,
        });
    }),
    "watch",
  );
  assert(seen[0] === "signed" && seen.includes("broadcasted"), seen);
  return seen.join();
});
await step("immortal, over 256 bytes", async () => {
  const remark = api.tx.System.remark_with_event({ remark: Binary.fromHex ? Binary.fromHex(`0x${"42".repeat(400)}`) : new Uint8Array(400) });
  const done = await remark.signAndSubmit(alice, { mortality: { mortal: false } });
  assert(done.ok, "not ok");
});
await step("failing call: module error", async () => {
  const done = await transfer(10n ** 30n).signAndSubmit(alice);
  assert(!done.ok, "it succeeded");
  const error = done.dispatchError ?? done.events.find((event) => event.value.type === "ExtrinsicFailed")?.value.value.dispatch_error;
  assert(error.value.value.type === "InsufficientBalance", JSON.stringify(error));
});
await step("signer of a browser extension", async () => {
  // What an extension does: a registry of its own, and the payload as JSON.
  const signPayload = async (payload) => {
    const registry = new TypeRegistry();
    registry.setSignedExtensions(payload.signedExtensions);
    const signed = registry.createType("ExtrinsicPayload", payload, { version: payload.version }).sign(wallet);
    return { id: 1, ...signed };
  };
  const signer = getPolkadotSignerFromPjs(wallet.address, signPayload, async () => ({ id: 1, signature: "0x" }));
  const done = await transfer(1_000_000n).signAndSubmit(signer);
  assert(done.ok, "not ok");
});
await step("invalid transaction refused", async () => {
  try {
    await transfer(1n).signAndSubmit(alice, { nonce: 0 });
  } catch (error) {
    return String(error.message).slice(0, 60);
  }
  throw new Error("accepted");
});
await step("watchValue", async () => {
  const values = await taken(api.query.System.Number.watchValue(), 2);
  assert(values.length === 2, "no second value");
});
await step("watchEntries", async () => {
  const observable = api.query.System.Account.watchEntries();
  let sent = false;
  const deltas = await limited(
    new Promise((resolve, reject) => {
      const subscription = observable.subscribe({
        next: ({ deltas, entries }) => {
          if (!sent) {
            sent = true;
            assert(entries.length >= 12, `${entries.length} entries`);
            transfer(7_000_000n).signAndSubmit(alice).catch(reject);
          } else if (deltas !== null) {
            setTimeout(() => subscription.unsubscribe());
            resolve(deltas);
          }
        },
        error: reject,
      });
    }),
    "watchEntries",
  );
  assert(deltas.upserted.length >= 2, "sender and receiver changed");
  return `${deltas.upserted.length} upserted`;
});
await step("historic block", async () => {
  const hash = (await client._request("archive_v1_hashByHeight", [1]))[0];
  const header = await client.getBlockHeader(hash);
  const body = await client.getBlockBody(hash);
  assert(header.number === 1 && body.length >= 1, "not block 1");
  const account = await api.query.System.Account.getValue(aliceAddress, { at: hash });
  assert(account.nonce === 0, `nonce ${account.nonce} at block 1`);
});
client.destroy();
finish();
