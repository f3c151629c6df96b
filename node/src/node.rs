//! Composition: opens the database, puts the parts together, watches them, and takes them apart again.

use crate::bus::Bus;
use crate::config::{History, NodeConfig, SyncMode};
use crate::drivers::backfill::{self, BackfillDriver, BackfillHandle, FillSigns};
use crate::drivers::consensus::{ConsensusDriver, ConsensusHandle};
use crate::drivers::epochs::{EpochWatch, linked};
use crate::drivers::ledger::{Command, LedgerDriver, LedgerHandle, epoch_start};
use crate::drivers::mempool::{MempoolHandle, Surroundings};
use crate::drivers::replay::{self, ReplayDriver};
use crate::drivers::router::Router;
use crate::drivers::snapshots::SnapshotDriver;
use crate::drivers::sync::{self, READINESS, SyncDriver, SyncHandle};
use crate::drivers::upgrades::UpgradeWatch;
use crate::exit::{ExitContext as _, ExitKind};
use crate::join::{Join, Joined};
use crate::launch::{ConsensusKey, Launch, database_folder, replay_folder};
use crate::logging::Banner;
use crate::metrics::Metrics;
use crate::observability::ObservabilityServer;
use crate::offered::{Offered, joining_folder};
use crate::peer_file::{PeerFile, Remembered};
use crate::ports;
use crate::snapshot::Snapshots;
use crate::supervisor::Supervisor;
use crate::vote_record::{Found, VoteRecord};
use anyhow::Context as _;
use cairn_chain_spec::ChainSpec;
use cairn_consensus::{Consensus, Head, Timing, VoteGuard};
use cairn_ledger::{Genesis, Ledger, LedgerConfig, LedgerError, LowestBlock, OpenedEpoch, Reader, SignatureChecker};
use cairn_mempool::{Pool, PoolConfig};
use cairn_network::{Event, Handle as Network, Limits, NetworkConfig, NodeKey, PeerId, Validators};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::{PublicKey, TimestampMs, ValidatorSet, View};
use cairn_rpc::ports::{ChainProperties, ChainType, NodeIdentity, PlannedUpgrade, Ports};
use cairn_rpc::{RpcConfig, Server};
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_runtime::{BlockLimits, Rules, Upgrade};
use cairn_storage::{Database, HistoryMode, StateConfig, blocks};
use cairn_storage_rocks::{OpenError, RocksDatabase, RocksOptions};
use cairn_sync::{Backfill, BackfillConfig};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};

/// Room in a block for everything but transactions, in bytes.
const BLOCK_OVERHEAD_BYTES: usize = 16 << 10;

/// For how many views below the last finalized one votes are kept.
const RETENTION_VIEWS: u64 = 64;

/// How long the parts may take to end before the process ends without them.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Runs a node until `stop` resolves or a part of it ends.
///
/// # Errors
/// The node cannot start, or a part of it failed.
pub async fn run(launch: Launch, stop: impl Future<Output = &'static str> + Send) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop);
    match Running::start(launch, &mut stop).await? {
        Some(node) => node.until(stop).await,
        None => Ok(()),
    }
}

/// A node with all its parts.
struct Running {
    supervisor: Supervisor,
    network: Network,
    rpc: cairn_rpc::ServerHandle,
    ledger: LedgerHandle,
    consensus: Option<ConsensusHandle>,
    /// Dropped when the node stops.
    stopping: watch::Sender<()>,
}

/// What the parts have in common.
struct Common {
    launch: Launch,
    /// The epoch that the next block belongs to.
    epoch: OpenedEpoch,
    database: Arc<RocksDatabase>,
    metrics: Metrics,
    bus: Bus,
    reader: Reader,
    offered: Offered,
}

/// The network with what it told so far.
struct Connected {
    network: Network,
    events: mpsc::Receiver<Event>,
    peers: Vec<PeerId>,
}

