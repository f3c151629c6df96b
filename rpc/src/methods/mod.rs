//! The methods by family, and how they are registered.

mod archive;
mod author;
mod cairn;
mod chain;
mod chain_head;
mod heads;
mod news;
mod operations;
mod proofs;
mod state;
mod system;
mod transaction;

use crate::config::RpcConfig;
use crate::error::{Code, RpcError};
use crate::heads::{HeadFeed, HeadOrder};
use crate::metrics::{Counted, ServerMetrics};
use crate::params::{Args, HashArg};
use crate::ports::{ChainPort, NodePort, Ports, TransactionPort};
use crate::session::Session;
use cairn_primitives::{Hash, Height};
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::{RegisterMethodError, RpcModule, SubscriptionMessage, SubscriptionSink};
use serde::Serialize;
use serde_json::value::RawValue;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every method can reach.
pub(crate) struct Context {
    pub(crate) config: RpcConfig,
    pub(crate) chain: Arc<dyn ChainPort>,
    pub(crate) transactions: Arc<dyn TransactionPort>,
    pub(crate) node: Arc<dyn NodePort>,
    pub(crate) feed: HeadFeed,
    pub(crate) order: Arc<HeadOrder>,
    pub(crate) metrics: Arc<ServerMetrics>,
    expensive: Arc<Semaphore>,
}

/// The methods under construction.
pub(crate) type Module = RpcModule<Context>;

/// The outcome of a registration.
pub(crate) type Registered = Result<(), RegisterMethodError>;

impl Context {
    pub(crate) fn new(config: RpcConfig, ports: Ports, feed: HeadFeed, metrics: Arc<ServerMetrics>) -> Self {
        let Ports { chain, transactions, node, heads: _ } = ports;
        let expensive = Arc::new(Semaphore::new(config.expensive_calls_max.max(1)));
        Self { config, chain, transactions, node, feed, order: Arc::default(), metrics, expensive }
    }

    /// The block a request names, or the head.
    fn at(&self, args: &mut Args<'_>) -> Result<Hash, RpcError> {
        let at = args.optional::<HashArg>("at")?;
        Ok(at.map_or_else(|| self.chain.head().hash, |HashArg(hash)| hash))
    }

    /// Checks where a subscription is to begin.
    fn check_start(&self, start: Option<Height>) -> Result<(), RpcError> {
        let next = self.chain.head().height.next();
        if start.is_some_and(|start| start > next) {
            return Err(RpcError::invalid_params(format!("fromHeight is beyond the next block, {next}")));
        }
        Ok(())
    }

    /// Checks how many keys a request names.
    fn check_keys(&self, count: usize) -> Result<(), RpcError> {
        let limit = self.config.keys_max;
        if count <= limit {
            return Ok(());
        }
        Err(RpcError::invalid_params(format!("{count} keys, at most {limit} are allowed in one request")))
    }
}

/// All methods.
pub(crate) fn module(context: Context) -> Result<Module, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    chain::register(&mut module)?;
    heads::register(&mut module)?;
    state::register(&mut module)?;
    author::register(&mut module)?;
    system::register(&mut module)?;
    cairn::register(&mut module)?;
    proofs::register(&mut module)?;
    news::register(&mut module)?;
    archive::register(&mut module)?;
    chain_head::register(&mut module)?;
    transaction::register(&mut module)?;

    let document = crate::table::document();
    module.register_method("rpc.discover", move |_, _, _| Ok::<_, RpcError>(document.clone()))?;
    let mut methods: Vec<_> = module.method_names().chain(["rpc_methods"]).collect();
    methods.sort_unstable();
    let methods = serde_json::json!({ "methods": methods });
    module.register_method("rpc_methods", move |_, _, _| Ok::<_, RpcError>(methods.clone()))?;
    Ok(module)
}

