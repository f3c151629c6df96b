// A libp2p node in JavaScript, written by nobody here, against a Cairn node: it connects, identifies, pings, walks
// Kademlia, subscribes to finalized blocks, and checks the bytes of those that come.
//
//   node check.mjs <http URL of the node's JSON-RPC> [<multiaddress of the node>]
//
// Prints a line for each step and ends with 0, or says what failed and ends with 1.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@chainsafe/libp2p-gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { blake2b } from '@noble/hashes/blake2b'
import { createLibp2p } from 'libp2p'

// The packages use what came with node 22.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((one, other) => { [resolve, reject] = [one, other] })
  return { promise, resolve, reject }
}

const PATIENCE_MS = 60_000
const BLOCKS = 3

const [url, given] = process.argv.slice(2)
const hex = (bytes) => '0x' + Buffer.from(bytes).toString('hex')

async function rpc (method, ...params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const { result, error } = await response.json()
  assert.equal(error, undefined, `${method}: ${JSON.stringify(error)}`)
  return result
}

// SCALE, as far as a block needs it.
class Reader {
  constructor (bytes) { this.bytes = bytes; this.at = 0 }

  take (length) {
    assert.ok(this.at + length <= this.bytes.length, 'the message is too short')
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  compact () {
    const mode = this.bytes[this.at] & 3
    if (mode === 0) return this.take(1)[0] >> 2
    const view = Buffer.from(this.take(mode === 1 ? 2 : 4))
    assert.ok(mode < 3, 'a number beyond 2^30 where none can be')
    return (mode === 1 ? view.readUInt16LE() : view.readUInt32LE()) >>> 2
  }

  list (item) { return Array.from({ length: this.compact() }, item) }

  blob () { return this.take(this.compact()) }
}

function digestItem (reader) {
  const tag = reader.take(1)[0]
  if (tag === 4 || tag === 5 || tag === 6) reader.take(4)
  else assert.ok(tag === 0, `an unknown digest item ${tag}`)
  reader.blob()
}

function finalizedBlock (bytes) {
  const reader = new Reader(bytes)
  const parentHash = hex(reader.take(32))
  const number = reader.compact()
  const stateRoot = hex(reader.take(32))
  const extrinsicsRoot = hex(reader.take(32))
  reader.list(() => digestItem(reader))
  const hash = hex(blake2b(bytes.subarray(0, reader.at), { dkLen: 32 }))
  const extrinsics = reader.list(() => {
    const from = reader.at
    reader.blob()
    return bytes.subarray(from, reader.at)
  })
  assert.equal(reader.take(1)[0], 1, 'a gossiped block carries its finalization')
  assert.equal(reader.take(1)[0], 2, 'the certificate is a finalization')
  reader.take(8 + 8 + 8) // epoch, view, view of the parent
  const finalized = hex(reader.take(32))
  const signers = reader.blob()
  const signatures = reader.list(() => reader.take(64)).length
  assert.equal(reader.at, bytes.length, 'there are bytes after the block')
  const bits = [...signers].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
  assert.equal(bits, signatures, 'one signature for each signer')
  assert.equal(finalized, hash, 'the finalization is of this block')
  return { hash, parentHash, number, stateRoot, extrinsicsRoot, extrinsics }
}

// RFC 6962.
function merkleRoot (leaves) {
  const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
  const root = (hashes) => {
    if (hashes.length === 1) return hashes[0]
    let split = 1
    while (split * 2 < hashes.length) split *= 2
    return sha256(Buffer.of(1), root(hashes.slice(0, split)), root(hashes.slice(split)))
  }
  return leaves.length === 0 ? sha256() : root(leaves.map((leaf) => sha256(Buffer.of(0), leaf)))
}

async function checkBlock (bytes) {
  const block = finalizedBlock(bytes)
  assert.equal(hex(merkleRoot(block.extrinsics)), block.extrinsicsRoot, 'the body is that of the header')
  // Gossip may be a moment ahead of the node's own head.
  let told = null
  while (told === null) told = await rpc('chain_getBlockHash', block.number)
  assert.equal(block.hash, told, `the hash of block ${block.number}`)
  const header = await rpc('chain_getHeader', told)
  assert.equal(header.parentHash, block.parentHash)
  assert.equal(header.stateRoot, block.stateRoot)
  assert.equal(header.extrinsicsRoot, block.extrinsicsRoot)
  return block
}

async function main () {
  const genesis = await rpc('chain_getBlockHash', 0)
  const chain = genesis.slice(2, 18)
  const addresses = given === undefined ? await rpc('system_localListenAddresses') : [given]
  const address = multiaddr(addresses.find((one) => one.includes('/tcp/')))
  const kad = `/cairn/${chain}/kad/1`
  const topic = `/cairn/${chain}/blocks/1`
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // It pings on a stream of its own, and a peer need not answer on two at once.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({ protocol: kad, peerInfoMapper: passthroughMapper, clientMode: true }),
      blocks: gossipsub({ globalSignaturePolicy: 'StrictNoSign', allowPublishToZeroTopicPeers: true })
    }
  })
  const identified = new Promise((resolve) => node.addEventListener('peer:identify', ({ detail }) => resolve(detail)))
  const received = []
  const enough = new Promise((resolve) => node.services.blocks.addEventListener('message', ({ detail }) => {
    if (detail.topic !== topic) return
    received.push(detail.data)
    if (received.length === BLOCKS) resolve()
  }))

  const connection = await node.dial(address)
  console.log(`connected   ${connection.remotePeer}`)

  const { protocolVersion, agentVersion, protocols } = await identified
  assert.equal(protocolVersion, `cairn/${chain}`)
  assert.match(agentVersion, /^cairn\//)
  for (const protocol of [kad, `/cairn/${chain}/sync/1`]) assert.ok(protocols.includes(protocol), protocol)
  console.log(`identified  ${agentVersion}, chain ${protocolVersion}`)

  // Kademlia pings a peer before it takes it, and a libp2p node in Rust answers one ping at a time: no other until then.
  while (node.services.dht.routingTable.size === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  const found = new Set()
  for await (const event of node.services.dht.getClosestPeers(connection.remotePeer.toMultihash().bytes)) {
    for (const closer of event.name === 'PEER_RESPONSE' ? event.closer : []) found.add(closer.id.toString())
    if (event.name === 'FINAL_PEER') found.add((event.peer.id ?? event.peer).toString())
  }
  assert.ok(found.size > 0, 'Kademlia shows nobody')
  console.log(`walked      Kademlia shows ${found.size} peers`)

  console.log(`pinged      ${await node.services.ping.ping(address)} ms`)

  node.services.blocks.subscribe(topic)
  await enough
  for (const bytes of received) {
    const { number, hash, extrinsics } = await checkBlock(bytes)
    console.log(`block       ${number} ${hash} with ${extrinsics.length} extrinsics: ${bytes.length} bytes, all checked`)
  }
  await node.stop()
}

const deadline = setTimeout(() => {
  console.error(`not done in ${PATIENCE_MS / 1000} s`)
  process.exit(1)
}, PATIENCE_MS)
try {
  await main()
  clearTimeout(deadline)
  process.exit(0)
} catch (error) {
  console.error(error)
  process.exit(1)
}
