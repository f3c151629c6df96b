//! What a node remembers of its peers across restarts: where they were reached, and who is banned.
//!
//! `peers.json` in the data folder. Nothing depends on it: a file that is missing, damaged or of another chain means that
//! the node begins with its boot nodes. It is written to a new file that takes the old one's place, so that a crash leaves
//! one of the two.

use cairn_network::{BanStatus, Handle as Network, Multiaddr, NetworkStatus, Offence, PeerId, split_peer_address};
use cairn_primitives::Hash;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// The name of the file.
const FILE: &str = "peers.json";

/// The version of its format.
const VERSION: u32 = 1;

/// The most bytes that are read; 256 addresses and the bans below are less.
const BYTES_MAX: u64 = 1 << 20;

/// The most addresses that are taken over.
const KNOWN_MAX: usize = 256;

/// The most bans that are kept, those that last longest.
const BANNED_MAX: usize = 1_024;

/// How soon after the start the file is brought up to date; the wait then doubles each time.
const SAVE_SOON: Duration = Duration::from_secs(1);

/// The longest time between two looks at whether anything changed.
const SAVE_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// Addresses of peers, each with its peer id.
    pub known: Vec<Multiaddr>,
    /// Bans that have not ended.
    pub banned: Vec<BanStatus>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    genesis: String,
    known: Vec<String>,
    banned: Vec<Ban>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Ban {
    peer: String,
    offence: String,
    until_ms: u64,
    count: u32,
}

/// The file.
#[derive(Clone, Debug)]
pub struct PeerFile {
    path: PathBuf,
    genesis: Hash,
}

impl PeerFile {
    /// The file in a data folder, for one chain.
    #[must_use]
    pub fn new(data_dir: &Path, genesis: Hash) -> Self {
        Self { path: data_dir.join(FILE), genesis }
    }

    /// What the file says; nothing where it cannot be used, which the log then tells.
    #[must_use]
    pub fn load(&self) -> Remembered {
        match self.read() {
            Ok(Some(document)) => self.take(&document, now_ms()),
            Ok(None) => Remembered::default(),
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "remembered peers cannot be read: starting without");
                Remembered::default()
            }
        }
    }

    fn read(&self) -> io::Result<Option<Document>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text)?;
        serde_json::from_str(&text).map(Some).map_err(io::Error::from)
    }

    fn take(&self, document: &Document, now_ms: u64) -> Remembered {
        if document.version != VERSION || document.genesis != self.genesis.to_string() {
            tracing::info!(file = %self.path.display(), "the remembered peers are of another chain or version");
            return Remembered::default();
        }
        let addresses = document.known.iter().filter_map(|text| text.parse().ok());
        let known = addresses.filter(|address| split_peer_address(address).is_ok()).take(KNOWN_MAX).collect();
        let banned = document.banned.iter().filter_map(|ban| ban.read(now_ms)).take(BANNED_MAX).collect();
        Remembered { known, banned }
    }

    fn document(&self, status: &NetworkStatus, now_ms: u64) -> Document {
        let mut banned: Vec<_> = status.banned.iter().map(|ban| Ban::write(ban, now_ms)).collect();
        banned.sort_by_key(|ban| std::cmp::Reverse(ban.until_ms));
        banned.truncate(BANNED_MAX);
        let known = status.known.iter().take(KNOWN_MAX).map(ToString::to_string).collect();
        Document { version: VERSION, genesis: self.genesis.to_string(), known, banned }
    }

    /// Puts a new file in the place of the old one.
    fn write(&self, document: &Document) -> io::Result<()> {
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(serde_json::to_string_pretty(document)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)
    }

    /// Keeps the file up to date until the node stops, and writes it a last time then.
    ///
    /// # Errors
    /// Never: a file that cannot be written is told in the log, and the node goes on.
    pub async fn keep(self, network: Network, mut stop: watch::Receiver<()>) -> anyhow::Result<()> {
        let mut saved = self.read().ok().flatten();
        let mut wait = SAVE_SOON;
        loop {
            let stopped = tokio::select! {
                _ = stop.changed() => true,
                () = tokio::time::sleep(wait) => false,
            };
            wait = wait.saturating_mul(2).min(SAVE_INTERVAL_MAX);
            let Ok(status) = network.status().await else { return Ok(()) };
            let document = self.document(&status, now_ms());
            // A node that finds nobody keeps what it knew of those it cannot reach today.
            let is_news = !document.known.is_empty() || !document.banned.is_empty();
            if is_news && saved.as_ref().is_none_or(|saved| !saved.says_the_same(&document)) {
                // The disk may be slow, and other tasks wait for this thread.
                let file = self.clone();
                let written = spawn_blocking(move || file.write(&document).map(|()| document)).await;
                match written.map_err(io::Error::from).flatten() {
                    Ok(document) => saved = Some(document),
                    Err(error) => tracing::warn!(file = %self.path.display(), %error, "peers cannot be remembered"),
                }
            }
            if stopped {
                return Ok(());
            }
        }
    }
}