/// Registers a method whose reads take microseconds and so run on the connection's task.
fn quick<T, F>(module: &mut Module, name: &'static str, aliases: &[&'static str], run: F) -> Registered
where
    T: Serialize + Clone + 'static,
    F: Fn(&Context, &mut Args<'_>) -> Result<T, RpcError> + Send + Sync + 'static,
{
    module.register_method(name, move |params, context, _| run(context, &mut Args::new(&params)?))?;
    alias(module, name, aliases)
}

/// Registers a method that waits for the node; `parse` runs first.
fn waiting<P, T, Parse, Run, Answer>(
    module: &mut Module,
    name: &'static str,
    aliases: &[&'static str],
    parse: Parse,
    run: Run,
) -> Registered
where
    P: Send + 'static,
    T: Serialize + Clone + 'static,
    Parse: Fn(&Context, &mut Args<'_>) -> Result<P, RpcError> + Clone + Send + Sync + 'static,
    Run: Fn(Arc<Context>, P) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Result<T, RpcError>> + Send + 'static,
{
    module.register_async_method(name, move |params, context, _| {
        let parsed = Args::new(&params).and_then(|mut args| parse(&context, &mut args));
        let run = run.clone();
        async move { run(context, parsed?).await }
    })?;
    alias(module, name, aliases)
}

/// Registers a method without parameters and aliases that asks the node.
fn asking<T, Run, Answer>(module: &mut Module, name: &'static str, run: Run) -> Registered
where
    T: Serialize + Clone + 'static,
    Run: Fn(Arc<Context>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Result<T, RpcError>> + Send + 'static,
{
    waiting(module, name, &[], |_, _| Ok(()), move |context, ()| run(context))
}

/// Registers a method that walks state, proves or reads whole blocks: it runs on the blocking pool, within the budget of
/// expensive calls.
fn expensive<P, T, Parse, Run>(
    module: &mut Module,
    name: &'static str,
    aliases: &[&'static str],
    parse: Parse,
    run: Run,
) -> Registered
where
    P: Send + 'static,
    T: Serialize + Clone + Send + 'static,
    Parse: Fn(&Context, &mut Args<'_>) -> Result<P, RpcError> + Clone + Send + Sync + 'static,
    Run: Fn(&Context, P) -> Result<T, RpcError> + Copy + Send + Sync + 'static,
{
    waiting(module, name, aliases, parse, move |context, parsed| async move {
        context.heavy(move |context| run(context, parsed)).await
    })
}

impl Context {
    /// Runs what walks state, proves or reads whole blocks on the blocking pool, within the budget of expensive calls.
    async fn heavy<T, Run>(self: &Arc<Self>, run: Run) -> Result<T, RpcError>
    where
        T: Send + 'static,
        Run: FnOnce(&Self) -> Result<T, RpcError> + Send + 'static,
    {
        // Closed never: the semaphore lives as long as the context.
        let permit = Arc::clone(&self.expensive).acquire_owned().await.map_err(|_| RpcError::new(Code::Internal))?;
        let context = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            run(&context)
        });
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an RPC call failed");
            Err(RpcError::new(Code::Internal))
        })
    }
}

/// Registers a method that belongs to what its connection has under way.
fn in_session<T, Run>(module: &mut Module, name: &'static str, run: Run) -> Registered
where
    T: Serialize + Clone + Send + 'static,
    Run: Fn(&Arc<Context>, &Arc<Session>, &mut Args<'_>) -> Result<T, RpcError> + Clone + Send + Sync + 'static,
{
    // Asynchronous, as some of them start tasks.
    module.register_async_method(name, move |params, context, extensions| {
        let session = Session::of(&extensions);
        let answer = Args::new(&params).and_then(|mut args| run(&context, &session?, &mut args));
        std::future::ready(answer)
    })?;
    Ok(())
}

fn alias(module: &mut Module, name: &'static str, aliases: &[&'static str]) -> Registered {
    aliases.iter().try_for_each(|alias| module.register_alias(alias, name))
}

/// An accepted subscription: counted, and closed if nobody reads.
struct Subscriber {
    sink: SubscriptionSink,
    context: Arc<Context>,
    _counted: Counted,
}

/// Why a subscription ends.
enum End {
    /// The client left or unsubscribed: nothing is sent.
    Gone,
    /// The client is told.
    Failed(RpcError),
}

impl From<RpcError> for End {
    fn from(error: RpcError) -> Self {
        Self::Failed(error)
    }
}

impl Subscriber {
    fn new(sink: SubscriptionSink, context: Arc<Context>) -> Self {
        let counted = Counted::new(&context.metrics.subscriptions);
        Self { sink, context, _counted: counted }
    }

    /// Sends one notification; waits for a slow client, but not for ever.
    async fn send(&self, message: Box<RawValue>) -> Result<(), End> {
        let sent =
            self.sink.send_timeout(SubscriptionMessage::from(message), self.context.config.slow_subscriber_timeout);
        match sent.await {
            Ok(()) => Ok(()),
            Err(_) if self.sink.is_closed() => Err(End::Gone),
            Err(_) => {
                self.context.metrics.subscribers_slow.inc();
                Err(RpcError::new(Code::SlowSubscriber).into())
            }
        }
    }

    /// Waits for an answer unless the client leaves first.
    async fn unless_closed<T>(&self, answer: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            () = self.sink.closed() => Err(End::Gone),
            answer = answer => Ok(answer),
        }
    }

    /// Sends one notification from a value.
    async fn send_value(&self, value: &(impl Serialize + Sync)) -> Result<(), End> {
        let message = serde_json::value::to_raw_value(value).map_err(|_| RpcError::new(Code::Internal))?;
        self.send(message).await
    }
}

/// What the server library sends when a subscription ends.
fn closing(end: Result<(), End>) -> Result<(), SubscriptionError> {
    match end {
        Ok(()) | Err(End::Gone) => Ok(()),
        Err(End::Failed(error)) => match serde_json::value::to_raw_value(&error.to_value()) {
            Ok(json) => Err(SubscriptionError::from_json(json)),
            Err(_) => Err(SubscriptionError::from(error.message)),
        },
    }
}
