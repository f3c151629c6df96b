//! Binding, accepting connections and stopping.
//!
//! Connections are accepted here and not by the server library, so that one limit counts every connection (idle HTTP ones
//! too), slow request heads and bodies time out, and a refused client is told why.

use crate::access::{Owner, has_token};
use crate::config::{AllowedOrigins, RpcConfig};
use crate::error::{Code, RpcError};
use crate::heads::HeadFeed;
use crate::methods::{self, Context};
use crate::metrics::{CallMetrics, Counted, ServerMetrics};
use crate::middleware::{Guard, GuardLayer, Transport};
use crate::ports::Ports;
use crate::rate::Budgets;
use crate::session::Session;
use crate::socket::ClientSocket;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::server::middleware::rpc::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpResponse, Methods, PingConfig, RandomStringIdProvider, RegisterMethodError,
    ServerConfig, StopHandle, TowerService, TowerServiceBuilder, stop_channel, ws,
};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;
use tower::layer::util::{Identity, Stack};
use tower_http::cors::CorsLayer;

/// How often WebSocket clients are pinged in the time that one may be silent.
const PINGS: u32 = 3;

/// How long accepting rests after the system refused to (no file descriptors left).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Clients told at a time that there are too many connections, and how long that may take.
const REFUSALS_MAX: usize = 32;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long stopping waits for calls that run.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Characters of a subscription's id.
const SUBSCRIPTION_ID_LEN: usize = 16;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the port.
    #[error(
        "RPC cannot listen on {address}: the port is in use; stop the process that has it or choose another port (rpc.listen)"
    )]
    PortInUse {
        /// The address wanted.
        address: SocketAddr,
    },
    /// The system refused the address.
    #[error("RPC cannot listen on {address}: {source}; choose an address of this machine (rpc.listen)")]
    Bind {
        /// The address wanted.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A metric's name is taken in the registry.
    #[error("RPC metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Two methods have one name: a fault of the program.
    #[error("RPC methods cannot be registered: {0}")]
    Methods(#[from] RegisterMethodError),
}

/// The JSON-RPC server.
#[derive(Debug)]
pub struct Server;

/// A running server; it stops when the handle is dropped or told to.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    inner: jsonrpsee::server::ServerHandle,
}

type Services = TowerServiceBuilder<Stack<GuardLayer, Identity>, Stack<CorsLayer, Identity>>;

impl Server {
    /// Binds, registers the metrics in `registry` and serves in tasks of the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or a metric's name is taken.
    pub async fn start(
        config: RpcConfig,
        ports: Ports,
        registry: &prometheus::Registry,
    ) -> Result<ServerHandle, StartError> {
        let address = config.listen;
        let bind_error = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                StartError::PortInUse { address }
            } else {
                StartError::Bind { address, source }
            }
        };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;

        let metrics = Arc::new(ServerMetrics::new(registry)?);
        let (feeder, feed) = HeadFeed::new(Arc::clone(&ports.chain));
        let heads = ports.heads.clone();
        let context = Context::new(config.clone(), ports, feed, Arc::clone(&metrics));
        let methods: Methods = methods::module(context)?.into();
        let calls = CallMetrics::new(registry, methods.method_names())?;
        let guard = GuardLayer(Arc::new(Guard::new(&methods, calls, &config)));

        let services = jsonrpsee::server::Server::builder()
            .set_config(library_config(&config))
            .set_rpc_middleware(RpcServiceBuilder::new().layer(guard))
            .set_http_middleware(tower::ServiceBuilder::new().layer(config.origins.cors()))
            .to_service_builder();
        let (stop, inner) = stop_channel();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = feeder.run(heads) => {}
                () = stopped.shutdown() => {}
            }
        });
        let acceptor = Acceptor {
            services,
            methods,
            stop,
            metrics,
            budgets: Budgets::new(config.calls_per_second_max, config.limits_loopback),
            offers_unsafe: config.offers_unsafe,
            unsafe_token: config.unsafe_token.map(|token| token.0),
            origins: config.origins,
            times: Times {
                head: config.head_timeout,
                request: config.http_request_timeout,
                write_stall: config.write_stall_max,
            },
            places: Arc::new(Semaphore::new(config.connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        };
        tokio::spawn(acceptor.run(listener));
        Ok(ServerHandle { address, inner })
    }
}

impl ServerHandle {
    /// Where the server listens; tells the port when 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets running calls end within five seconds and closes subscriptions.
    pub async fn stop(self) {
        if self.inner.stop().is_ok() && tokio::time::timeout(STOP_TIMEOUT, self.inner.stopped()).await.is_err() {
            tracing::warn!("RPC calls were still running when the server stopped");
        }
    }
}

