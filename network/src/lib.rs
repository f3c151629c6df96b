//! The network of a node: one libp2p swarm that finds peers, gossips, syncs and carries consensus messages.
//!
//! The crate translates and bounds; it decides nothing about validity. Everything it emits is a typed [`Event`],
//! everything it takes a bounded command of its [`Handle`].
//!
//! ```text
//!  node ── Handle ──► commands ──► swarm task ──► libp2p (TCP+Noise+Yamux, QUIC)
//!    ▲        └────► queues of each validator ──► stream tasks (write) ──┘ │
//!    └── Event ◄── decoder task ◄── gossip ◄──────────────────────────────┤
//!        Event ◄── stream tasks (read, decode) ◄── consensus streams ◄────┘
//! ```
//!
//! Bounds: every queue, list of peers and message has a limit named where it is used. A full queue refuses or drops,
//! counts it in a metric, and never makes the swarm task wait. Failures of peers end in a penalty or a closed
//! connection; a failure of the swarm task ends the events, which the node takes as a reason to stop.

mod address_limit;
mod authority;
mod behaviour;
mod book;
mod bucket;
mod codec;
mod config;
mod driver;
mod error;
mod event;
mod frame;
mod gossip;
mod handle;
mod handshake;
mod link;
mod links;
mod metrics;
mod protocol;
mod queue;
mod record;
mod reputation;
mod timers;

pub use config::{Limits, NetworkConfig, NodeKey, Validators, split_peer_address};
pub use driver::start;
pub use error::{CommandError, ErrorClass, StartError, SyncError};
pub use event::{BanStatus, Direction, Event, GossipId, NetworkStatus, Offence, PeerStatus, Verdict};
pub use handle::Handle;
pub use libp2p::{Multiaddr, PeerId};
