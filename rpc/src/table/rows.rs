//! The rows of the table.

use super::{Access, Cost, Method, Param};

/// A point read that everybody may make.
const fn point(name: &'static str, params: &'static [Param], result: &'static str, summary: &'static str) -> Method {
    Method {
        name,
        aliases: &[],
        params,
        result,
        summary,
        access: Access::Safe,
        cost: Cost::Point,
        notification: None,
        unsubscribe: None,
    }
}

/// A walk that everybody may make.
const fn walk(name: &'static str, params: &'static [Param], result: &'static str, summary: &'static str) -> Method {
    let mut method = point(name, params, result, summary);
    method.cost = Cost::Walk;
    method
}

/// A subscription.
const fn stream(
    name: &'static str,
    params: &'static [Param],
    (notification, result): (&'static str, &'static str),
    unsubscribe: &'static str,
    summary: &'static str,
) -> Method {
    let mut method = walk(name, params, result, summary);
    method.notification = Some(notification);
    method.unsubscribe = Some((unsubscribe, &[]));
    method
}

impl Method {
    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn ended_also_by(mut self, aliases: &'static [&'static str]) -> Self {
        if let Some((name, _)) = self.unsubscribe {
            self.unsubscribe = Some((name, aliases));
        }
        self
    }

    const fn for_owner(mut self) -> Self {
        self.access = Access::Unsafe;
        self
    }
}

const NONE: &[Param] = &[];
const AT: &[Param] = &[("at?", "hash")];
const BLOCK: &[Param] = &[("at?", "block")];
const HASH: &[Param] = &[("hash", "hash")];
const KEY_AT: &[Param] = &[("key", "hex"), ("at?", "hash")];
const EXTRINSIC: &[Param] = &[("extrinsic", "hex")];
const TRANSACTION: &[Param] = &[("transaction", "hex")];
const PINNED: &[Param] = &[("followSubscription", "text"), ("hash", "hash")];
const OPERATION: &[Param] = &[("followSubscription", "text"), ("operationId", "text")];