/// The limits that the server library enforces.
fn library_config(config: &RpcConfig) -> ServerConfig {
    ServerConfig::builder()
        // Connections are counted where they are accepted.
        .max_connections(u32::MAX)
        .max_request_body_size(config.request_bytes_max)
        .max_response_body_size(config.response_bytes_max)
        .max_subscriptions_per_connection(config.subscriptions_per_connection_max)
        .set_batch_request_config(BatchRequestConfig::Limit(config.batch_len_max))
        .set_message_buffer_capacity(config.connection_buffer_len.max(1))
        .set_id_provider(RandomStringIdProvider::new(SUBSCRIPTION_ID_LEN))
        .enable_ws_ping(PingConfig::new().ping_interval(config.silence_max / PINGS).inactive_limit(config.silence_max))
        .build()
}

/// Accepts connections until the server stops.
struct Acceptor {
    services: Services,
    methods: Methods,
    stop: StopHandle,
    metrics: Arc<ServerMetrics>,
    origins: AllowedOrigins,
    times: Times,
    budgets: Budgets,
    offers_unsafe: bool,
    unsafe_token: Option<Arc<str>>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// How long clients may take.
#[derive(Clone, Copy)]
struct Times {
    /// To send the head of a request.
    head: Duration,
    /// For an HTTP request in all.
    request: Duration,
    /// To read anything of what they were sent.
    write_stall: Duration,
}

/// A connection's place among those allowed, given back when the last part of it is done.
struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let stopped = self.stop.clone().shutdown();
        tokio::pin!(stopped);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopped => return,
            };
            match accepted {
                Ok((socket, client)) => self.admit(socket, client.ip()),
                Err(error) => {
                    tracing::warn!(%error, "RPC cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Serves a connection if there is a place, else says that there is none.
    fn admit(&self, socket: TcpStream, client: IpAddr) {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            let place = Place { _permit: permit, _counted: Counted::new(&self.metrics.connections) };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "RPC connection without TCP_NODELAY");
            }
            self.serve(socket, client, Arc::new(place));
            return;
        }
        self.metrics.connections_refused.inc();
        if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            tokio::spawn(async move {
                let told = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(socket)).await;
                tracing::debug!(?told, "RPC connection refused: too many");
                drop(permit);
            });
        }
    }

    fn serve(&self, socket: TcpStream, client: IpAddr, place: Arc<Place>) {
        let stopped = self.stop.clone().shutdown();
        let service = self.services.clone().build(self.methods.clone(), self.stop.clone());
        let origins = self.origins.clone();
        let held = Arc::clone(&place);
        let session = Session::new(self.budgets.of(client, Instant::now()));
        let times = self.times;
        let (offers_unsafe, token) = (self.offers_unsafe, self.unsafe_token.clone());
        let answer = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if offers_unsafe || token.as_ref().is_some_and(|token| has_token(request.headers(), token)) {
                request.extensions_mut().insert(Owner);
            }
            let (service, held, allowed) = (service.clone(), Arc::clone(&held), origins.allow(request.headers()));
            let session = Arc::clone(&session);
            async move {
                let answer = if allowed {
                    answer(service, request, (session, held), times.request).await
                } else {
                    response(StatusCode::FORBIDDEN, Code::OriginRefused)
                };
                Ok::<_, Infallible>(answer)
            }
        });
        tokio::spawn(async move {
            let _place = place;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(times.head)
                .serve_connection(TokioIo::new(ClientSocket::new(socket, times.write_stall)), answer)
                .with_upgrades();
            tokio::pin!(connection, stopped);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = &mut stopped => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "RPC connection ended");
            }
        });
    }
}

/// Answers one HTTP request, or makes a WebSocket of its connection.
async fn answer(
    mut service: TowerService<Stack<GuardLayer, Identity>, Stack<CorsLayer, Identity>>,
    mut request: Request<Incoming>,
    (session, place): (Arc<Session>, Arc<Place>),
    time_max: Duration,
) -> HttpResponse {
    let is_upgrade = ws::is_upgrade_request(&request);
    request.extensions_mut().insert(if is_upgrade { Transport::WebSocket } else { Transport::Http });
    request.extensions_mut().insert(Arc::clone(&session));
    if is_upgrade {
        let closed = service.on_session_closed();
        // The connection outlives the request that opened it.
        tokio::spawn(async move {
            closed.await;
            session.close();
            drop(place);
        });
    }
    match tokio::time::timeout(time_max, service.call(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::warn!(%error, "an RPC request failed");
            response(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
        }
        Err(_) => response(StatusCode::REQUEST_TIMEOUT, Code::Timeout),
    }
}

/// An error that concerns no single call, as the body of an HTTP response.
fn body(code: Code) -> String {
    serde_json::json!({ "jsonrpc": "2.0", "id": null, "error": RpcError::new(code).to_value() }).to_string()
}

fn response(status: StatusCode, code: Code) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(body(code)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Tells a client that there are too many connections. Some of its request is read first: closing a socket with unread
/// bytes would take the answer back.
async fn refuse(mut socket: TcpStream) -> io::Result<()> {
    let mut unread = [0; 4096];
    let len = socket.read(&mut unread).await?;
    tracing::trace!(len, "bytes of a refused RPC connection");
    let body = body(Code::TooManyConnections);
    let head =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    socket.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    socket.shutdown().await
}