impl Running {
    /// Starts all parts; `None` if `stop` resolves before the node has a chain to start with.
    async fn start(
        launch: Launch,
        stop: &mut (impl Future<Output = &'static str> + Unpin),
    ) -> anyhow::Result<Option<Self>> {
        let config = &launch.config;
        let database = open_database(&database_folder(config), block_cache_bytes(config))?;
        let metrics = Metrics::register(&launch.registry)?;
        launch.readiness.not_ready(READINESS, "opening the database");
        serve_metrics(&launch).await?;
        let joins = config.sync.mode == SyncMode::Snapshot && has_peers(&launch, launch.spec.validator_set());
        let joined = if joins && blocks::head(&*database)?.is_none() {
            let joined = join(&launch, database.clone(), &metrics, stop).await?;
            if joined.is_none() {
                return Ok(None);
            }
            joined
        } else {
            None
        };
        let ledger = open_ledger(database.clone(), config, &launch.spec, &launch.genesis)?;
        let offered = Offered::load(&config.node.data_dir)?;
        let joining = joining_folder(&config.node.data_dir);
        if joining.exists() {
            offered.take_over(&joining)?;
        }
        let reader = ledger.reader();
        let head = reader.head();
        reader.rules().after(head.height).map_err(|unknown| ledger_failure(unknown.into()))?;
        metrics.head(head.height.0);
        metrics.unknown_rules(reader.rules().first_unknown().map(|upgrade| upgrade.height.0));
        let epoch = reader.current_epoch();
        let bus = Bus::new(cairn_rpc::ports::Head { height: head.height, hash: head.hash });
        let validators = linked(&reader, &epoch)?;
        let connected = match joined {
            Some(connected) => {
                connected.network.set_validators(validators).await?;
                connected
            }
            None => {
                let (network, events) = start_network(&launch, validators)?;
                Connected { network, events, peers: Vec::new() }
            }
        };
        let common = Common { launch, epoch, database, metrics, bus, reader, offered };
        Ok(Some(common.assemble(ledger, connected).await?))
    }

    /// Waits for the end, then takes the node apart: clients first, peers next, disk last.
    async fn until(mut self, stop: impl Future<Output = &'static str> + Send) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            reason = stop => {
                tracing::info!(reason, "stopping");
                Ok(())
            }
            failure = self.supervisor.first_failure() => Err(failure),
        };
        let Self { supervisor, network, rpc, ledger, consensus, stopping } = self;
        drop(stopping);
        let take_apart = async {
            rpc.stop().await;
            network.stop().await;
            if let Some(consensus) = &consensus {
                consensus.stop().await;
            }
            // The ledger may have ended already: then there is nothing to stop.
            drop(ledger.send(Command::Stop).await);
            drop((network, consensus, ledger));
            supervisor.drain().await;
        };
        if tokio::time::timeout(STOP_TIME_MAX, take_apart).await.is_err() {
            tracing::warn!("some parts did not end in time; nothing is lost, what was final is on disk");
        }
        match &outcome {
            Ok(()) => tracing::info!("stopped"),
            Err(error) => tracing::error!("stopped: {error:#}"),
        }
        outcome
    }
}

impl Common {
    async fn assemble(self, ledger: Ledger, connected: Connected) -> anyhow::Result<Running> {
        let Connected { network, events, peers: connected } = connected;
        let mut supervisor = Supervisor::default();
        let (ledger_handle, ledger_box) = LedgerHandle::new();
        let (sync_handle, sync_box) = SyncHandle::new();
        let pool_config = pool_config(&self.launch.config);
        let around = Surroundings {
            reader: self.reader.clone(),
            signatures: ledger.signatures(),
            network: network.clone(),
            ledger: ledger_handle.clone(),
            metrics: self.metrics.clone(),
        };
        let pool = Pool::new(pool_config, self.reader.head().height);
        let (mempool, admission) = MempoolHandle::new(pool, block_limits(), around);

        let consensus = self.start_consensus(&mut supervisor, &ledger, &ledger_handle, &sync_handle, &network)?;
        let (stopping, stop) = watch::channel(());
        let (backfill, backfill_box) = BackfillHandle::new();
        self.start_replay(&mut supervisor, backfill_box.signs(), &ledger, &ledger_handle, stop.clone())?;
        self.start_backfill(&mut supervisor, backfill_box, &ledger_handle, &network)?;
        self.start_sync(&mut supervisor, sync_box, (&ledger_handle, ledger.signatures()), backfill, &network);
        let router = Router {
            network: network.clone(),
            mempool: mempool.clone(),
            consensus: consensus.clone(),
            sync: sync_handle.clone(),
            reader: self.reader.clone(),
            offered: self.offered.clone(),
            metrics: self.metrics.clone(),
            connected,
        };
        let epochs = EpochWatch {
            bus: self.bus.clone(),
            reader: self.reader.clone(),
            network: network.clone(),
            sync: sync_handle.clone(),
            stop,
            told: self.epoch.epoch,
        };
        let peers = PeerFile::new(&self.launch.config.node.data_dir, self.launch.genesis.hash());
        supervisor.task("peer file", peers.keep(network.clone(), epochs.stop.clone()));
        supervisor.task("epochs", epochs.run());
        self.start_watches(&mut supervisor, &stopping);
        supervisor.task("network", router.run(events));
        supervisor.thread("mempool", move || admission.run())?;
        tokio::spawn(mempool.keep_ticking());
        let rpc =
            self.start_servers(&mut supervisor, &mempool, pool_config, &consensus, &sync_handle, &network).await?;
        self.banner(&rpc, &network).await;
        let checkpointer = ledger.checkpointer();
        supervisor.thread("checkpoints", move || Ok(checkpointer.run()?))?;
        let driver = LedgerDriver {
            ledger,
            mempool,
            consensus: consensus.clone(),
            own_keys: self.launch.consensus_keys.iter().map(|key| key.pair.public()).collect(),
            network: network.clone(),
            bus: self.bus,
            metrics: self.metrics,
        };
        supervisor.thread("ledger", move || driver.run(ledger_box))?;
        Ok(Running { supervisor, network, rpc, ledger: ledger_handle, consensus, stopping })
    }

