// polkadot-api over a change of the rules, on one connection. The chain begins with rules 3 and gets 4.
// usage: node upgrade-papi.mjs ws://127.0.0.1:9944 [seed of a funded ed25519 account]

import { Keyring } from "@polkadot/keyring";
import { createClient, Enum } from "polkadot-api";
import { getPolkadotSigner } from "polkadot-api/signer";
import { getWsProvider } from "polkadot-api/ws";
import { WebSocket } from "ws";
import { BOB, assert, finish, seed, signEd25519, step } from "./steps.mjs";

const url = process.argv[2] ?? "ws://127.0.0.1:9944";
let connections = 0;
class Counted extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    connections += 1;
  }
}
const client = createClient(getWsProvider(url, { websocketClass: Counted }));
const api = client.getUnsafeApi();
const { publicKey } = new Keyring({ type: "ed25519" }).addFromSeed(seed());
const account = getPolkadotSigner(publicKey, "Ed25519", (message) => signEd25519(seed(), message));
const transfer = (value) => api.tx.Balances.transfer_keep_alive({ dest: Enum("Id", BOB), value });
const names = (events) => events.map((event) => `${event.type}.${event.value.type}`);
const version = async () => (await api.constants.System.Version()).spec_version;
let old;

await step("rules 3", async () => {
  assert((await version()) === 3, `rules ${await version()}: started too late`);
  const done = await transfer(5_000_000n).signAndSubmit(account);
  assert(done.ok, "not ok");
  old = done.block;
  return old.number;
});
await step("the client learns of rules 4", async () => {
  while ((await version()) !== 4) await new Promise((resolve) => setTimeout(resolve, 200));
  return (await client.getFinalizedBlock()).number;
}, 120_000);
await step("a call that the new rules added", async () => {
  const calls = [1_000_000n, 10n ** 30n, 2_000_000n].map((value) => transfer(value).decodedCall);
  const done = await api.tx.Utility.force_batch({ calls }).signAndSubmit(account);
  const told = names(done.events);
  assert(done.ok && told.includes("Utility.ItemFailed") && told.includes("Utility.BatchCompletedWithErrors"), told.join());
});
await step("a transfer as before", async () => assert((await transfer(3_000_000n).signAndSubmit(account)).ok, "not ok"));
await step("a block from before decodes with the old metadata", async () => {
  const events = await api.query.System.Events.getValue({ at: old.hash });
  const told = names(events.map(({ event }) => event));
  assert(told.includes("Balances.Transfer"), told.join());
  const bob = await api.query.System.Account.getValue(BOB, { at: old.hash });
  assert(bob.data.free > 0n, "no balance");
  assert((await client.getBlockBody(old.hash)).length === 2, "another body");
});
await step("one connection", async () => assert(connections === 1, `${connections} connections`));
client.destroy();
finish();
