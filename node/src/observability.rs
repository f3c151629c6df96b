//! Metrics and health on their own port: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever restarts or routes.
//!
//! `/livez` answers 200 as long as the process can answer; `/readyz` answers 200 when every component has reported that it
//! is ready and 503 with a JSON list of reasons before. The server reads one small request at a time per connection,
//! takes at most [`CONNECTIONS_MAX`] connections and gives a connection [`CONNECTION_TIME_MAX`].

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder as _, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The most connections at once; scrapers need one or two.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may last, so that an idle or endless one frees its place.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the head of a request may take to arrive.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// How long to wait after the system refused to accept a connection, such as when no file descriptor is left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What keeps the node from being ready, by component; drivers report, `/readyz` shows.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Readiness {
    /// Reports that a component is ready.
    pub fn ready(&self, component: &'static str) {
        self.lock().remove(component);
    }

    /// Reports why a component is not ready.
    pub fn not_ready(&self, component: &'static str, reason: impl Into<String>) {
        self.lock().insert(component, reason.into());
    }

    /// Component and reason of everything that is not ready, in the order of the components' names.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.lock().iter().map(|(component, reason)| (*component, reason.clone())).collect()
    }

    /// The map is whole after every step, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves metrics and health until the future is dropped.
#[derive(Debug)]
pub struct ObservabilityServer {
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
}

impl ObservabilityServer {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(address: SocketAddr, registry: Registry, readiness: Readiness) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve metrics on {address} (metrics.listen)"))?;
        Ok(Self { listener, registry, readiness })
    }

    /// The address that is listened on, with the port the system chose where 0 was asked for.
    ///
    /// # Errors
    /// The system does not tell.
    #[cfg(test)]
    fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections for ever.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "metrics: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (registry, readiness) = (self.registry.clone(), self.readiness.clone());
            tokio::spawn(async move {
                if tokio::time::timeout(CONNECTION_TIME_MAX, serve(stream, registry, readiness)).await.is_err() {
                    tracing::debug!("metrics: a connection was closed after its time");
                }
                drop(place);
            });
        }
    }
}

async fn serve(stream: TcpStream, registry: Registry, readiness: Readiness) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &registry, &readiness);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "metrics: a connection ended early");
    }
}

fn answer(method: &Method, path: &str, registry: &Registry, readiness: &Readiness) -> Response<Full<Bytes>> {
    const JSON: &str = "application/json";
    const TEXT: &str = "text/plain; charset=utf-8";
    if method != Method::GET && method != Method::HEAD {
        return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
    }
    match path {
        "/livez" => response(StatusCode::OK, JSON, "{\"live\":true}\n"),
        "/readyz" => {
            let reasons = readiness.reasons();
            let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let list: Vec<serde_json::Value> = reasons
                .iter()
                .map(|(component, reason)| serde_json::json!({ "component": component, "reason": reason }))
                .collect();
            let body = serde_json::json!({ "ready": list.is_empty(), "reasons": list });
            response(status, JSON, format!("{body}\n"))
        }
        "/metrics" => {
            let mut body = Vec::new();
            match TextEncoder::new().encode(&registry.gather(), &mut body) {
                Ok(()) => response(StatusCode::OK, prometheus::TEXT_FORMAT, body),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            }
        }
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /livez and /readyz\n"),
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::{ObservabilityServer, Readiness, Registry, answer};
    use hyper::{Method, StatusCode};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn readyz_until_every_component_reported_is_unavailable() {
        let readiness = Readiness::default();
        readiness.not_ready("rpc", "starting");
        readiness.not_ready("sync", "starting");
        let status = |readiness: &Readiness| answer(&Method::GET, "/readyz", &Registry::new(), readiness).status();
        readiness.ready("rpc");
        assert_eq!(status(&readiness), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(readiness.reasons(), vec![("sync", "starting".to_owned())]);
        readiness.ready("sync");
        assert_eq!(status(&readiness), StatusCode::OK);
        readiness.not_ready("sync", "120 blocks behind");
        assert_eq!(status(&readiness), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn other_methods_and_paths_are_refused() {
        let status = |method, path| answer(&method, path, &Registry::new(), &Readiness::default()).status();
        assert_eq!(status(Method::POST, "/metrics"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(status(Method::GET, "/"), StatusCode::NOT_FOUND);
        assert_eq!(status(Method::GET, "/livez"), StatusCode::OK);
    }

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn server_over_tcp_gives_metrics_and_reasons() {
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("cairn_test_total", "a test").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(7);
        let readiness = Readiness::default();
        readiness.not_ready("network", "starting");
        let server = ObservabilityServer::bind("127.0.0.1:0".parse().unwrap(), registry, readiness).await.unwrap();
        let address = server.local_address().unwrap();
        let task = tokio::spawn(server.run());
        assert!(get(address, "/metrics").await.contains("\ncairn_test_total 7"));
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.contains(r#"{"component":"network","reason":"starting"}"#), "{ready}");
        task.abort();
    }
}
