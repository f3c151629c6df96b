//! The attacks.

use super::attacker::{Attacker, GOSSIP, Target};
use super::wire;
use anyhow::Context as _;
use cairn_primitives::message::{STATE_RESPONSE_BYTES_MAX, StateRequest, StateResponse, SyncRequest, SyncResponse};
use cairn_primitives::{Hash, Height};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::StreamProtocol;
use libp2p::{PeerId, Stream};
use libp2p_stream::IncomingStreams;
use parity_scale_codec::{Decode as _, Encode as _};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an attacker waits for nothing in particular, to hold on to what it has got.
const HOLD: Duration = Duration::from_millis(500);

/// How long an attack may take: what the node has not taken by then it does not take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// The same where the attacker waits for the node to ask, which it does every ten seconds.
const ANSWERING_TIME_MAX: Duration = Duration::from_secs(45);

/// A way to do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Gossip that does not decode.
    GarbageGossip,
    /// Transactions with wrong signatures.
    WrongSignatures,
    /// Well-signed transactions of accounts that have nothing, as fast as they go.
    UnfundedFlood,
    /// Thousands of announcements of and requests for messages that nobody has.
    ControlFlood,
    /// A gossip message that announces more than is allowed.
    OversizeGossip,
    /// A gossip message of which the end never comes, on many connections.
    EndlessGossip,
    /// A peer that says it is of another chain.
    WrongGenesis,
    /// Sync requests that announce 4 GiB, or do not decode.
    OversizeRequest,
    /// Sync requests cut off in the middle.
    TruncatedRequest,
    /// Sync requests as fast as they go.
    RequestFlood,
    /// Requests for as many blocks as there are, whose answers are never read.
    UnreadAnswers,
    /// Sync streams on which nothing is ever said.
    SilentRequests,
    /// Answers to the node's own sync requests that do not decode.
    GarbageAnswers,
    /// Answers with a tip that nobody finalized.
    LyingTip,
    /// Answers that come a byte at a time.
    DrippingAnswers,
    /// Requests for the manifest of a snapshot as fast as they go.
    ManifestFlood,
    /// Requests for chunks of a snapshot as fast as they go.
    ChunkFlood,
    /// Requests for parts of snapshots that do not exist, then such as announce 4 GiB or do not decode.
    GarbageStateRequests,
    /// Requests for chunks whose answers are never read.
    UnreadChunks,
    /// Requests for state of which a byte comes at a time, on many streams.
    DrippingStateRequests,
    /// Handshakes of validators with forged records.
    ForgedHandshake,
    /// Handshakes that never begin.
    SilentHandshake,
    /// Thousands of streams.
    Streams,
    /// Hundreds of connections of one address that say nothing.
    Connections,
    /// Many peers from one address.
    Identities,
}

/// What must come of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The attacker is banned.
    Ban,
    /// The node goes on as before.
    Nothing,
}

impl Attack {
    pub(super) const fn expected(self) -> Outcome {
        match self {
            Self::GarbageGossip
            | Self::WrongSignatures
            | Self::OversizeRequest
            | Self::RequestFlood
            | Self::GarbageAnswers
            | Self::ManifestFlood
            | Self::ChunkFlood
            | Self::GarbageStateRequests
            | Self::ForgedHandshake => Outcome::Ban,
            Self::UnfundedFlood
            | Self::ControlFlood
            | Self::OversizeGossip
            | Self::EndlessGossip
            | Self::WrongGenesis
            | Self::TruncatedRequest
            | Self::UnreadAnswers
            | Self::SilentRequests
            // Each lie costs, and the node asks a liar seldom: five minutes of it are no ban yet.
            | Self::LyingTip
            | Self::DrippingAnswers
            | Self::UnreadChunks
            | Self::DrippingStateRequests
            | Self::SilentHandshake
            | Self::Streams
            | Self::Connections
            | Self::Identities => Outcome::Nothing,
        }
    }

    /// Whether the attacker waits for the node to ask.
    pub const fn is_answering(self) -> bool {
        matches!(self, Self::GarbageAnswers | Self::LyingTip | Self::DrippingAnswers)
    }