/// Every method.
pub(crate) const METHODS: &[Method] = &[
    point("rpc_methods", NONE, "object", "All names, sorted."),
    point("rpc.discover", NONE, "object", "This document."),
    // chain
    point(
        "chain_getBlockHash",
        &[("height?", "int|hex|[int]")],
        "hash|null|[hash]",
        "The hash at a height, or of the head.",
    )
    .also(&["chain_getHead"]),
    point("chain_getFinalizedHead", NONE, "hash", "The hash of the newest block.").also(&["chain_getFinalisedHead"]),
    point("chain_getHeader", AT, "object|null", "A header."),
    walk("chain_getBlock", AT, "object|null", "A block with its justification."),
    stream(
        "chain_subscribeNewHeads",
        NONE,
        ("chain_newHead", "object"),
        "chain_unsubscribeNewHeads",
        "The newest header and every later one.",
    )
    .also(&["chain_subscribeNewHead", "subscribe_newHead"])
    .ended_also_by(&["chain_unsubscribeNewHead", "unsubscribe_newHead"]),
    stream(
        "chain_subscribeAllHeads",
        NONE,
        ("chain_allHead", "object"),
        "chain_unsubscribeAllHeads",
        "The newest header and every later one.",
    ),
    stream(
        "chain_subscribeFinalizedHeads",
        NONE,
        ("chain_finalizedHead", "object"),
        "chain_unsubscribeFinalizedHeads",
        "The newest header and every later one.",
    )
    .also(&["chain_subscribeFinalisedHeads"])
    .ended_also_by(&["chain_unsubscribeFinalisedHeads"]),
    // state
    point("state_getStorage", KEY_AT, "hex|null", "A value.").also(&["state_getStorageAt"]),
    point("state_getStorageHash", KEY_AT, "hash|null", "The hash of a value.").also(&["state_getStorageHashAt"]),
    point("state_getStorageSize", KEY_AT, "int|null", "The bytes of a value.").also(&["state_getStorageSizeAt"]),
    walk(
        "state_getKeysPaged",
        &[("prefix", "hex|null"), ("count", "int"), ("startKey?", "hex"), ("at?", "hash")],
        "[hex]",
        "Keys after a key, in order.",
    )
    .also(&["state_getKeysPagedAt"]),
    walk(
        "state_getKeys",
        &[("prefix", "hex"), ("at?", "hash")],
        "[hex]",
        "All keys of a prefix, if they are not many.",
    ),
    walk("state_queryStorageAt", &[("keys", "[hex]"), ("at?", "hash")], "[object]", "Values of several keys."),
    walk(
        "state_call",
        &[("function", "text"), ("input", "hex"), ("at?", "hash")],
        "hex",
        "Calls a function of the runtime.",
    )
    .also(&["state_callAt"]),
    walk("state_getMetadata", AT, "hex", "Metadata V14."),
    point("state_getRuntimeVersion", AT, "object", "Versions.").also(&["chain_getRuntimeVersion"]),
    stream(
        "state_subscribeRuntimeVersion",
        NONE,
        ("state_runtimeVersion", "object"),
        "state_unsubscribeRuntimeVersion",
        "The versions, now and when they change.",
    )
    .also(&["chain_subscribeRuntimeVersion"])
    .ended_also_by(&["chain_unsubscribeRuntimeVersion"]),
    stream(
        "state_subscribeStorage",
        &[("keys", "[hex]")],
        ("state_storage", "object"),
        "state_unsubscribeStorage",
        "Values, now and when they change.",
    ),
    // author
    point("author_submitExtrinsic", EXTRINSIC, "hash", "Offers a transaction."),
    walk("author_pendingExtrinsics", NONE, "[hex]", "Transactions that wait."),
    stream(
        "author_submitAndWatchExtrinsic",
        EXTRINSIC,
        ("author_extrinsicUpdate", "text|object"),
        "author_unwatchExtrinsic",
        "Offers a transaction and follows it.",
    ),
    // system
    point("system_chain", NONE, "text", "The chain's name."),
    point("system_chainType", NONE, "text", "The chain's kind."),
    point("system_properties", NONE, "object", "How amounts and addresses are shown."),
    point("system_name", NONE, "text", "The node's name."),
    point("system_version", NONE, "text", "The node's version."),
    point("system_localPeerId", NONE, "text", "The node's peer id."),
    point("system_nodeRoles", NONE, "[text]", "Authority or Full."),
    point("system_health", NONE, "object", "Whether the node is of use."),
    point("system_syncState", NONE, "object", "How far the node has caught up."),
    point("system_localListenAddresses", NONE, "[text]", "Where peers reach the node."),
    point("system_peers", NONE, "[object]", "Connected peers.").for_owner(),
    point("system_accountNextIndex", &[("account", "text")], "int", "An account's next nonce.")
        .also(&["account_nextIndex"]),
    // chainSpec_v1
    point("chainSpec_v1_chainName", NONE, "text", "The chain's name."),
    point("chainSpec_v1_genesisHash", NONE, "hash", "The hash of block 0."),
    point("chainSpec_v1_properties", NONE, "object", "How amounts and addresses are shown."),
    // transaction_v1, transactionWatch_v1
    point("transaction_v1_broadcast", TRANSACTION, "text|null", "Offers a transaction until stopped."),
    point("transaction_v1_stop", &[("operationId", "text")], "null", "Offers it no longer."),
    stream(
        "transactionWatch_v1_submitAndWatch",
        TRANSACTION,
        ("transactionWatch_v1_watchEvent", "object"),
        "transactionWatch_v1_unwatch",
        "Offers a transaction and follows it.",
    ),
    // archive_v1
    point("archive_v1_finalizedHeight", NONE, "int", "The height of the newest block."),
    point("archive_v1_genesisHash", NONE, "hash", "The hash of block 0."),
    point("archive_v1_hashByHeight", &[("height", "int")], "[hash]", "The hash at a height, if there is one."),
    point("archive_v1_header", HASH, "hex|null", "A header in SCALE."),
    walk("archive_v1_body", HASH, "null|[hex]", "The extrinsics of a block."),
    walk(
        "archive_v1_call",
        &[("hash", "hash"), ("function", "text"), ("callParameters", "hex")],
        "object|null",
        "Calls a function of the runtime.",
    ),
    stream(
        "archive_v1_storage",
        &[("hash", "hash"), ("items", "[object]"), ("childTrie?", "hex")],
        ("archive_v1_storageEvent", "object"),
        "archive_v1_stopStorage",
        "Values, hashes and descendants of keys.",
    ),
    stream(
        "archive_v1_storageDiff",
        &[("hash", "hash"), ("items?", "[object]"), ("previousHash?", "hash")],
        ("archive_v1_storageDiffEvent", "object"),
        "archive_v1_stopStorageDiff",
        "What changed from one block to another.",
    ),
    // chainHead_v1
    stream(
        "chainHead_v1_follow",
        &[("withRuntime", "bool")],
        ("chainHead_v1_followEvent", "object"),
        "chainHead_v1_unfollow",
        "Follows heads, pins blocks and carries the answers of operations.",
    ),
    point("chainHead_v1_header", PINNED, "hex|null", "The header of a pinned block in SCALE."),
    point(
        "chainHead_v1_unpin",
        &[("followSubscription", "text"), ("hashOrHashes", "hash|[hash]")],
        "null",
        "Gives pinned blocks up.",
    ),
    walk("chainHead_v1_body", PINNED, "object", "Asks for the extrinsics of a pinned block."),
    walk(
        "chainHead_v1_call",
        &[("followSubscription", "text"), ("hash", "hash"), ("function", "text"), ("callParameters", "hex")],
        "object",
        "Calls a function of the runtime on a pinned block.",
    ),
    walk(
        "chainHead_v1_storage",
        &[("followSubscription", "text"), ("hash", "hash"), ("items", "[object]"), ("childTrie?", "hex")],
        "object",
        "Asks for storage of a pinned block.",
    ),
    point("chainHead_v1_continue", OPERATION, "null", "Lets a waiting operation go on."),
    point("chainHead_v1_stopOperation", OPERATION, "null", "Stops an operation."),
    // cairn
    walk(
        "cairn_getProof",
        &[("keys", "[hex]"), ("at?", "block"), ("under?", "block")],
        "object",
        "Values with proofs and finality.",
    ),
    walk(
        "cairn_getFinality",
        &[("at?", "block"), ("fromEpoch?", "int"), ("under?", "block")],
        "object",
        "What proves a block final, and the ends of the epochs before it.",
    ),
    walk("cairn_getTransaction", HASH, "object|null", "Where a transaction is, and what came of it."),
    walk(
        "cairn_getTransactionProof",
        &[("hash", "hash"), ("under?", "block")],
        "object|null",
        "That a transaction is in its block, with finality.",
    ),
    walk(
        "cairn_getEventProof",
        &[("block", "block"), ("index", "int"), ("under?", "block")],
        "object",
        "That an event is in its block, with finality.",
    ),
    point("cairn_validators", BLOCK, "object", "Who voted on a block."),
    walk("cairn_submitBatch", &[("extrinsics", "[hex]")], "[object]", "Offers many transactions."),
    point("cairn_consensusState", NONE, "object|null", "The engine's view."),
    point("cairn_whyNoBlock", NONE, "object", "Why there is no new block."),
    point("cairn_nodeInfo", NONE, "object", "The node and its chain."),
    point("cairn_peers", NONE, "[object]", "Connected peers with their addresses.").for_owner(),
    point("cairn_bannedPeers", NONE, "[object]", "Banned peers with reason and time left.").for_owner(),
    walk("cairn_databaseStats", NONE, "object|null", "The tables of the database and what they take.").for_owner(),
    walk("cairn_createSnapshot", NONE, "object", "Begins a snapshot of the newest block.").for_owner(),
    point("cairn_snapshotState", NONE, "object|null", "What became of the last snapshot.").for_owner(),
    point("cairn_syncState", NONE, "object", "How far the node has caught up."),
    point("cairn_mempool", NONE, "object", "How full the mempool is."),
    stream(
        "cairn_subscribeBlocks",
        &[("fromHeight?", "int"), ("detail?", "text")],
        ("cairn_block", "object"),
        "cairn_unsubscribeBlocks",
        "Blocks from a height on, each once.",
    ),
    stream(
        "cairn_subscribeEvents",
        &[("filter?", "object"), ("fromHeight?", "int")],
        ("cairn_event", "object"),
        "cairn_unsubscribeEvents",
        "The events of each block from a height on, each block once.",
    ),
    stream(
        "cairn_subscribeTransaction",
        HASH,
        ("cairn_transaction", "object"),
        "cairn_unsubscribeTransaction",
        "What becomes of a transaction.",
    ),
];
