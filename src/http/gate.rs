//! The gate: every request passes here before it is routed, and every answer on its way out.
//!
//! It gives requests their ids, asks the guard who may make them, and writes the audit log. What each path needs is
//! said in `rights`.

use std::{net::SocketAddr, sync::Arc};

use axum::http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, ORIGIN, RETRY_AFTER, UPGRADE,
        WWW_AUTHENTICATE,
    },
};
use matchit::Params;

use super::{
    HttpState,
    audit::{Entry, is_told},
    caller::{Caller, TrustedProxies},
    cors::Cors,
    problem::{Problem, ProblemKind},
    request_id::{RequestId, RequestIds},
    rights::{Need, Reach, Rights, check_reach},
    within::Holder,
};
use crate::{
    access::{Admitted, Guard, Refusal},
    clock::WallClock,
    config::AuditLog,
    model::Role,
};

/// RFC 6750, section 3.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"grapevine\"");
const INVALID_TOKEN: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"grapevine\", error=\"invalid_token\"");
const INSUFFICIENT: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"grapevine\", error=\"insufficient_scope\"");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const SCHEME: &str = "bearer ";

/// What a request passes.
pub(super) struct Gate {
    guard: Arc<Guard>,
    clock: Arc<dyn WallClock>,
    cors: Arc<Cors>,
    audit: AuditLog,
    rights: Rights,
    ids: RequestIds,
    proxies: TrustedProxies,
}

impl Gate {
    pub(super) fn new(state: &HttpState) -> Self {
        Self {
            guard: state.guard.clone(),
            clock: state.clock.clone(),
            cors: state.cors.clone(),
            audit: state.audit,
            rights: Rights::new(),
            ids: RequestIds::default(),
            proxies: state.proxies.clone(),
        }
    }

    /// The id of a request.
    pub(super) fn id<B>(&self, request: &Request<B>) -> RequestId {
        self.ids.of(request.headers())
    }

    /// Whether a request that came from `peer` may go on; and what is told of it once it is answered, if anything is.
    pub(super) fn pass<B>(
        &self,
        request: &mut Request<B>,
        id: &RequestId,
        peer: SocketAddr,
    ) -> (Option<Entry>, Result<(), Problem>) {
        let passing = Passing {
            gate: self,
            id,
            client: self.proxies.caller(peer, request.headers()),
            method: request.method(),
            headers: request.headers(),
        };
        let (entry, passed) = passing.judge(request.uri().path());
        match passed {
            Ok(holder) => {
                if let Some(holder) = holder {
                    request.extensions_mut().insert(holder);
                }
                (entry, Ok(()))
            }
            Err(problem) => (entry, Err(problem)),
        }
    }
}

/// A request that is looked at.
struct Passing<'a> {
    gate: &'a Gate,
    id: &'a RequestId,
    client: Caller,
    method: &'a Method,
    headers: &'a HeaderMap,
}