    /// Makes the attack once as the peer given, as far as the node lets it.
    pub(super) async fn make(self, target: &Target, peer: &Attacker, number: u64) {
        let time_max = if self.is_answering() { ANSWERING_TIME_MAX } else { TIME_MAX };
        // What the node does not let an attacker do is its success.
        drop(timeout(time_max, self.try_make(target, peer, number)).await);
    }

    async fn try_make(self, target: &Target, peer: &Attacker, number: u64) -> anyhow::Result<()> {
        match self {
            Self::GarbageGossip => {
                let garbage = |place: u64| [&[0xff; 16][..], &(number * 100 + place).to_le_bytes()].concat();
                gossip(peer, (0..4).map(|place| wire::publish(&target.topic("transactions"), &garbage(place)))).await
            }
            Self::WrongSignatures => {
                let message = |place| wire::wrongly_signed(&target.genesis, number * 100 + place);
                gossip(peer, (0..4).map(|place| wire::publish(&target.topic("transactions"), &message(place)))).await
            }
            Self::UnfundedFlood => unfunded_flood(target, peer, number).await,
            Self::ControlFlood => {
                let topic = target.topic("blocks");
                // Longer ones are refused whole.
                gossip(peer, (0..500).map(|place| wire::control(&topic, number * 1_000 + place, 200))).await
            }
            Self::OversizeGossip => gossip(peer, [[wire::varint(1 << 30), vec![7; 1 << 20]].concat()]).await,
            Self::EndlessGossip => endless_gossip(peer).await,
            Self::WrongGenesis => {
                let chain = "cairn/00112233445566ff".to_owned();
                let stranger = Attacker::connect_as(target, chain).await?;
                hold(&stranger).await
            }
            Self::OversizeRequest => {
                let protocol = target.protocol("sync")?;
                request(peer, &protocol, &wire::frame(u32::MAX, &[0; 64])).await?;
                request(peer, &protocol, &wire::proper(&[0xff; 40])).await
            }
            Self::TruncatedRequest => request(peer, &target.protocol("sync")?, &wire::frame(40, &[1, 2, 3])).await,
            Self::RequestFlood => request_flood(target, peer, "sync", |_| SyncRequest::Status.encode()).await,
            Self::UnreadAnswers => {
                let request = SyncRequest::Blocks { from: Height(1), count: 256 }.encode();
                unread_answers(target, peer, "sync", |_| request.clone()).await
            }
            Self::ManifestFlood => {
                let id = offered_snapshot(target, peer).await?;
                request_flood(target, peer, "state", |_| StateRequest::Manifest { id, from: 0 }.encode()).await
            }
            Self::ChunkFlood => {
                let id = offered_snapshot(target, peer).await?;
                request_flood(target, peer, "state", |index| StateRequest::Chunk { id, index: index % 2 }.encode())
                    .await
            }
            Self::GarbageStateRequests => garbage_state_requests(target, peer).await,
            Self::UnreadChunks => {
                let id = offered_snapshot(target, peer).await?;
                unread_answers(target, peer, "state", |index| StateRequest::Chunk { id, index: index % 2 }.encode())
                    .await
            }
            Self::DrippingStateRequests => dripping_requests(target, peer).await,
            Self::SilentRequests | Self::SilentHandshake | Self::Streams => {
                let purpose = if self == Self::SilentHandshake { "consensus" } else { "sync" };
                let wanted = if self == Self::Streams { 2_000 } else { 64 };
                silent_streams(target, peer, purpose, wanted).await
            }
            Self::GarbageAnswers => answer(target, peer, wire::proper(&[0xff; 40])).await,
            Self::LyingTip => {
                let lie = SyncResponse::Status { head: Height(1_000_000), finalization: None, lowest: Height(0) };
                answer(target, peer, wire::proper(&lie.encode())).await
            }
            Self::DrippingAnswers => answer(target, peer, wire::frame(8 << 20, &[])).await,
            Self::ForgedHandshake => {
                let hello = wire::proper(&wire::forged_hello(target.genesis, &peer.id, number));
                let mut stream = peer.open(&target.protocol("consensus")?).await?;
                stream.write_all(&hello).await?;
                drain(&mut stream).await
            }
            Self::Connections => connections(target).await,
            Self::Identities => identities(target).await,
        }
    }
}

