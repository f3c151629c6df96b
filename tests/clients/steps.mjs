// Steps of an acceptance run: each prints PASS or FAIL, the last line says whether all passed.

import { createPrivateKey, sign } from "node:crypto";

/** How long one step may take. */
const STEP_MS = Number(process.env.STEP_MS ?? 30_000);

let failures = 0;

export const limited = (promise, what, ms = STEP_MS) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer in ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

export async function step(name, run, ms = STEP_MS) {
  try {
    const told = await limited(run(), name, ms);
    console.log("PASS", name, told ?? "");
  } catch (error) {
    failures += 1;
    console.log("FAIL", name, "->", String(error?.message ?? error).split("\n")[0]);
  }
}

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

export function finish() {
  console.log(failures === 0 ? "ALL PASS" : `${failures} FAILED`);
  process.exit(failures === 0 ? 0 : 1);
}

/** The ed25519 seed of the development account //Alice. */
export const ALICE_SEED = Buffer.from("abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115", "hex");
/** The seed in the second argument; that of //Alice without one. */
export const seed = () => (process.argv[3] ? Buffer.from(process.argv[3], "hex") : ALICE_SEED);
/** The public key of //Alice. */
export const ALICE = Buffer.from("88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee", "hex");
/** The account of //Bob, ed25519. */
export const BOB = "5GoNkf6WdbxCFnPdAnYYQyCjAKPJgLNxXwPjwTh6DGg6gN3E";

/** Signs with an ed25519 seed. */
export function signEd25519(seed, message) {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  return new Uint8Array(sign(null, message, createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })));
}