impl Document {
    /// Whether another one says the same; the end of a ban is counted anew each time, which moves it by a little.
    fn says_the_same(&self, other: &Self) -> bool {
        let bans =
            |document: &Self| document.banned.iter().map(|ban| (ban.peer.clone(), ban.count)).collect::<Vec<_>>();
        self.known == other.known && bans(self) == bans(other)
    }
}

impl Ban {
    fn write(ban: &BanStatus, now_ms: u64) -> Self {
        let remaining_ms = u64::try_from(ban.remaining.as_millis()).unwrap_or(u64::MAX);
        Self {
            peer: ban.peer.to_string(),
            offence: ban.reason.label().to_owned(),
            until_ms: now_ms.saturating_add(remaining_ms),
            count: ban.count,
        }
    }

    /// The ban, if it has not ended.
    fn read(&self, now_ms: u64) -> Option<BanStatus> {
        let peer: PeerId = self.peer.parse().ok()?;
        let reason = Offence::from_label(&self.offence)?;
        let remaining_ms = self.until_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
        Some(BanStatus { peer, reason, remaining: Duration::from_millis(remaining_ms), count: self.count })
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_000_000;

    fn file(folder: &Path) -> PeerFile {
        PeerFile::new(folder, Hash([1; 32]))
    }

    fn peer() -> PeerId {
        cairn_network::NodeKey::from_seed([3; 32]).peer_id()
    }

    fn status() -> NetworkStatus {
        let address = format!("/ip4/10.0.0.1/tcp/30333/p2p/{}", peer()).parse().unwrap();
        let ban = |remaining, count| BanStatus {
            peer: peer(),
            reason: Offence::Flooding,
            remaining: Duration::from_secs(remaining),
            count,
        };
        NetworkStatus {
            local: peer(),
            listening: Vec::new(),
            connected: Vec::new(),
            banned: vec![ban(60, 2)],
            known: vec![address],
        }
    }

    #[test]
    fn peers_and_bans_written_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        file.write(&file.document(&status(), NOW_MS)).unwrap();
        let back = file.take(&file.read().unwrap().unwrap(), NOW_MS + 10_000);
        assert_eq!(back.known, status().known);
        let [ban] = back.banned.as_slice() else { panic!("one ban: {:?}", back.banned) };
        assert_eq!((ban.peer, ban.reason, ban.count), (peer(), Offence::Flooding, 2));
        assert_eq!(ban.remaining, Duration::from_secs(50));
        let later = file.take(&file.read().unwrap().unwrap(), NOW_MS + 60_000);
        assert!(later.banned.is_empty(), "it has ended");
    }

    #[test]
    fn file_missing_damaged_or_of_another_chain_means_no_peers() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        assert!(file.load().known.is_empty());
        for text in ["", "{", "[]", "{\"version\": 1}"] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(file.load().known.is_empty(), "{text}");
        }
        file.write(&file.document(&status(), NOW_MS)).unwrap();
        assert_eq!(file.load().known.len(), 1);
        assert!(PeerFile::new(folder.path(), Hash([2; 32])).load().known.is_empty());
    }

    #[test]
    fn entries_that_make_no_sense_are_passed_over_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let mut document = file.document(&status(), NOW_MS);
        document.known.insert(0, "/ip4/10.0.0.1/tcp/1".into());
        document.known.insert(0, "nonsense".into());
        document.banned.insert(0, Ban { peer: "x".into(), offence: "slow".into(), until_ms: u64::MAX, count: 1 });
        file.write(&document).unwrap();
        let back = file.take(&file.read().unwrap().unwrap(), NOW_MS);
        assert_eq!((back.known.len(), back.banned.len()), (1, 1));
    }

    #[test]
    fn file_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let mut document = file.document(&status(), NOW_MS);
        document.known = vec![document.known[0].clone(); 20_000];
        file.write(&document).unwrap();
        assert!(file.load().known.is_empty());
    }
}
