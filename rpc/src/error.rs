//! The registry of error codes, and how causes become JSON-RPC error objects.
//!
//! Every error carries a number, a message and `data` with a stable `reason`, `retryable` and, where it helps, `minHeight`
//! or the details in words; clients never need to read the message. Messages that existing clients parse stay to the
//! letter.

use crate::ports::{CallError, ReadError, Refusal, SubmitError};
use cairn_primitives::{Hash, Height};
use jsonrpsee::types::ErrorObjectOwned;
use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal, $message:literal, $retryable:literal;)*) => {
        /// The errors of the server. Numbers from -32768 to -32000 are those of JSON-RPC and of its server library, 1001 to
        /// 1016 those of Substrate transaction pools, 4000 and above those of Substrate's state calls and ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $(Self::$name => $code,)* }
            }

            /// The stable name, sent as `data.reason`.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// The message.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }

            /// Whether the same request can succeed later.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

codes! {
    /// The text is not JSON.
    Parse = -32700, "parse_error", "Parse error", false;
    /// The JSON is not a request.
    InvalidRequest = -32600, "invalid_request", "Invalid request", false;
    /// No such method, or a subscription over HTTP.
    MethodNotFound = -32601, "method_not_found", "Method not found", false;
    /// Parameters are missing, malformed or out of bounds.
    InvalidParams = -32602, "invalid_params", "Invalid params", false;
    /// The node failed; its log says why.
    Internal = -32603, "internal", "Internal error", true;
    /// More subscriptions than one connection may have.
    TooManySubscriptions = -32006, "too_many_subscriptions", "Too many subscriptions on the connection", false;
    /// The request has too many bytes.
    RequestTooLarge = -32007, "request_too_large", "Request is too big", false;
    /// The response would have too many bytes.
    ResponseTooLarge = -32008, "response_too_large", "Response is too big", false;
    /// No more connections are taken.
    TooManyConnections = -32009, "too_many_connections", "Too many connections", true;
    /// The batch has too many calls.
    BatchTooLarge = -32010, "batch_too_large", "The batch request was too large", false;
    /// The answers of the batch have too many bytes together.
    BatchResponseTooLarge = -32011, "batch_response_too_large", "The batch response was too large", false;
    /// The call took too long and was given up.
    Timeout = -32050, "timeout", "The call took too long", true;
    /// The page that calls comes from an origin that is not allowed.
    OriginRefused = -32051, "origin_refused", "The origin is not allowed", false;
    /// The subscriber took no message for too long.
    SlowSubscriber = -32052, "slow_subscriber", "The subscriber is too slow", true;
    /// The client calls more often than it may.
    RateLimited = -32053, "rate_limited", "Too many calls in a short time", true;
    /// The method is for the node's owner alone.
    UnsafeMethod = -32054, "unsafe_method", "The method is not served to this client", false;
    /// More `chainHead_v1_follow` subscriptions than one connection may have.
    TooManyFollows = -32800, "too_many_follows", "Too many chainHead_v1_follow subscriptions", false;
    /// The block was not reported by the follow subscription, or is not pinned any more.
    BlockNotPinned = -32801, "block_not_pinned", "The block is not pinned by the subscription", false;
    /// The follow subscription does not report runtimes.
    FollowWithoutRuntime = -32802, "follow_without_runtime", "The subscription was made without runtimes", false;
    /// The operation does not wait to be continued.
    NothingToContinue = -32803, "nothing_to_continue", "The operation does not wait to be continued", false;
    /// A block hash is named twice.
    DuplicateHashes = -32804, "duplicate_hashes", "A block hash is named twice", false;
    /// The bytes are not an extrinsic.
    BadFormat = 1001, "malformed", "Extrinsic has invalid format", false;
    /// The transaction is not valid now.
    InvalidTransaction = 1010, "invalid_transaction", "Invalid Transaction", false;
    /// The transaction was dropped a moment ago and is not looked at again yet.
    Banned = 1012, "banned", "Transaction is temporarily banned", true;
    /// The pool or the chain has the transaction already.
    AlreadyImported = 1013, "already_known", "Transaction Already Imported", false;
    /// It does not tip enough to replace the one with the same nonce.
    PriorityTooLow = 1014, "priority_too_low", "Priority is too low", false;
    /// The pool has no room for it.
    ImmediatelyDropped = 1016, "pool_full", "Immediately Dropped", true;
    /// The node takes no transactions at the moment.
    Unavailable = 1050, "unavailable", "The node takes no transactions at the moment", true;
    /// The block is not known here.
    UnknownBlock = 4000, "unknown_block", "Client error: UnknownBlock", true;
    /// The state of the block was pruned here.
    StatePruned = 4001, "state_pruned", "Client error: Api called for an unknown Block: State already discarded", false;
    /// Values of the block's state are kept here, its tree is not.
    ProofNotKept = 4002, "proof_not_kept", "The block is too old to be proved here", false;
    /// A runtime call failed.
    CallFailed = 4003, "call_failed", "Client error: Execution failed", false;
    /// The node began with a snapshot and lacks the oldest headers.
    HistoryNotKept = 4004, "history_not_kept", "The history of blocks is not whole here", false;
    /// Nothing proves the block final yet.
    NotFinal = 4010, "not_final", "No finalization covers the block yet", true;
}

/// A refusal on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// What kind.
    pub code: Code,
    /// The message: the code's, or with details.
    pub message: String,
    /// What `data` says beyond the code.
    data: ErrorData,
}

