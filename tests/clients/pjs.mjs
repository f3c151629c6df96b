// @polkadot/api against a node: what a wallet and an explorer do, with both kinds of accounts.
// usage: node pjs.mjs ws://127.0.0.1:9944

import { ApiPromise, Keyring, WsProvider } from "@polkadot/api";
import { TypeRegistry } from "@polkadot/types";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { ALICE_SEED, BOB, assert, finish, limited, step } from "./steps.mjs";

const url = process.argv[2] ?? "ws://127.0.0.1:9944";
await cryptoWaitReady();
const api = await limited(ApiPromise.create({ provider: new WsProvider(url, 500), throwOnConnect: true, noInitWarn: true }), "connect");
const alice = new Keyring({ type: "ed25519", ss58Format: 42 }).addFromSeed(ALICE_SEED);
const wallet = new Keyring({ type: "sr25519", ss58Format: 42 }).addFromUri("//Alice");

/** Sends and waits for finality; an error of the call is given back. */
const sent = (transaction, signer, options = {}) =>
  new Promise((resolve, reject) => {
    transaction
      .signAndSend(signer, options, (result) => {
        if (result.internalError) reject(result.internalError);
        if (result.isError) reject(new Error(`status ${result.status.type}`));
        if (result.status.isFinalized) resolve(result);
      })
      .catch(reject);
  });
const names = (result) => result.events.map(({ event }) => `${event.section}.${event.method}`);
const transfer = (value) => api.tx.balances.transferKeepAlive(BOB, value);

await step("connect", async () => `${api.runtimeChain} metadata ${api.runtimeMetadata.version}`);
await step("constant", async () => api.consts.balances.existentialDeposit.toString());
await step("accounts", async () => {
  const account = await api.query.system.account(alice.address);
  assert(!account.data.free.isZero(), "no balance");
  const entries = await api.query.system.account.entries();
  assert(entries.length >= 12, `${entries.length} accounts`);
  return entries.length;
});
await step("header hash", async () => {
  const hash = await api.rpc.chain.getFinalizedHead();
  const header = await api.rpc.chain.getHeader(hash);
  assert(header.hash.eq(hash), "the client computes another hash");
});
await step("finalized heads", () =>
  new Promise((resolve, reject) => {
    const seen = [];
    const ended = api.rpc.chain.subscribeFinalizedHeads((header) => {
      seen.push(header.number.toNumber());
      if (seen.length === 3) ended.then((end) => end()).then(() => resolve(seen.join()), reject);
    });
  }),
);
await step("fee", async () => (await transfer(5_000_000).paymentInfo(alice)).partialFee.toString());
await step("transfer, ed25519, mortal", async () => {
  const result = await sent(transfer(5_000_000), alice);
  assert(names(result).includes("balances.Transfer") && names(result).includes("system.ExtrinsicSuccess"), names(result));
});
await step("transfer, sr25519 //Alice", async () => {
  const before = (await api.query.system.account(wallet.address)).data.free.toBigInt();
  const result = await sent(transfer(5_000_000), wallet);
  assert(names(result).includes("system.ExtrinsicSuccess"), names(result));
  const after = (await api.query.system.account(wallet.address)).data.free.toBigInt();
  assert(before - after > 5_000_000n, "nothing was paid");
});
await step("sr25519, payload over 256 bytes", async () => {
  await sent(api.tx.system.remarkWithEvent(`0x${"42".repeat(400)}`), wallet);
});
await step("immortal, nonce of the node, tip", async () => {
  await sent(transfer(7_000_000), alice, { era: 0, nonce: -1, tip: 1_000 });
});
await step("batch", async () => {
  const result = await sent(api.tx.utility.batchAll([transfer(1_000_000), transfer(2_000_000)]), alice);
  assert(names(result).filter((name) => name === "balances.Transfer").length === 2, names(result));
});
await step("failing call: module error", async () => {
  const result = await sent(transfer(10n ** 30n), alice);
  const error = api.registry.findMetaError(result.dispatchError.asModule);
  assert(error.name === "InsufficientBalance", error.name);
});
await step("forged signatures refused", async () => {
  for (const signer of [alice, wallet]) {
    const text = (await api.tx.system.remark("0x00").signAsync(signer)).toHex();
    const forged = text.slice(0, 90) + (text[90] === "0" ? "1" : "0") + text.slice(91);
    const refused = await api.rpc.author.submitExtrinsic(forged).then(() => null, (error) => error);
    assert(refused?.message.includes("1010"), "accepted");
  }
});
await step("signer of a browser extension", async () => {
  // What an extension does: a registry of its own, and the payload as JSON.
  const signer = {
    signPayload: async (payload) => {
      const registry = new TypeRegistry();
      registry.setSignedExtensions(payload.signedExtensions);
      return { id: 1, ...registry.createType("ExtrinsicPayload", payload, { version: payload.version }).sign(wallet) };
    },
  };
  await sent(transfer(1_000_000), wallet.address, { signer });
});
await step("block and derived calls", async () => {
  const block = await api.derive.chain.getBlock(await api.rpc.chain.getFinalizedHead());
  assert(block.extrinsics[0].extrinsic.method.section === "timestamp", "no timestamp");
  const balances = await api.derive.balances.all(alice.address);
  assert(balances.freeBalance.gtn(0), "no balance");
  await api.derive.accounts.info(alice.address);
  await api.derive.tx.signingInfo(alice.address);
  await api.rpc.author.pendingExtrinsics();
});
await step("what an explorer derives", async () => {
  const first = (subscribe) =>
    new Promise((resolve, reject) => {
      const ended = subscribe((value) => ended.then((end) => end()).then(() => resolve(value), reject));
      ended.catch(reject);
    });
  const header = await first((tell) => api.derive.chain.subscribeNewHeads(tell));
  const best = await first((tell) => api.derive.chain.bestNumber(tell));
  const final = await first((tell) => api.derive.chain.bestNumberFinalized(tell));
  await first((tell) => api.derive.chain.bestNumberLag(tell));
  assert(final.lte(best) && best.gten(header.number.toNumber()), `${header.number} ${best} ${final}`);
  assert((await api.derive.chain.getHeader(header.hash)).number.eq(header.number), "another header");
  // The certificate comes as a justification under the engine of this chain.
  const { justifications } = await api.rpc.chain.getBlock(await api.rpc.chain.getFinalizedHead());
  assert(justifications.isSome && justifications.unwrap()[0][0].toUtf8() === "CARN", "no justification");
  await api.derive.balances.account(alice.address);
  const accounts = await api.derive.balances.all(wallet.address);
  assert(accounts.transferable === undefined || !accounts.availableBalance.isZero(), "nothing is transferable");
});
await step("historic state", async () => {
  const at = await api.at(await api.rpc.chain.getBlockHash(1));
  assert((await at.query.system.number()).toNumber() === 1, "another block");
});
await step("runtime call", async () => (await api.call.accountNonceApi.accountNonce(alice.address)).toString());
await step("storage subscription", () =>
  new Promise((resolve, reject) => {
    let count = 0;
    const ended = api.query.timestamp.now(() => {
      count += 1;
      if (count === 2) ended.then((end) => end()).then(() => resolve(), reject);
    });
  }),
);
await api.disconnect();
finish();