impl Passing<'_> {
    fn judge(&self, path: &str) -> (Option<Entry>, Result<Option<Holder>, Problem>) {
        if let Err(problem) = plain_content(self.headers) {
            return (None, Err(problem));
        }
        let found = self.gate.rights.at(path);
        let need = found.as_ref().map(|(right, _)| right.need(self.method));
        if need == Some(Need::Nobody) {
            return (None, Ok(None));
        }
        let entry = |role: Role| {
            let (right, params) = found.as_ref()?;
            is_told(self.gate.audit, role).then(|| self.entry(right.pattern, params))
        };
        let admitted = match self.admit() {
            Ok(admitted) => admitted,
            Err((problem, is_told)) => {
                let told = found
                    .as_ref()
                    .filter(|_| is_told && self.gate.audit != AuditLog::Off);
                let entry = told.map(|(right, params)| self.entry(right.pattern, params));
                return (entry, Err(problem));
            }
        };
        let (Some((right, params)), Some(Need::Token(role, reach))) = (found.as_ref(), need) else {
            // Open access goes on to the router, which says what there is instead.
            let passed = match admitted {
                Admitted::Open => Ok(None),
                Admitted::By(_) => Err(Problem::not_found(format!(
                    "{path} is not a path of this API"
                ))),
            };
            return (None, passed);
        };
        let allowed = self.allowed(&admitted, role, reach, params);
        let told = match allowed {
            Ok(()) => entry(role),
            Err(_) if self.gate.audit == AuditLog::Off => None,
            Err(_) => Some(self.entry(right.pattern, params)),
        };
        let told = told.map(|entry| entry.by(&admitted));
        let limited = matches!(&admitted, Admitted::By(grant) if grant.limit().is_some());
        let holder = (limited || right.lasts).then(|| Holder::new(admitted));
        (told, allowed.map(|()| holder))
    }

    /// By what right the request is let in, or why not and whether that is told in the audit log.
    fn admit(&self) -> Result<Admitted, (Problem, bool)> {
        let token = shown_token(self.headers).map_err(|problem| (problem, true))?;
        let now_ms = self.gate.clock.unix_ms();
        let admitted = self.gate.guard.admit(token, self.client.ip(), now_ms);
        admitted.map_err(|refusal| refused(self.id, self.client, refusal))
    }

    fn allowed(
        &self,
        admitted: &Admitted,
        role: Role,
        reach: Reach,
        params: &Params<'_, '_>,
    ) -> Result<(), Problem> {
        match admitted {
            Admitted::Open if self.is_of_foreign_page() => {
                let detail =
                    "a web page of another origin asks, which `cors_origins` does not name";
                Err(Problem::new(ProblemKind::Forbidden, detail).about("Origin"))
            }
            Admitted::Open => Ok(()),
            Admitted::By(grant) if grant.role() < role => {
                let detail = format!(
                    "this takes a token of the role {role}; this one is for {}",
                    grant.role()
                );
                Err(insufficient(Problem::new(ProblemKind::Forbidden, detail)))
            }
            Admitted::By(grant) => match grant.limit() {
                Some(limit) => check_reach(reach, params, limit).map_err(insufficient),
                None => Ok(()),
            },
        }
    }

    /// Whether a page of an origin that is not let in makes a request that could change something, or listens over a
    /// WebSocket, which browsers let any page do. With tokens no page has anything that a browser would add by itself.
    fn is_of_foreign_page(&self) -> bool {
        let Some(origin) = self.headers.get(ORIGIN) else {
            return false;
        };
        if self.method.is_safe() && !self.headers.contains_key(UPGRADE) {
            return false;
        }
        let host = self.headers.get(HOST).map(HeaderValue::as_bytes);
        let origin_host = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"));
        let is_own = origin_host.is_some_and(|(_, own)| host == Some(own.as_bytes()));
        !is_own && self.gate.cors.allowed(self.headers).is_none()
    }

    fn entry(&self, route: &'static str, params: &Params<'_, '_>) -> Entry {
        let parts: Vec<&str> = params.iter().map(|(_, part)| part).collect();
        Entry::new(self.id, self.client, self.method, route, parts.join(" "))
    }
}

/// The token that a request shows (RFC 6750, section 2.1), if it shows one.
fn shown_token(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::malformed("Authorization", "is there twice"));
    }
    let text = value.to_str().unwrap_or_default();
    let scheme = text
        .get(..SCHEME.len())
        .filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    // Another scheme is not one that is known here, as if nothing had been shown.
    Ok(scheme.map(|scheme| text[scheme.len()..].trim()))
}

/// What is answered to who is not let in, and whether the audit log tells it.
fn refused(id: &RequestId, client: Caller, refusal: Refusal) -> (Problem, bool) {
    let unauthorized = |detail: &str, challenge| {
        let problem = Problem::new(ProblemKind::Unauthorized, detail);
        problem
            .about("Authorization")
            .saying(WWW_AUTHENTICATE, challenge)
    };
    match refusal {
        Refusal::NoToken { any_made: true } => {
            let detail = "say `Authorization: Bearer` and a token; an admin makes one with `grapevine token new`";
            (unauthorized(detail, CHALLENGE), false)
        }
        Refusal::NoToken { any_made: false } => {
            let detail = "this node is not on loopback alone, and no token was made yet: make the first with \
                          `grapevine token bootstrap --data DIR` while the node is stopped, or on a member that is on \
                          loopback; or set `insecure` to let everybody in";
            (unauthorized(detail, CHALLENGE), false)
        }
        Refusal::BadToken => {
            let detail = "this token is none, or was revoked";
            (unauthorized(detail, INVALID_TOKEN), true)
        }
        Refusal::Expired => {
            let detail = "this token has expired";
            (unauthorized(detail, INVALID_TOKEN), true)
        }
        Refusal::TooMany { wait } => {
            tracing::debug!(request_id = %id, %client, "too many attempts have failed");
            let seconds = wait.as_secs() + 1;
            let detail = format!("too many attempts with bad tokens; come back in {seconds} s");
            let problem = Problem::new(ProblemKind::TooManyAttempts, detail);
            (problem.saying(RETRY_AFTER, seconds.into()), false)
        }
        Refusal::Store(error) => (error.into(), false),
    }
}

fn insufficient(problem: Problem) -> Problem {
    problem.saying(WWW_AUTHENTICATE, INSUFFICIENT)
}

/// Refuses a body that would have to be unpacked first: a small one could become a giant.
fn plain_content(headers: &HeaderMap) -> Result<(), Problem> {
    let coded = headers.get_all(CONTENT_ENCODING).iter().any(|coding| {
        let coding = coding.as_bytes();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    });
    if !coded {
        return Ok(());
    }
    let detail = "compressed bodies are not read here; send it as it is";
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail)
        .about("Content-Encoding")
        .saying(ACCEPT_ENCODING, IDENTITY))
}