/// The `data` of an error object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData {
    reason: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl RpcError {
    /// An error with the code's own message.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let data = ErrorData {
            reason: code.reason(),
            retryable: code.is_retryable(),
            message: None,
            min_height: None,
            retry_after_ms: None,
        };
        Self { code, message: code.message().to_owned(), data }
    }

    /// An error with the code's message and what is the matter in `data.message`.
    #[must_use]
    pub fn with_detail(code: Code, detail: impl Into<String>) -> Self {
        let mut error = Self::new(code);
        error.data.message = Some(detail.into());
        error
    }

    /// Parameters are missing, malformed or out of bounds.
    #[must_use]
    pub fn invalid_params(detail: impl Into<String>) -> Self {
        Self::with_detail(Code::InvalidParams, detail)
    }

    /// The client may try again after so many milliseconds.
    pub(crate) fn rate_limited(retry_after_ms: u64) -> Self {
        let mut error = Self::new(Code::RateLimited);
        error.data.retry_after_ms = Some(retry_after_ms);
        error
    }

    /// The stable name of the reason, as in `data.reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.data.reason
    }

    /// A read of block `at` failed.
    pub(crate) fn read(error: ReadError, at: &Hash) -> Self {
        let pruned = matches!(error, ReadError::Pruned { .. });
        let mut error = Self::from(error);
        if pruned {
            // Clients take the block's hash from this text.
            error.message = format!("Client error: Api called for an unknown Block: State already discarded for {at}");
        }
        error
    }

    fn pruned(lowest: Height) -> Self {
        let mut error = Self::with_detail(
            Code::StatePruned,
            format!("this node keeps state from height {lowest} on; ask an archive node for older state"),
        );
        error.data.min_height = Some(lowest.0);
        error
    }

    /// The verdict on a transaction as a JSON value, for batches.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::json!({ "code": self.code.number(), "message": self.message, "data": self.data })
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        Self::owned(error.code.number(), error.message, Some(error.data))
    }
}

impl From<ReadError> for RpcError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownBlock(hash) => {
                let detail = format!("no committed block has the hash {hash}");
                let mut error = Self::with_detail(Code::UnknownBlock, detail);
                error.message = format!("Client error: UnknownBlock: Header was not found in the database: {hash}");
                error
            }
            ReadError::Pruned { lowest } => Self::pruned(lowest),
            ReadError::ProofNotKept { lowest } => {
                let detail = format!("this node proves state from height {lowest} on: prove a newer block");
                let mut error = Self::with_detail(Code::ProofNotKept, detail);
                error.data.min_height = Some(lowest.0);
                error
            }
            error @ ReadError::NotBelow { .. } => Self::invalid_params(format!("under: {error}")),
            ReadError::BlockNotKept { lowest } | ReadError::NoHistory { lowest } => {
                let detail = format!("{error}: ask one that has all blocks");
                let mut error = Self::with_detail(Code::HistoryNotKept, detail);
                error.data.min_height = Some(lowest.0);
                error
            }
            ReadError::Database(reason) => {
                tracing::error!(%reason, "an RPC read failed");
                Self::new(Code::Internal)
            }
        }
    }
}

impl RpcError {
    /// A runtime call on block `at` failed.
    pub(crate) fn call(error: CallError, at: &Hash) -> Self {
        match error {
            CallError::Read(error) => Self::read(error, at),
            CallError::UnknownFunction(name) => {
                let mut error = Self::with_detail(Code::CallFailed, "the runtime has no such function");
                // Clients compare this text to find out what the runtime can do.
                error.message = format!("Client error: Execution failed: Other: Exported method {name} is not found");
                error.data.reason = "unknown_function";
                error
            }
            CallError::Failed(reason) => {
                let mut error = Self::with_detail(Code::CallFailed, reason.clone());
                error.message = format!("Client error: Execution failed: Other: {reason}");
                error
            }
        }
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        let SubmitError { refusal, detail } = error;
        let (code, reason, text) = refusal_shape(refusal);
        let message = match text {
            Some(text) => format!("{text}: {detail}"),
            None => detail,
        };
        let mut error = Self::with_detail(code, message);
        error.data.reason = reason;
        error.data.retryable |= matches!(refusal, Refusal::Future | Refusal::Unaffordable);
        error
    }
}

/// Code, stable name, and the text that clients of Substrate know for a refusal.
const fn refusal_shape(refusal: Refusal) -> (Code, &'static str, Option<&'static str>) {
    match refusal {
        Refusal::Malformed => (Code::BadFormat, "malformed", None),
        Refusal::BadSignature => (Code::InvalidTransaction, "bad_signature", Some("Transaction has a bad signature")),
        Refusal::Stale => (Code::InvalidTransaction, "stale", Some("Transaction is outdated")),
        Refusal::Future => (Code::InvalidTransaction, "future", Some("Transaction will be valid in the future")),
        Refusal::Unaffordable => (
            Code::InvalidTransaction,
            "unaffordable",
            Some("Inability to pay some fees (e.g. account balance too low)"),
        ),
        Refusal::EraEnded => (Code::InvalidTransaction, "era_ended", Some("Transaction has an ancient birth block")),
        Refusal::BadCall => (Code::InvalidTransaction, "bad_call", Some("Transaction call is not expected")),
        Refusal::TooLarge => {
            (Code::InvalidTransaction, "too_large", Some("Transaction would exhaust the block limits"))
        }
        Refusal::AlreadyKnown => (Code::AlreadyImported, "already_known", None),
        Refusal::AlreadyIncluded => (Code::AlreadyImported, "already_included", None),
        Refusal::PriorityTooLow => (Code::PriorityTooLow, "priority_too_low", None),
        Refusal::PoolFull => (Code::ImmediatelyDropped, "pool_full", None),
        Refusal::Banned => (Code::Banned, "banned", None),
        Refusal::Unavailable => (Code::Unavailable, "unavailable", None),
    }
}
