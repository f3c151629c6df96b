// That a key has no value, by an ICS-23 proof: each neighbour is verified by @confio/ics23, what lies between them here.
//
// The package (0.6.8, its last version) orders keys as they are, where the tree orders them by their hashes, and takes an empty
// subtree beside a path for a neighbour. So it cannot judge proofs of absence of a sparse tree itself.

import { verifyMembership } from "@confio/ics23";
import { createHash } from "node:crypto";

const PREFIX_BYTES = 16;
const HASH_BYTES = 32;

const order = (key) => createHash("sha256").update(key).digest();
const same = (a, b) => Buffer.from(a ?? []).equals(Buffer.from(b ?? []));

/** Which side of its sibling a step of a path comes from, and the sibling. */
function side({ prefix, suffix }) {
  const isLeft = prefix.length === PREFIX_BYTES && suffix?.length === HASH_BYTES;
  const isRight = prefix.length === PREFIX_BYTES + HASH_BYTES && !suffix?.length;
  if (isLeft === isRight) throw new Error("a step is neither left nor right");
  return { isLeft, sibling: isLeft ? suffix : prefix.slice(PREFIX_BYTES) };
}

/** Whether a path leads to the last leaf (or the first one) of its subtree: beside it there is nothing. */
const isLast = (path, spec) => path.map(side).every(({ isLeft, sibling }) => !isLeft || same(sibling, spec.innerSpec.emptyChild));
const isFirst = (path, spec) => path.map(side).every(({ isLeft, sibling }) => isLeft || same(sibling, spec.innerSpec.emptyChild));

/** Whether nothing lies between two leaves, whose paths go from the leaf up to the root. */
function areNeighbours(left, right, spec) {
  let [ofLeft, ofRight] = [left.length, right.length];
  while (ofLeft > 0 && ofRight > 0 && same(left[ofLeft - 1].prefix, right[ofRight - 1].prefix) && same(left[ofLeft - 1].suffix, right[ofRight - 1].suffix)) {
    [ofLeft, ofRight] = [ofLeft - 1, ofRight - 1];
  }
  if (ofLeft === 0 || ofRight === 0) return false;
  const [fromLeft, fromRight] = [side(left[ofLeft - 1]), side(right[ofRight - 1])];
  const part = fromLeft.isLeft && !fromRight.isLeft;
  return part && isLast(left.slice(0, ofLeft - 1), spec) && isFirst(right.slice(0, ofRight - 1), spec);
}

/** Whether the proof shows that `key` has no value in the tree with this root. */
export function verifyAbsence({ nonexist }, spec, root, key) {
  const { left, right } = nonexist ?? {};
  if (!left && !right) return false;
  for (const exist of [left, right]) {
    if (exist && !verifyMembership({ exist }, spec, root, exist.key, exist.value)) return false;
  }
  if (left && Buffer.compare(order(left.key), order(key)) >= 0) return false;
  if (right && Buffer.compare(order(key), order(right.key)) >= 0) return false;
  if (!left) return isFirst(right.path, spec);
  if (!right) return isLast(left.path, spec);
  return areNeighbours(left.path, right.path, spec);
}
