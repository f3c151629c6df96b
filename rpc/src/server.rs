//! Binding, accepting connections and stopping.

use crate::config::RpcConfig;
use crate::ports::Ports;
use jsonrpsee::server::{RegisterMethodError, RpcModule, ServerConfig};
use std::io;
use std::net::SocketAddr;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the port.
    #[error(
        "RPC cannot listen on {address}: the port is in use; stop the other process or choose another port (rpc.listen)"
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

impl Server {
    /// Binds, registers the metrics in `registry` and serves in tasks of the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or a metric's name is taken.
    pub async fn start(
        config: RpcConfig,
        ports: Ports,
        _registry: &prometheus::Registry,
    ) -> Result<ServerHandle, StartError> {
        let address = config.listen;
        let server = jsonrpsee::server::Server::builder()
            .set_config(ServerConfig::builder().max_request_body_size(config.request_bytes_max).build())
            .build(address)
            .await
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => StartError::PortInUse { address },
                _ => StartError::Bind { address, source },
            })?;
        let address = server.local_addr().map_err(|source| StartError::Bind { address, source })?;
        Ok(ServerHandle { address, inner: server.start(RpcModule::new(ports)) })
    }
}

impl ServerHandle {
    /// Where the server listens; tells the port when 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets running calls end and closes subscriptions.
    pub async fn stop(self) {
        if self.inner.stop().is_ok() {
            self.inner.stopped().await;
        }
    }
}
