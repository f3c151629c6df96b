//! What lies between the nodes: packets from one node's device to the other's, later or never.
//!
//! Each node has a TUN device, whose other end is here. So no kernel module is needed to delay packets, and connections feel
//! the delay as on a real line: handshakes, windows and acknowledgements too.
//!
//! Memory: [`WAITING_MAX`] packets on their way to each node; those beyond are lost, as in any queue.

use anyhow::Context as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;

/// The largest packet, in bytes: as on Ethernet.
pub(super) const MTU: u16 = 1_500;

/// Packets on their way to one node: 100 ms of 500 Mbit/s in small ones.
const WAITING_MAX: usize = 65_536;

/// The lines between all nodes.
#[derive(Debug)]
pub(super) struct Air {
    lines: Arc<Lines>,
    /// Ends with the network.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Lines {
    delay_us: AtomicU64,
    lost_permille: AtomicU32,
    /// The side of each node: those of different sides do not reach each other.
    sides: RwLock<Vec<usize>>,
    bytes: AtomicU64,
    packets: AtomicU64,
    /// Counts on, so that packets are lost without chance: of a thousand in a row this many.
    drawn: AtomicU32,
}

/// A packet and when it arrives.
type Flying = (Instant, Vec<u8>);

impl Air {
    /// Connects devices, whose node is their place in the list; node n has the address `addresses(n)`.
    pub(super) fn connect(devices: Vec<Tun>, first: Ipv4Addr) -> Self {
        let lines = Arc::new(Lines {
            delay_us: AtomicU64::new(0),
            lost_permille: AtomicU32::new(0),
            sides: RwLock::new(vec![0; devices.len()]),
            bytes: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            drawn: AtomicU32::new(0),
        });
        let mut tasks = JoinSet::new();
        let mut senders = Vec::new();
        let devices: Vec<_> = devices.into_iter().map(Arc::new).collect();
        for device in &devices {
            let (sender, receiver) = channel(WAITING_MAX);
            tasks.spawn(deliver(Arc::clone(device), receiver));
            senders.push(sender);
        }
        for (from, device) in devices.into_iter().enumerate() {
            tasks.spawn(collect(device, from, first, Arc::clone(&lines), senders.clone()));
        }
        Self { lines, _tasks: tasks }
    }

    /// Delays every packet by this time, and loses so many of a thousand.
    pub(super) fn shape(&self, delay: Duration, lost_permille: u32) -> anyhow::Result<()> {
        self.lines.delay_us.store(delay.as_micros().try_into().context("a short delay")?, Ordering::Relaxed);
        self.lines.lost_permille.store(lost_permille, Ordering::Relaxed);
        Ok(())
    }

    /// Puts each node on a side; nodes that are not named are on the first.
    pub(super) fn split(&self, sides: &[&[usize]]) {
        let mut now = self.lines.sides.write().unwrap_or_else(PoisonError::into_inner);
        for (node, at) in now.iter_mut().enumerate() {
            *at = sides.iter().position(|side| side.contains(&node)).unwrap_or_default();
        }
    }

    /// Bytes and packets that all nodes together have sent to each other, IP headers included.
    pub(super) fn sent(&self) -> (u64, u64) {
        (self.lines.bytes.load(Ordering::Relaxed), self.lines.packets.load(Ordering::Relaxed))
    }
}

impl Lines {
    /// When a packet arrives; `None` if it does not.
    fn arrival(&self, from: usize, to: usize) -> Option<Instant> {
        let sides = self.sides.read().unwrap_or_else(PoisonError::into_inner);
        let is_reached = sides.get(from) == sides.get(to);
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed).wrapping_mul(379) % 1_000;
        let is_lost = drawn < self.lost_permille.load(Ordering::Relaxed);
        let delay = Duration::from_micros(self.delay_us.load(Ordering::Relaxed));
        (is_reached && !is_lost).then(|| Instant::now() + delay)
    }
}

/// Takes what a node sends.
async fn collect(device: Arc<Tun>, from: usize, first: Ipv4Addr, lines: Arc<Lines>, to: Vec<Sender<Flying>>) {
    let mut buffer = vec![0; usize::from(MTU) + 64];
    // The device goes with the network.
    while let Ok(length) = device.recv(&mut buffer).await {
        let packet = buffer.get(..length).unwrap_or_default();
        let Some(node) = destination(packet, first).filter(|node| *node < to.len()) else { continue };
        lines.bytes.fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::Relaxed);
        lines.packets.fetch_add(1, Ordering::Relaxed);
        if let (Some(at), Some(sender)) = (lines.arrival(from, node), to.get(node))
            && sender.try_send((at, packet.to_vec())).is_err()
        {
            // Lost, as in a queue that is full.
        }
    }
}

/// Gives a node what arrives. The delay is the same for all, so that packets arrive in the order in which they left.
async fn deliver(device: Arc<Tun>, mut packets: Receiver<Flying>) {
    while let Some((at, packet)) = packets.recv().await {
        sleep_until(at).await;
        if device.send(&packet).await.is_err() {
            // The node's end is down: lost.
        }
    }
}

/// The node that an IPv4 packet goes to.
fn destination(packet: &[u8], first: Ipv4Addr) -> Option<usize> {
    if packet.first().map(|byte| byte >> 4) != Some(4) {
        return None;
    }
    let to = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?);
    usize::try_from(u32::from(to).checked_sub(u32::from(first))?).ok()
}

#[cfg(test)]
mod tests {
    use super::destination;
    use std::net::Ipv4Addr;

    #[test]
    fn destination_is_the_place_of_the_address_and_nothing_else() {
        let first = Ipv4Addr::new(10, 77, 0, 1);
        let mut packet = vec![0x45; 20];
        packet[16..20].copy_from_slice(&[10, 77, 0, 4]);
        assert_eq!(destination(&packet, first), Some(3));
        packet[16..20].copy_from_slice(&[10, 76, 0, 4]);
        assert_eq!(destination(&packet, first), None);
        assert_eq!(destination(&packet[..19], first), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet, first), None);
    }
}