    /// Starts what looks at committed blocks now and then.
    fn start_watches(&self, supervisor: &mut Supervisor, stopping: &watch::Sender<()>) {
        let upgrades = UpgradeWatch { reader: self.reader.clone(), stop: stopping.subscribe() };
        supervisor.task("upgrades", upgrades.run());
        let snapshots = SnapshotDriver {
            bus: self.bus.clone(),
            reader: self.reader.clone(),
            offered: self.offered.clone(),
            interval: self.launch.config.sync.snapshot_interval,
            metrics: self.metrics.clone(),
            stop: stopping.subscribe(),
        };
        supervisor.task("snapshots", snapshots.run());
    }

    /// Starts the engine on a node that has a key of the validator set.
    fn start_consensus(
        &self,
        supervisor: &mut Supervisor,
        ledger: &Ledger,
        ledger_handle: &LedgerHandle,
        sync: &SyncHandle,
        network: &Network,
    ) -> anyhow::Result<Option<ConsensusHandle>> {
        if self.launch.consensus_keys.is_empty() {
            return Ok(None);
        }
        let (guards, records) = vote_guards(&self.launch)?;
        let config = consensus_config(&self.launch, &self.reader, &self.epoch, guards)?;
        let (handle, mailbox) = ConsensusHandle::new();
        let driver = ConsensusDriver {
            consensus: Consensus::new(config).context("the chain spec's consensus parameters cannot be used")?,
            database: self.database.clone(),
            records,
            restored: ledger.restored()?,
            ledger: ledger_handle.clone(),
            sync: sync.clone(),
            network: network.clone(),
            metrics: self.metrics.clone(),
            was_silent: false,
        };
        supervisor.thread("consensus", move || driver.run(mailbox))?;
        Ok(Some(handle))
    }

    fn start_sync(
        &self,
        supervisor: &mut Supervisor,
        mailbox: sync::Mailbox,
        (ledger, signatures): (&LedgerHandle, SignatureChecker),
        backfill: BackfillHandle,
        network: &Network,
    ) {
        let head = self.reader.head();
        let OpenedEpoch { epoch, validators, .. } = self.epoch.clone();
        let sets = cairn_sync::ValidatorSets::new(self.reader.schedule(), epoch, validators);
        let genesis = self.reader.genesis_hash();
        let machine = cairn_sync::Sync::new(cairn_sync::SyncConfig::default(), genesis, sets, head.height, head.hash);
        if self.has_peers() {
            self.launch.readiness.not_ready(READINESS, "no peers");
        } else {
            self.launch.readiness.ready(READINESS);
            mailbox.caught_up();
            backfill.at_tip(true);
        }
        let driver = SyncDriver {
            sync: machine,
            network: network.clone(),
            ledger: ledger.clone(),
            signatures,
            reader: self.reader.clone(),
            bus: self.bus.clone(),
            readiness: self.launch.readiness.clone(),
            backfill,
        };
        supervisor.task("sync", driver.run(mailbox));
    }

