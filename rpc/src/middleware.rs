//! What happens around every call, in a batch or alone: time limit, metrics, and errors in our shape.

use crate::access::Owner;
use crate::error::{Code, RpcError};
use crate::metrics::CallMetrics;
use crate::session::Session;
use crate::table::{Access, METHODS, Method};
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodCallback, MethodResponse, Methods, ResponsePayload};
use jsonrpsee::types::{Id, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Groups whose methods belong to what their connection has under way.
const SESSION_GROUPS: [&str; 2] = ["chainHead_v1_", "transaction_v1_"];

/// Ends of subscriptions that are answered by `null`, as the specification of their groups has it; the server library
/// answers all of them by whether there was such a subscription.
const ENDS_BY_NULL: [&str; 3] = ["chainHead_v1_unfollow", "archive_v1_stopStorage", "archive_v1_stopStorageDiff"];

/// As those, but an error where there was none.
const END_BY_NULL_OR_ERROR: &str = "transactionWatch_v1_unwatch";

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
    /// Who may call, and the tokens that it costs, by name; the rest is a point read that everybody may make.
    rules: BTreeMap<&'static str, (Access, u32)>,
    call_timeout: Duration,
    response_bytes_max: u32,
    subscriptions_max: u32,
}

impl Guard {
    pub(crate) fn new(methods: &Methods, metrics: CallMetrics, config: &crate::config::RpcConfig) -> Self {
        let needs_websocket = |name: &&'static str| {
            let callback = methods.method(name);
            let is_session = SESSION_GROUPS.iter().any(|group| name.starts_with(group));
            is_session || matches!(callback, Some(MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_)))
        };
        let rule = |method: &'static Method| {
            method.names().map(|name| (name, (method.access, method.cost.tokens()))).collect::<Vec<_>>()
        };
        Self {
            metrics,
            rules: METHODS.iter().flat_map(rule).collect(),
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
            return Err(RpcError::with_detail(Code::MethodNotFound, "this method needs a WebSocket connection"));
        }
        let (access, tokens) = self.rules.get(&*request.method).copied().unwrap_or((Access::Safe, 1));
        if access == Access::Unsafe && request.extensions.get::<Owner>().is_none() {
            return Err(RpcError::new(Code::UnsafeMethod));
        }
        let session = request.extensions.get::<Arc<Session>>();
        if let Some(budget) = session.and_then(|session| session.budget.as_ref()) {
            budget.take(tokens, Instant::now()).map_err(RpcError::rate_limited)?;
        }
        Ok(())
    }

    /// Gives the errors that the server library makes our shape.
    fn restate(&self, response: MethodResponse, method: &str, id: Id<'_>) -> MethodResponse {
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
            None if ENDS_BY_NULL.contains(&method) => return null(id),
            None if method == END_BY_NULL_OR_ERROR => {
                if response.as_json().get().contains("\"result\":true") {
                    return null(id);
                }
                RpcError::invalid_params("no subscription of this connection has this id")
            }
            Some(_) | None => return response,
        };
        MethodResponse::error(id, error)
    }
}

fn null(id: Id<'_>) -> MethodResponse {
    MethodResponse::response(id, ResponsePayload::success(()), usize::MAX)
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
            let method = request.method.clone().into_owned();
            let metrics = guard.metrics.of(&request.method).unwrap_or_else(|| guard.metrics.unknown()).clone();
            let started = Instant::now();
            let response = match guard.check(&request) {
                Err(error) => MethodResponse::error(id, error),
                Ok(()) => match tokio::time::timeout(guard.call_timeout, inner.call(request)).await {
                    Ok(response) => guard.restate(response, &method, id),
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
