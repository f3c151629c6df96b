//! Counters and gauges of the server.

use prometheus::{Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::collections::BTreeMap;

/// The label of calls to methods that do not exist.
const UNKNOWN: &str = "unknown";

/// Upper bounds of the call time's buckets, in seconds.
const SECONDS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The metrics of one method, looked up once per call.
#[derive(Clone)]
pub(crate) struct MethodMetrics {
    pub(crate) ok: IntCounter,
    pub(crate) error: IntCounter,
    pub(crate) seconds: Histogram,
}

/// What is counted for each method.
pub(crate) struct CallMetrics {
    methods: BTreeMap<&'static str, MethodMetrics>,
    unknown: MethodMetrics,
}

impl CallMetrics {
    /// Registers one series for each of `methods`.
    pub(crate) fn new(registry: &Registry, methods: impl Iterator<Item = &'static str>) -> Result<Self, Error> {
        let calls = IntCounterVec::new(
            Opts::new("cairn_rpc_calls_total", "Calls by method and outcome (ok, error)"),
            &["method", "outcome"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("cairn_rpc_call_seconds", "Time from request to response by method, in seconds")
                .buckets(SECONDS.to_vec()),
            &["method"],
        )?;
        registry.register(Box::new(calls.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        let of = |name: &'static str| MethodMetrics {
            ok: calls.with_label_values(&[name, "ok"]),
            error: calls.with_label_values(&[name, "error"]),
            seconds: seconds.with_label_values(&[name]),
        };
        Ok(Self { methods: methods.map(|name| (name, of(name))).collect(), unknown: of(UNKNOWN) })
    }

    /// The metrics of a method; `None` if there is no such method.
    pub(crate) fn of(&self, method: &str) -> Option<&MethodMetrics> {
        self.methods.get(method)
    }

    /// The metrics of all calls to methods that do not exist.
    pub(crate) const fn unknown(&self) -> &MethodMetrics {
        &self.unknown
    }
}

/// What is counted for the whole server.
pub(crate) struct ServerMetrics {
    pub(crate) connections: IntGauge,
    pub(crate) connections_refused: IntCounter,
    pub(crate) subscriptions: IntGauge,
    pub(crate) subscribers_slow: IntCounter,
}

impl ServerMetrics {
    /// Registers the metrics.
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        let metrics = Self {
            connections: IntGauge::new("cairn_rpc_connections_count", "Open connections")?,
            connections_refused: IntCounter::new(
                "cairn_rpc_connections_refused_total",
                "Connections refused because there were too many",
            )?,
            subscriptions: IntGauge::new("cairn_rpc_subscriptions_count", "Open subscriptions")?,
            subscribers_slow: IntCounter::new(
                "cairn_rpc_subscribers_slow_total",
                "Subscriptions closed because nobody read them",
            )?,
        };
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.connections_refused.clone()))?;
        registry.register(Box::new(metrics.subscriptions.clone()))?;
        registry.register(Box::new(metrics.subscribers_slow.clone()))?;
        Ok(metrics)
    }
}

/// One in a gauge for as long as it lives.
pub(crate) struct Counted(IntGauge);

impl Counted {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