    /// Fetches the blocks below a snapshot on a node that is to have all of them.
    fn start_backfill(
        &self,
        supervisor: &mut Supervisor,
        mailbox: backfill::Mailbox,
        ledger: &LedgerHandle,
        network: &Network,
    ) -> anyhow::Result<()> {
        self.metrics.lowest_block(self.reader.lowest_block()?.0);
        let config = &self.launch.config;
        let wanted = self.reader.wanted_below()?;
        if wanted.is_none() {
            mailbox.has_all_blocks();
            return Ok(());
        }
        let Some(LowestBlock { height, parent, finalized }) =
            wanted.filter(|_| config.sync.backfill && config.state.history == History::Archive)
        else {
            return Ok(());
        };
        let driver = BackfillDriver {
            machine: Backfill::new(BackfillConfig::default(), height, parent, finalized),
            network: network.clone(),
            ledger: ledger.clone(),
            reader: self.reader.clone(),
            metrics: self.metrics.clone(),
        };
        supervisor.task("backfill", driver.run(mailbox));
        Ok(())
    }

    /// Executes the blocks again whose states an archive lacks.
    fn start_replay(
        &self,
        supervisor: &mut Supervisor,
        signs: FillSigns,
        ledger: &Ledger,
        handle: &LedgerHandle,
        stop: watch::Receiver<()>,
    ) -> anyhow::Result<()> {
        let Launch { config, spec, genesis, .. } = &self.launch;
        let folder = replay_folder(config);
        let Some(merge) = ledger.merge() else { return replay::remove(&folder) };
        if !config.sync.backfill {
            return Ok(());
        }
        let driver = ReplayDriver {
            folder,
            config: ledger_config(spec, genesis.clone(), StateConfig::default()),
            reader: self.reader.clone(),
            merge,
            ledger: handle.clone(),
            metrics: self.metrics.clone(),
            signs,
            stop,
            runtime: tokio::runtime::Handle::current(),
        };
        supervisor.thread("replay", move || driver.run())
    }

    async fn start_servers(
        &self,
        supervisor: &mut Supervisor,
        mempool: &MempoolHandle,
        pool_config: PoolConfig,
        consensus: &Option<ConsensusHandle>,
        sync: &SyncHandle,
        network: &Network,
    ) -> anyhow::Result<cairn_rpc::ServerHandle> {
        let config = &self.launch.config;
        let node = ports::Node {
            identity: identity(&self.launch, network),
            network: network.clone(),
            consensus: consensus.clone(),
            sync: sync.clone(),
            reader: self.reader.clone(),
            snapshots: Arc::new(Snapshots::new(&config.node.data_dir)),
            database: self.database.clone(),
            database_folder: database_folder(config),
            started_at: now(),
            starting_block: self.reader.head().height,
            should_have_peers: self.has_peers(),
        };
        let transactions =
            ports::Transactions { mempool: mempool.clone(), reader: self.reader.clone(), config: pool_config };
        let ports = Ports {
            chain: Arc::new(ports::Chain(self.reader.clone())),
            transactions: Arc::new(transactions),
            node: Arc::new(node),
            heads: self.bus.heads(),
        };
        let rpc = Server::start(rpc_config(&self.launch), ports, &self.launch.registry)
            .await
            .exit_with(ExitKind::Address, "JSON-RPC cannot be served")?;
        tracing::debug!(parts = ?supervisor, "servers are up");
        Ok(rpc)
    }

    /// Whether there are others to follow: not so on a chain whose only validator this is.
    fn has_peers(&self) -> bool {
        has_peers(&self.launch, &self.epoch.validators)
    }

    async fn banner(&self, rpc: &cairn_rpc::ServerHandle, network: &Network) {
        let (spec, config, head) = (&self.launch.spec, &self.launch.config, self.reader.head());
        let mut urls = vec![format!("ws://{} (JSON-RPC, also http://)", rpc.address())];
        if config.metrics.enabled {
            urls.push(format!("http://{}/metrics (also /livez, /readyz)", config.metrics.listen));
        }
        if let Ok(status) = network.status().await {
            urls.extend(status.listening.iter().map(ToString::to_string));
        }
        let banner = Banner {
            chain: format!("{} ({})", spec.name(), spec.id()),
            genesis: self.reader.genesis_hash().to_string(),
            role: config.node.role.word(),
            database_format: cairn_storage::table::FORMAT_VERSION,
            head: format!("{} {}", head.height, head.hash),
            peers_wanted: config.network.peers_out_max,
            urls,
        };
        banner.print();
    }
}

