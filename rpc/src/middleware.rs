//! What happens around every call, in a batch or alone: time limit, metrics, and errors in our shape.

use crate::error::{Code, RpcError};
use crate::metrics::CallMetrics;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodCallback, MethodResponse, Methods};
use jsonrpsee::types::{Id, Request};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a request came; put into its extensions when its connection is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One request, one response.
    Http,
    /// Subscriptions are possible.
    WebSocket,
}

/// What the layer needs to know, shared by all connections.
pub(crate) struct Guard {
    metrics: CallMetrics,
    /// Methods that need a connection that stays.
    websocket_only: BTreeSet<&'static str>,
    call_timeout: Duration,
    response_bytes_max: u32,
    subscriptions_max: u32,
}

impl Guard {
    pub(crate) fn new(methods: &Methods, metrics: CallMetrics, config: &crate::config::RpcConfig) -> Self {
        let needs_websocket = |name: &&'static str| {
            let callback = methods.method(name);
            matches!(callback, Some(MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_)))
        };
        Self {
            metrics,
            websocket_only: methods.method_names().filter(needs_websocket).collect(),
            call_timeout: config.call_timeout,
            response_bytes_max: config.response_bytes_max,
            subscriptions_max: config.subscriptions_per_connection_max,
        }
    }

    /// Refuses a call before it runs.
    fn check(&self, request: &Request<'_>) -> Result<(), RpcError> {
        if self.metrics.of(&request.method).is_none() {
            return Err(RpcError::new(Code::MethodNotFound));
        }
        let over_http = request.extensions.get::<Transport>() == Some(&Transport::Http);
        if over_http && self.websocket_only.contains(&*request.method) {
            return Err(RpcError::with_detail(Code::MethodNotFound, "subscriptions need a WebSocket connection"));
        }
        Ok(())
    }

    /// Gives the errors that the server library makes our shape.
    fn restate(&self, response: MethodResponse, id: Id<'_>) -> MethodResponse {
        // The answer to a subscription is on its way already.
        if response.is_subscription() {
            return response;
        }
        let error = match response.as_error_code() {
            Some(code) if code == Code::TooManySubscriptions.number() => {
                let detail = format!("at most {} subscriptions on one connection", self.subscriptions_max);
                RpcError::with_detail(Code::TooManySubscriptions, detail)
            }
            Some(code) if code == Code::ResponseTooLarge.number() => {
                let detail = format!("over {} bytes: ask for less at a time", self.response_bytes_max);
                RpcError::with_detail(Code::ResponseTooLarge, detail)
            }
            Some(_) | None => return response,
        };
        MethodResponse::error(id, error)
    }
}

/// Puts the guard around the server library's own service.
#[derive(Clone)]
pub(crate) struct GuardLayer(pub(crate) Arc<Guard>);

impl<S> tower::Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: Arc::clone(&self.0) }
    }
}

/// The guarded service of one connection.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl<S> RpcServiceT for Guarded<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { inner, guard } = self.clone();
        async move {
            let id = request.id.clone().into_owned();
            let metrics = guard.metrics.of(&request.method).unwrap_or_else(|| guard.metrics.unknown()).clone();
            let started = Instant::now();
            let response = match guard.check(&request) {
                Err(error) => MethodResponse::error(id, error),
                Ok(()) => match tokio::time::timeout(guard.call_timeout, inner.call(request)).await {
                    Ok(response) => guard.restate(response, id),
                    Err(_) => MethodResponse::error(id, RpcError::new(Code::Timeout)),
                },
            };
            metrics.seconds.observe(started.elapsed().as_secs_f64());
            if response.is_success() {
                metrics.ok.inc()
            } else {
                metrics.error.inc()
            }
            response
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.clone();
        async move {
            let limit = usize::try_from(service.guard.response_bytes_max).unwrap_or(usize::MAX);
            let mut answers = BatchResponseBuilder::new_with_limit(limit);
            let mut notified = false;
            for entry in batch {
                let response = match entry {
                    Ok(BatchEntry::Call(request)) => service.call(request).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        service.notification(notification).await;
                        notified = true;
                        continue;
                    }
                    Err(refused) => {
                        let (_, id) = refused.into_parts();
                        MethodResponse::error(id, RpcError::new(Code::InvalidRequest))
                    }
                };
                if let Err(too_large) = answers.append(response) {
                    return too_large;
                }
            }
            if answers.is_empty() && notified {
                MethodResponse::notification()
            } else {
                MethodResponse::from_batch(answers.finish())
            }
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.notification(notification)
    }
}