/// Sends gossip; the node's own is taken, or it would send none.
async fn gossip(peer: &Attacker, messages: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<()> {
    let mut stream = peer.open(&GOSSIP).await?;
    for message in messages {
        stream.write_all(&message).await?;
    }
    stream.flush().await?;
    hold(peer).await
}

async fn unfunded_flood(target: &Target, peer: &Attacker, number: u64) -> anyhow::Result<()> {
    let mut stream = peer.open(&GOSSIP).await?;
    for batch in 0..50 {
        let first = number * 100_000 + batch * 20;
        let extrinsics = (first..first + 20).map(|one| wire::unfunded(&target.genesis, one)).collect();
        let data = cairn_primitives::message::TransactionGossip(extrinsics).encode();
        stream.write_all(&wire::publish(&target.topic("transactions"), &data)).await?;
    }
    stream.flush().await?;
    hold(peer).await
}

async fn endless_gossip(peer: &Attacker) -> anyhow::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = peer.open(&GOSSIP).await?;
        // Allowed by its size, and nearly there.
        stream.write_all(&wire::varint(4 << 20)).await?;
        stream.write_all(&vec![7; 3 << 20]).await?;
        stream.flush().await?;
        streams.push(stream);
    }
    hold(peer).await
}

/// A stream that the whole request was written to.
async fn asked(peer: &Attacker, protocol: &StreamProtocol, bytes: &[u8]) -> anyhow::Result<Stream> {
    let mut stream = peer.open(protocol).await?;
    stream.write_all(bytes).await?;
    stream.close().await?;
    Ok(stream)
}

async fn request(peer: &Attacker, protocol: &StreamProtocol, bytes: &[u8]) -> anyhow::Result<()> {
    drain(&mut asked(peer, protocol, bytes).await?).await
}

async fn request_flood(
    target: &Target,
    peer: &Attacker,
    purpose: &str,
    bytes: impl Fn(u32) -> Vec<u8>,
) -> anyhow::Result<()> {
    let protocol = target.protocol(purpose)?;
    let ask = async |number| request(peer, &protocol, &wire::proper(&bytes(number))).await;
    for _ in 0..20 {
        futures::future::try_join_all((0..8).map(&ask)).await?;
    }
    Ok(())
}

async fn unread_answers(
    target: &Target,
    peer: &Attacker,
    purpose: &str,
    request: impl Fn(u32) -> Vec<u8>,
) -> anyhow::Result<()> {
    let protocol = target.protocol(purpose)?;
    let mut streams = Vec::new();
    for number in 0..16 {
        let mut stream = peer.open(&protocol).await?;
        stream.write_all(&wire::proper(&request(number))).await?;
        stream.flush().await?;
        streams.push(stream);
    }
    hold(peer).await
}

/// Asks for state as a proper peer does.
pub(crate) async fn state_request(
    target: &Target,
    peer: &Attacker,
    request: &StateRequest,
) -> anyhow::Result<StateResponse> {
    let stream = asked(peer, &target.protocol("state")?, &wire::proper(&request.encode())).await?;
    let mut answer = Vec::new();
    let bytes_max = u64::try_from(STATE_RESPONSE_BYTES_MAX)?.saturating_add(4);
    timeout(TIME_MAX, stream.take(bytes_max).read_to_end(&mut answer)).await??;
    // The length of the frame comes first.
    Ok(StateResponse::decode(&mut answer.get(4..).unwrap_or_default())?)
}

/// A snapshot that the node offers.
pub(crate) async fn offered_snapshot(target: &Target, peer: &Attacker) -> anyhow::Result<Hash> {
    match state_request(target, peer, &StateRequest::Snapshots).await? {
        StateResponse::Snapshots(offers) => Ok(offers.first().context("no snapshot is offered")?.id),
        StateResponse::Manifest(_) | StateResponse::Chunk(_) | StateResponse::Refused => {
            anyhow::bail!("the node does not say which snapshots it offers")
        }
    }
}