/// Whether a chain with these validators has others to follow than the node itself.
fn has_peers(launch: &Launch, validators: &ValidatorSet) -> bool {
    let is_own = |key: &ConsensusKey| validators.index_of(&key.pair.public()).is_some();
    validators.len() > 1 || !launch.consensus_keys.iter().any(is_own)
}

/// Serves metrics and health, where they are wanted.
async fn serve_metrics(launch: &Launch) -> anyhow::Result<()> {
    let section = &launch.config.metrics;
    if section.enabled {
        let server = ObservabilityServer::bind(section.listen, launch.registry.clone(), launch.readiness.clone())
            .await
            .exit_with(ExitKind::Address, "metrics cannot be served")?;
        tokio::spawn(server.run());
    }
    Ok(())
}

/// Starts the network and gets a snapshot, if a peer offers one; `None` if the node is stopped meanwhile.
async fn join(
    launch: &Launch,
    database: Arc<dyn Database>,
    metrics: &Metrics,
    stop: &mut (impl Future<Output = &'static str> + Unpin),
) -> anyhow::Result<Option<Connected>> {
    // Who votes now is not known yet.
    let (network, mut events) = start_network(launch, Validators::default())?;
    let join = Join { database, network: network.clone(), metrics: metrics.clone() };
    match join.run(launch, &mut events, stop).await? {
        Joined::Ready { connected } => Ok(Some(Connected { network, events, peers: connected })),
        Joined::Stopped => {
            network.stop().await;
            Ok(None)
        }
    }
}

fn state_cache_bytes(config: &NodeConfig) -> usize {
    usize::try_from(config.state.cache_bytes).unwrap_or(usize::MAX)
}

/// What the database has of the memory for state, in bytes.
pub fn block_cache_bytes(config: &NodeConfig) -> usize {
    state_cache_bytes(config) / 4
}

/// Opens the database in a folder, or makes a new one.
///
/// # Errors
/// The folder cannot be made; the database is locked, damaged, or of another format.
pub fn open_database(folder: &Path, cache_bytes: usize) -> anyhow::Result<Arc<RocksDatabase>> {
    std::fs::create_dir_all(folder)
        .exit_with(ExitKind::Config, format!("the data folder {} cannot be made (node.data_dir)", folder.display()))?;
    Ok(Arc::new(open_rocks(folder, cache_bytes)?))
}

/// Opens the database in a folder, which must exist.
///
/// # Errors
/// It is locked, damaged, foreign or of another format; each with its exit code.
pub fn open_rocks(folder: &Path, cache_bytes: usize) -> anyhow::Result<RocksDatabase> {
    RocksDatabase::open(folder, RocksOptions { cache_bytes }).map_err(|error| {
        let kind = match &error {
            OpenError::Locked { .. } => ExitKind::DatabaseLocked,
            OpenError::Newer { .. } | OpenError::Older { .. } | OpenError::Damaged { .. } => ExitKind::DatabaseDamaged,
            OpenError::Foreign { .. } | OpenError::Inaccessible { .. } | OpenError::Processor => ExitKind::Config,
        };
        anyhow::Error::new(crate::exit::Failure::new(kind, error.to_string()))
    })
}

/// Opens the chain in a database, which gets its genesis block if it is new.
///
/// # Errors
/// The database fails, is damaged or belongs to another chain; each with its exit code.
pub fn open_ledger(
    database: Arc<dyn Database>,
    config: &NodeConfig,
    spec: &ChainSpec,
    genesis: &Genesis,
) -> anyhow::Result<Ledger> {
    let history = match config.state.history {
        History::Archive => HistoryMode::Archive,
        History::Window(blocks) => HistoryMode::Window(blocks),
    };
    // The database has the last quarter.
    let cache_bytes = state_cache_bytes(config) / 4 * 3;
    open_ledger_with(database, spec, genesis.clone(), StateConfig::for_memory(history, cache_bytes))
}

/// Opens the chain of a chain spec in a database.
///
/// # Errors
/// The database holds another chain, part of one, or is damaged.
pub fn open_ledger_with(
    database: Arc<dyn Database>,
    spec: &ChainSpec,
    genesis: Genesis,
    state: StateConfig,
) -> anyhow::Result<Ledger> {
    Ledger::open(database, ledger_config(spec, genesis, state)).map_err(ledger_failure)
}

fn ledger_config(spec: &ChainSpec, genesis: Genesis, state: StateConfig) -> LedgerConfig {
    LedgerConfig {
        genesis,
        schedule: spec.epoch_schedule(),
        rules: spec.rules(),
        spec_hash: spec.spec_hash(),
        state,
        limits: block_limits(),
    }
}

/// A failure of the ledger with its exit code.
pub fn ledger_failure(error: LedgerError) -> anyhow::Error {
    let kind = match &error {
        LedgerError::OtherChain { .. } | LedgerError::OtherRules(_) | LedgerError::UnnamedRules { .. } => {
            ExitKind::WrongChain
        }
        LedgerError::UnknownRules(_) => ExitKind::UnknownRules,
        LedgerError::Database(_)
        | LedgerError::State(_)
        | LedgerError::Genesis(_)
        | LedgerError::UnknownBlock(_)
        | LedgerError::WrongEpoch { .. }
        | LedgerError::UnprovedHandover { .. }
        | LedgerError::NotBelow { .. }
        | LedgerError::FinalizedInvalid { .. }
        | LedgerError::Execution(_) => ExitKind::DatabaseDamaged,
    };
    anyhow::Error::new(crate::exit::Failure::new(kind, error.to_string()))
}

fn start_network(launch: &Launch, validators: Validators) -> anyhow::Result<(Network, mpsc::Receiver<Event>)> {
    let section = &launch.config.network;
    let node_key = NodeKey::from_seed(*launch.node_key.to_seed());
    let mut config = NetworkConfig::new(node_key, launch.genesis.hash());
    config.listen = addresses(&section.listen, "network.listen")?;
    config.boot_nodes = addresses(&section.boot_nodes, "network.boot_nodes")?;
    config.boot_nodes.extend(addresses(launch.spec.boot_nodes(), "bootNodes of the chain spec")?);
    let own = config.node_key.peer_id();
    config.boot_nodes.retain(|address| cairn_network::split_peer_address(address).is_ok_and(|(peer, _)| peer != own));
    config.reserved = addresses(&section.reserved, "network.reserved")?;
    config.reserved_only = section.reserved_only;
    config.external = addresses(&section.external, "network.external")?;
    let Remembered { known, banned } = PeerFile::new(&launch.config.node.data_dir, launch.genesis.hash()).load();
    (config.known, config.banned) = (known, banned);
    config.consensus_keys = launch.consensus_keys.iter().map(|key| key.pair.clone()).collect();
    config.validators = validators;
    config.limits = Limits {
        inbound: section.peers_in_max,
        outbound: section.peers_out_max,
        per_address: section.connections_per_address_max,
        ..Limits::default()
    };
    config.registry = Some(launch.registry.clone());
    cairn_network::start(config).exit_with(ExitKind::Address, "the peer-to-peer network cannot be started")
}

fn addresses(texts: &[String], setting: &str) -> anyhow::Result<Vec<cairn_network::Multiaddr>> {
    let parse = |text: &String| {
        let message = || format!("{setting}: `{text}` is not a multiaddress such as /ip4/0.0.0.0/tcp/30333");
        text.parse().map_err(anyhow::Error::new).exit_with(ExitKind::Config, message())
    };
    texts.iter().map(parse).collect()
}

/// The guard of each consensus key with what its record says, and the records to go on with.
fn vote_guards(launch: &Launch) -> anyhow::Result<(Vec<VoteGuard>, BTreeMap<PublicKey, VoteRecord>)> {
    let genesis = launch.genesis.hash();
    let mut guards = Vec::new();
    let mut records = BTreeMap::new();
    for ConsensusKey { pair, record } in &launch.consensus_keys {
        let key = pair.public();
        let (file, found) = VoteRecord::open(record, key, genesis)?;
        guards.push(match found {
            Found::Records(found) => VoteGuard::new(pair.clone(), genesis, found),
            Found::Lost => {
                tracing::warn!(
                    %key,
                    "{} does not exist: what this key has signed is not known, so it signs nothing until everything it can \
                     have voted on is final. If it never signed for this chain, make the record with `cairn keys \
                     new-record`",
                    record.display()
                );
                VoteGuard::without_record(pair.clone(), genesis)
            }
        });
        records.insert(key, file);
    }
    Ok((guards, records))
}

fn consensus_config(
    launch: &Launch,
    reader: &Reader,
    epoch: &OpenedEpoch,
    guards: Vec<VoteGuard>,
) -> anyhow::Result<cairn_consensus::Config> {
    let genesis = reader.genesis_hash();
    let head = reader.head();
    let finalization = reader.finalization(head.height)?;
    let proposed_view = match reader.header(&head.hash)? {
        Some(header) => header.context()?.view,
        None => View::ZERO,
    };
    let view = finalization.as_ref().map_or(proposed_view, |certificate| certificate.subject.view());
    // The block that opened the epoch is its view 0, whatever view of the last epoch it was proposed in.
    let view = if head.height == epoch.opening.height { View::ZERO } else { view };
    Ok(cairn_consensus::Config {
        genesis,
        epoch: epoch_start(epoch),
        guards,
        timing: timing(&launch.spec),
        retention: RETENTION_VIEWS,
        committed: Head { height: head.height, hash: head.hash, view, timestamp: head.timestamp },
        finalization,
    })
}

const fn timing(spec: &ChainSpec) -> Timing {
    let consensus = spec.consensus();
    Timing {
        leader_timeout_ms: consensus.leader_timeout_ms,
        certify_timeout_ms: consensus.certify_timeout_ms,
        retry_ms: consensus.retry_ms,
        skip_timeout_ms: consensus.skip_timeout_ms,
        block_interval_ms: consensus.block_interval_ms,
        idle_block_interval_ms: consensus.idle_block_interval_ms,
    }
}

const fn block_limits() -> BlockLimits {
    BlockLimits { bytes_max: BLOCK_BYTES_MAX - BLOCK_OVERHEAD_BYTES, weight_max: BLOCK_WEIGHT_MAX }
}

fn pool_config(config: &NodeConfig) -> PoolConfig {
    PoolConfig {
        transactions_max: usize::try_from(config.mempool.count_max).unwrap_or(usize::MAX),
        bytes_max: usize::try_from(config.mempool.bytes_max).unwrap_or(usize::MAX),
        ..PoolConfig::default()
    }
}

fn rpc_config(launch: &Launch) -> RpcConfig {
    let section = &launch.config.rpc;
    RpcConfig {
        listen: section.listen,
        request_bytes_max: section.request_bytes_max,
        response_bytes_max: section.response_bytes_max,
        batch_len_max: section.batch_max,
        connections_max: usize::try_from(section.connections_max).unwrap_or(usize::MAX),
        subscriptions_per_connection_max: section.subscriptions_max,
        calls_per_second_max: section.calls_per_second_max,
        offers_unsafe: section.offers_unsafe(),
        unsafe_token: launch.unsafe_token.clone(),
        call_timeout: Duration::from_millis(u64::from(section.request_time_ms_max)),
        ..RpcConfig::default()
    }
}

fn identity(launch: &Launch, network: &Network) -> NodeIdentity {
    let spec = &launch.spec;
    let properties = spec.properties();
    NodeIdentity {
        chain: spec.name().to_owned(),
        chain_id: spec.id().to_owned(),
        chain_type: if spec.is_development() { ChainType::Development } else { ChainType::Live },
        properties: ChainProperties {
            ss58_format: properties.ss58_format,
            token_decimals: properties.token_decimals,
            token_symbol: properties.token_symbol.clone(),
        },
        node_name: launch.config.node.name.clone(),
        node_version: env!("CARGO_PKG_VERSION").to_owned(),
        role: launch.config.node.role.word().to_owned(),
        upgrades: spec.rules().upgrades().iter().map(planned).collect(),
        peer_id: network.local_peer_id().to_string(),
    }
}

fn planned(upgrade: &Upgrade) -> PlannedUpgrade {
    let Upgrade { height, spec_version } = *upgrade;
    PlannedUpgrade { height, spec_version, known: Rules::from_spec_version(spec_version).is_some() }
}

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
