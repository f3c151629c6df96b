// ICS-23 proofs of a node against the npm package @confio/ics23: presence and absence, and that changed ones are refused.
// usage: node ics23.mjs ws://127.0.0.1:9944

import { ics23, verifyMembership, verifyNonMembership } from "@confio/ics23";
import { createHash } from "node:crypto";
import { assert, finish, step } from "./steps.mjs";

const url = (process.argv[2] ?? "ws://127.0.0.1:9944").replace(/^ws/, "http");
const text = (value) => Uint8Array.from(Buffer.from(value));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex.slice(2), "hex"));
const hex = (value) => `0x${Buffer.from(value).toString("hex")}`;
const sha256 = (value) => Uint8Array.from(createHash("sha256").update(value).digest());

async function call(method, params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  const { result, error } = await answer.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

const EMPTY = text("SPARSE_MERKLE_PLACEHOLDER_HASH__");
const { SHA256, NO_HASH } = ics23.HashOp;

/** The specification of the tree, as docs/state.md publishes it. */
const spec = {
  leafSpec: {
    hash: SHA256,
    prehashKey: SHA256,
    prehashValue: SHA256,
    length: ics23.LengthOp.NO_PREFIX,
    prefix: text("JMT::LeafNode"),
  },
  innerSpec: {
    childOrder: [0, 1],
    childSize: 32,
    minPrefixLength: 16,
    maxPrefixLength: 16,
    emptyChild: EMPTY,
    hash: SHA256,
  },
  maxDepth: 256,
};

// The tree orders keys by their hashes. This version of the package compares the keys themselves and knows no
// `prehash_key_before_comparison`, so of an absence proof everything is stated about the hashes.
const specOfHashes = { ...spec, leafSpec: { ...spec.leafSpec, prehashKey: NO_HASH } };
const hashed = (exist) => {
  if (!exist) return undefined;
  const { hash, prehashValue, length, prefix } = exist.leaf;
  const leaf = { hash, prehashKey: NO_HASH, prehashValue, length, prefix };
  return { key: sha256(exist.key), value: exist.value, leaf, path: exist.path };
};
const ofHashes = (proof, key) => ({
  nonexist: { key: sha256(key), left: hashed(proof.nonexist.left), right: hashed(proof.nonexist.right) },
});

/** Nor does it know that an empty sibling is no neighbour. */
const hasEmptySibling = (exist) =>
  (exist?.path ?? []).some((op) => [op.prefix?.slice(16), op.suffix].some((side) => side && Buffer.from(EMPTY).equals(side)));

const head = await call("chain_getFinalizedHead", []);
const present = await call("state_getKeysPaged", ["0x", 200, null, head]);
const absent = Array.from({ length: 200 }, (_, number) => hex(text(`absent ${number}`)));
const proved = await call("cairn_getProof", [[...present, ...absent], head]);
const root = bytes(proved.block.stateRoot);
const items = proved.items.map(({ key, value, ics23: proof }) => ({
  key: bytes(key),
  value: value && bytes(value),
  proof: ics23.CommitmentProof.decode(bytes(proof)),
}));
const [has, lacks] = [items.filter(({ value }) => value), items.filter(({ value }) => !value)];

await step("presence", async () => {
  assert(has.length === present.length && has.length > 10, `${has.length} values`);
  for (const { key, value, proof } of has) assert(verifyMembership(proof, spec, root, key, value), hex(key));
  return has.length;
});
await step("presence of another value, key or root refused", async () => {
  const flipped = (value) => Uint8Array.from(value, (byte, place) => (place === 0 ? byte ^ 1 : byte));
  for (const { key, value, proof } of has) {
    assert(!verifyMembership(proof, spec, root, key, flipped(value)), "value");
    assert(!verifyMembership(proof, spec, root, flipped(key), value), "key");
    assert(!verifyMembership(proof, spec, flipped(root), key, value), "root");
  }
});
await step("absence", async () => {
  assert(lacks.length === absent.length, `${lacks.length} absent`);
  const able = lacks.filter(({ proof: { nonexist } }) => !hasEmptySibling(nonexist.left) && !hasEmptySibling(nonexist.right));
  assert(able.length > 0, "no proof without an empty sibling");
  for (const { key, proof } of able) {
    assert(verifyNonMembership(ofHashes(proof, key), specOfHashes, root, sha256(key)), hex(key));
  }
  return `${able.length} of ${lacks.length}; the others have an empty sibling`;
});
await step("absence of what is there refused", async () => {
  for (const { key } of has) {
    for (const { proof } of lacks) assert(!verifyNonMembership(ofHashes(proof, key), specOfHashes, root, sha256(key)), hex(key));
  }
});
finish();
