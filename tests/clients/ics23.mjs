// ICS-23 proofs of a node against the npm package @confio/ics23: presence and absence, and that changed ones are refused.
// usage: node ics23.mjs ws://127.0.0.1:9944

import { ics23, verifyMembership } from "@confio/ics23";
import { verifyAbsence } from "./absence.mjs";
import { assert, finish, step } from "./steps.mjs";

const url = (process.argv[2] ?? "ws://127.0.0.1:9944").replace(/^ws/, "http");
const text = (value) => Uint8Array.from(Buffer.from(value));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex.slice(2), "hex"));
const hex = (value) => `0x${Buffer.from(value).toString("hex")}`;

async function call(method, params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  const { result, error } = await answer.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

const flipped = (value) => Uint8Array.from(value, (byte, place) => (place === 0 ? byte ^ 1 : byte));
const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const { SHA256 } = ics23.HashOp;

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
    emptyChild: text("SPARSE_MERKLE_PLACEHOLDER_HASH__"),
    hash: SHA256,
  },
  maxDepth: 256,
};

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
  for (const { key, value, proof } of has) {
    assert(!verifyMembership(proof, spec, root, key, flipped(value)), "value");
    assert(!verifyMembership(proof, spec, root, flipped(key), value), "key");
    assert(!verifyMembership(proof, spec, flipped(root), key, value), "root");
  }
});
await step("absence", async () => {
  assert(lacks.length === absent.length, `${lacks.length} absent`);
  for (const { key, proof } of lacks) assert(verifyAbsence(proof, spec, root, key), hex(key));
  return lacks.length;
});
await step("absence of what is there, of another key and under another root refused", async () => {
  const rights = [...new Map(lacks.map(({ proof: { nonexist } }) => [hex(nonexist.right?.key ?? []), nonexist.right])).values()];
  for (const { key, proof } of lacks) {
    for (const { key } of has) assert(!verifyAbsence(proof, spec, root, key), hex(key));
    assert(!verifyAbsence(proof, spec, flipped(root), key), "root");
    // A proof is about all keys between two leaves: those beyond need another one, and no leaf may be left out between.
    const { left, right } = proof.nonexist;
    const other = lacks.find((other) => !isSame(other.proof.nonexist.left, left));
    assert(!verifyAbsence(proof, spec, root, other.key), "key");
    for (const far of rights) {
      assert(isSame(far, right) || !verifyAbsence({ nonexist: { left, right: far } }, spec, root, key), "neighbours");
    }
    assert(!left || !right || !verifyAbsence({ nonexist: { left } }, spec, root, key), "last leaf");
    assert(!left || !right || !verifyAbsence({ nonexist: { right } }, spec, root, key), "first leaf");
  }
});
finish();
