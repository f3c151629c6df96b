//! Who may call: which web pages, and who is the node's owner.
//!
//! A page sends its origin with every request that could reach us, so a page that has its name
//! point at this machine is refused as well; programs send no origin and are not concerned.

use crate::config::AllowedOrigins;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// That a request may call methods for the node's owner; in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner;

/// Whether the headers carry the bearer token. Takes the same time wherever the first difference is.
pub(crate) fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| {
        let differences = given.iter().zip(token.as_bytes()).fold(0, |bits, (left, right)| bits | (left ^ right));
        !token.is_empty() && given.len() == token.len() && differences == 0
    })
}

/// Names of this machine.
const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl AllowedOrigins {
    /// Whether a request with these headers may be answered.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        headers.get_all(hyper::header::ORIGIN).iter().all(|origin| self.contain(origin))
    }

    fn contain(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        match self {
            Self::Any => true,
            Self::List(list) => list.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
            Self::Local => {
                let Some((_, rest)) = origin.split_once("://") else { return false };
                let host = match rest.rsplit_once(':') {
                    Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
                    Some(_) | None => rest,
                };
                LOCAL_HOSTS.iter().any(|local| local.eq_ignore_ascii_case(host))
            }
        }
    }

    /// The layer that tells browsers so.
    pub(crate) fn cors(&self) -> CorsLayer {
        let origins = match self {
            Self::Any => AllowOrigin::any(),
            Self::Local | Self::List(_) => {
                let allowed = self.clone();
                AllowOrigin::predicate(move |origin, _| allowed.contain(origin))
            }
        };
        CorsLayer::new()
            .allow_methods([Method::POST])
            .allow_headers([CONTENT_TYPE, AUTHORIZATION])
            .allow_origin(origins)
    }
}