async fn garbage_state_requests(target: &Target, peer: &Attacker) -> anyhow::Result<()> {
    let id = offered_snapshot(target, peer).await?;
    let senseless = [
        StateRequest::Chunk { id, index: u32::MAX },
        StateRequest::Chunk { id: Hash([0xff; 32]), index: 0 },
        StateRequest::Manifest { id, from: u32::MAX },
        StateRequest::Manifest { id, from: 7 },
        StateRequest::Manifest { id: Hash::ZERO, from: 0 },
    ];
    let proper = senseless.iter().map(|request| wire::proper(&request.encode()));
    let broken = [wire::frame(u32::MAX, &[0; 64]), wire::proper(&[0xff; 40]), wire::frame(40, &[2, 2, 3])];
    let protocol = target.protocol("state")?;
    for bytes in proper.chain(broken) {
        request(peer, &protocol, &bytes).await?;
    }
    Ok(())
}

async fn dripping_requests(target: &Target, peer: &Attacker) -> anyhow::Result<()> {
    let protocol = target.protocol("state")?;
    let drip = async || {
        let mut stream = peer.open(&protocol).await?;
        stream.write_all(&wire::frame(64, &[])).await?;
        loop {
            stream.write_all(&[1]).await?;
            stream.flush().await?;
            tokio::time::sleep(HOLD).await;
        }
    };
    // Ends when the node, or the time for an attack, does.
    futures::future::join_all((0..64).map(|_| drip())).await.into_iter().collect()
}

async fn silent_streams(target: &Target, peer: &Attacker, purpose: &str, wanted: usize) -> anyhow::Result<()> {
    let protocol = target.protocol(purpose)?;
    let mut streams = Vec::new();
    while streams.len() < wanted && peer.is_connected() {
        // The node refuses at some time; what was opened before stays open.
        let opened = futures::future::join_all((0..16).map(|_| peer.open(&protocol))).await;
        let before = streams.len();
        streams.extend(opened.into_iter().filter_map(Result::ok));
        if streams.len() == before {
            break;
        }
    }
    hold(peer).await
}

/// Answers what the node asks with these bytes, and then with one a moment, until it is gone.
async fn answer(target: &Target, peer: &Attacker, bytes: Vec<u8>) -> anyhow::Result<()> {
    let Ok(mut asked) = peer.accept(&target.protocol("sync")?) else { return hold(peer).await };
    let mut answered = tokio::task::JoinSet::new();
    while let Some((_, mut stream)) = next_while_connected(peer, &mut asked).await {
        let bytes = bytes.clone();
        answered.spawn(async move {
            if stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() {
                while stream.write_all(&[0]).await.is_ok() && stream.flush().await.is_ok() {
                    tokio::time::sleep(HOLD).await;
                }
            }
        });
    }
    Ok(())
}

/// The next stream that the node opens; `None` once it is gone.
async fn next_while_connected(peer: &Attacker, streams: &mut IncomingStreams) -> Option<(PeerId, Stream)> {
    tokio::select! {
        next = streams.next() => next,
        () = peer.gone() => None,
    }
}

/// Opens connections that say nothing and holds those that the node leaves open.
async fn connections(target: &Target) -> anyhow::Result<()> {
    let Some((host, port)) = super::run::socket_of(&target.address) else { anyhow::bail!("no TCP address") };
    let mut held = Vec::new();
    for _ in 0..300 {
        held.extend(TcpStream::connect((host.as_str(), port)).await.ok());
    }
    tokio::time::sleep(HOLD).await;
    drop(held);
    Ok(())
}

/// Connects under one name after the other and holds what it gets.
async fn identities(target: &Target) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for _ in 0..24 {
        match Attacker::connect(target).await {
            Ok(peer) => held.push(peer),
            Err(_) => break,
        }
    }
    tokio::time::sleep(HOLD).await;
    Ok(())
}

/// Reads to the end, if that comes soon.
async fn drain(stream: &mut Stream) -> anyhow::Result<()> {
    let mut answer = Vec::new();
    // An answer, a closed stream and silence are all the same to an attacker.
    drop(timeout(HOLD, stream.take(1 << 20).read_to_end(&mut answer)).await);
    Ok(())
}

async fn hold(peer: &Attacker) -> anyhow::Result<()> {
    drop(timeout(HOLD, peer.gone()).await);
    Ok(())
}
