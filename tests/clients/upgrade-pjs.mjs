// @polkadot/api over a change of the rules, on one connection. The chain begins with rules 3 and gets 4.
// usage: node upgrade-pjs.mjs ws://127.0.0.1:9944 [seed of a funded ed25519 account]

import { ApiPromise, Keyring, WsProvider } from "@polkadot/api";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { BOB, assert, finish, limited, seed, step } from "./steps.mjs";

const url = process.argv[2] ?? "ws://127.0.0.1:9944";
await cryptoWaitReady();
const api = await limited(ApiPromise.create({ provider: new WsProvider(url, 500), throwOnConnect: true, noInitWarn: true }), "connect");
let disconnected = 0;
api.on("disconnected", () => (disconnected += 1));
const account = new Keyring({ type: "ed25519", ss58Format: 42 }).addFromSeed(seed());

/** Sends and waits for finality. */
const sent = (transaction) =>
  new Promise((resolve, reject) => {
    transaction
      .signAndSend(account, { nonce: -1 }, (result) => {
        if (result.internalError) reject(result.internalError);
        if (result.isError) reject(new Error(`status ${result.status.type}`));
        if (result.status.isFinalized) resolve(result);
      })
      .catch(reject);
  });
const names = (events) => events.map(({ event }) => `${event.section}.${event.method}`);
const transfer = (value) => api.tx.balances.transferKeepAlive(BOB, value);
let old;

await step("rules 3", async () => {
  assert(api.runtimeVersion.specVersion.toNumber() === 3, `rules ${api.runtimeVersion.specVersion}: started too late`);
  assert(api.tx.utility.forceBatch === undefined, "force_batch is there already");
  old = (await sent(transfer(5_000_000))).status.asFinalized;
  return (await api.rpc.chain.getHeader(old)).number.toString();
});
await step("the client learns of rules 4", async () => {
  while (api.tx.utility.forceBatch === undefined) await new Promise((resolve) => setTimeout(resolve, 200));
  assert(api.runtimeVersion.specVersion.toNumber() === 4, `rules ${api.runtimeVersion.specVersion}`);
  return (await api.rpc.chain.getHeader()).number.toString();
}, 120_000);
await step("a call that the new rules added", async () => {
  const result = await sent(api.tx.utility.forceBatch([transfer(1_000_000), transfer(10n ** 30n), transfer(2_000_000)]));
  const told = names(result.events);
  for (const name of ["utility.ItemFailed", "utility.BatchCompletedWithErrors", "system.ExtrinsicSuccess"]) {
    assert(told.includes(name), told.join());
  }
});
await step("a transfer as before", async () => assert(names((await sent(transfer(3_000_000))).events).includes("balances.Transfer"), "no transfer"));
await step("never disconnected", async () => assert(disconnected === 0, `${disconnected} times`));
await step("a block from before decodes with the old metadata", async () => {
  // The client puts the new metadata into the registry that it began with, and mixes both in what it decoded before: another
  // instance reads the past.
  const reader = await limited(ApiPromise.create({ provider: new WsProvider(url, 500), throwOnConnect: true, noInitWarn: true }), "connect");
  const at = await reader.at(old);
  assert(at.runtimeVersion.specVersion.toNumber() === 3, `rules ${at.runtimeVersion.specVersion}`);
  const told = names(await at.query.system.events());
  assert(told.includes("balances.Transfer"), told.join());
  const block = await reader.derive.chain.getBlock(old);
  assert(block.extrinsics.length === 2 && block.extrinsics[1].extrinsic.method.method === "transferKeepAlive", "another body");
  await reader.disconnect();
});
await api.disconnect();
finish();
