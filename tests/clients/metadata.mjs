// Writes the newest metadata of a node to a file. usage: node metadata.mjs ws://127.0.0.1:9944 metadata.scale

import { writeFileSync } from "node:fs";
import { WebSocket } from "ws";

const [url = "ws://127.0.0.1:9944", file = "metadata.scale"] = process.argv.slice(2);
const socket = new WebSocket(url);
const call = (name, input) =>
  new Promise((resolve, reject) => {
    socket.once("message", (text) => {
      const { result, error } = JSON.parse(text);
      if (error) reject(new Error(error.message));
      else resolve(Buffer.from(result.slice(2), "hex"));
    });
    socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "state_call", params: [name, input] }));
  });
await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
const version = Buffer.alloc(4);
version.writeUInt32LE(16);
// Some(bytes): a tag and a compact length before the metadata.
const answer = await call("Metadata_metadata_at_version", `0x${version.toString("hex")}`);
const metadata = answer.subarray(1 + [1, 2, 4][answer[1] & 3]);
if (metadata.subarray(0, 4).toString() !== "meta") throw new Error("this is no metadata");
writeFileSync(file, metadata);
socket.close();
