//! Composition: opens the database, puts the parts together, watches them, and takes them apart again.

use crate::bus::Bus;
use crate::config::{History, SyncMode};
use crate::drivers::backfill::{self, BackfillDriver, BackfillHandle, FillSigns};
use crate::drivers::consensus::{ConsensusDriver, ConsensusHandle};
use crate::drivers::epochs::{EpochWatch, linked};
use crate::drivers::ledger::{Command, LedgerDriver, LedgerHandle};
use crate::drivers::mempool::{MempoolHandle, Surroundings};
use crate::drivers::replay::{self, ReplayDriver};
use crate::drivers::router::Router;
use crate::drivers::snapshots::SnapshotDriver;
use crate::drivers::sync::{self, READINESS, SyncDriver, SyncHandle, is_alone};
use crate::drivers::upgrades::UpgradeWatch;
use crate::exit::{ExitContext as _, ExitKind};
use crate::join::{Join, Joined};
use crate::launch::{Launch, database_folder, replay_folder};
use crate::logging::Banner;
use crate::metrics::Metrics;
use crate::observability::ObservabilityServer;
use crate::offered::{Offered, joining_folder};
use crate::opening::{block_cache_bytes, block_limits, ledger_config, ledger_failure, open_database, open_ledger};
use crate::parts::{consensus_config, identity, pool_config, rpc_config, start_network, vote_guards};
use crate::peer_file::PeerFile;
use crate::ports;
use crate::snapshot::Snapshots;
use crate::supervisor::Supervisor;
use anyhow::Context as _;
use cairn_consensus::Consensus;
use cairn_ledger::{Ledger, LowestBlock, OpenedEpoch, Reader, SignatureChecker};
use cairn_mempool::{Pool, PoolConfig};
use cairn_network::{Event, Handle as Network, PeerId, Validators};
use cairn_primitives::TimestampMs;
use cairn_rpc::Server;
use cairn_rpc::ports::Ports;
use cairn_storage::{Database, StateConfig, blocks};
use cairn_storage_rocks::RocksDatabase;
use cairn_sync::{Backfill, BackfillConfig};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// How long the parts may take to end before the process ends without them.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long of it may go into the file of peers.
const REMEMBER_TIME_MAX: Duration = Duration::from_secs(2);

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
    /// Ends once the peers of this run are on disk, for which the network has to be asked.
    remembered: oneshot::Receiver<()>,
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
        let joins =
            config.sync.mode == SyncMode::Snapshot && !is_alone(launch.spec.validator_set(), &launch.own_keys());
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
        let Self { supervisor, network, rpc, ledger, consensus, stopping, remembered } = self;
        drop(stopping);
        let take_apart = async {
            rpc.stop().await;
            // Nothing is ever sent: the other end is dropped. A disk that hangs must not keep the other parts from ending.
            drop(tokio::time::timeout(REMEMBER_TIME_MAX, remembered).await);
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
        let (remembering, remembered) = oneshot::channel::<()>();
        let keep = peers.keep(network.clone(), epochs.stop.clone());
        supervisor.task("peer file", async move {
            let outcome = keep.await;
            drop(remembering);
            outcome
        });
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
            own_keys: self.launch.own_keys(),
            network: network.clone(),
            bus: self.bus,
            metrics: self.metrics,
        };
        supervisor.thread("ledger", move || driver.run(ledger_box))?;
        Ok(Running { supervisor, network, rpc, ledger: ledger_handle, consensus, stopping, remembered })
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
        let driver = SyncDriver {
            sync: machine,
            network: network.clone(),
            ledger: ledger.clone(),
            signatures,
            reader: self.reader.clone(),
            bus: self.bus.clone(),
            readiness: self.launch.readiness.clone(),
            backfill,
            own_keys: self.launch.own_keys(),
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
        let Some(merge) = ledger.merge() else {
            replay::remove(&folder);
            return Ok(());
        };
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
        supervisor.thread("replay", move || {
            driver.run();
            Ok(())
        })
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
            own_keys: self.launch.own_keys(),
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

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
