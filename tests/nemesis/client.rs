//! A client: a session that hops from node to node with its token, writes what only it writes (and counts where
//! all count), and notes every call and answer.
//!
//! An entity to which something happened that nobody can tell is written once more, through other nodes, and then
//! never again: a write that is late could otherwise undo a newer one, and rightly so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng as _, rngs::StdRng};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{
    history::{Answer, Call, Entry, State},
    network::NODES,
};

/// More than a node waits for what a token names.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Between two requests, so that the machine is not all load.
const PAUSE: Duration = Duration::from_millis(8);

/// After a node gave no answer.
const PAUSE_AFTER_NOTHING: Duration = Duration::from_millis(60);

/// Entities of each kind that a client works on.
const ENTITIES: usize = 3;

/// How often something of which nobody knows is tried again.
const RETRIES: usize = 3;

/// How often a count with a key is.
const KEYED_RETRIES: usize = 20;

/// Keys of one counter: far below what a counter takes.
const KEYS_PER_COUNTER: usize = 400;

/// The counter of all.
pub(crate) const SHARED: &str = "shared";

const TOKEN: &str = "grapevine-token";

/// One client.
pub(crate) struct Client {
    number: usize,
    rng: StdRng,
    http: reqwest::Client,
    urls: Vec<String>,
    token: Option<String>,
    /// Whether the token is sent back. Only to show that the checker sees it if it is not.
    forgetful: bool,
    began: Instant,
    history: Vec<Entry>,
    written: usize,
    /// The generation of each key-value and each contact, and whether it is there.
    keys: [(usize, bool); ENTITIES],
    contacts: [(usize, bool); ENTITIES],
    idempotent: usize,
    node: usize,
}

impl Client {
    pub(crate) fn new(
        number: usize,
        seed: u64,
        urls: &[String],
        began: Instant,
        forgetful: bool,
    ) -> Self {
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()
            .expect("a client needs nothing from outside");
        Self {
            number,
            rng: StdRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9)),
            http,
            urls: urls.to_vec(),
            token: None,
            forgetful,
            began,
            history: Vec::new(),
            written: 0,
            keys: [(0, false); ENTITIES],
            contacts: [(0, false); ENTITIES],
            idempotent: 0,
            node: number % NODES,
        }
    }

    /// Works until told to stop; yields its history.
    pub(crate) async fn run(mut self, stop: Arc<AtomicBool>) -> Vec<Entry> {
        while !stop.load(Ordering::Relaxed) {
            if self.rng.random_bool(0.5) {
                self.hop();
            }
            let which = self.rng.random_range(0..ENTITIES);
            match self.rng.random_range(0..10) {
                0..3 => self.write_key(which).await,
                3..6 => self.write_contact(which).await,
                6 => {
                    let by = self.rng.random_range(1..5);
                    let call = Call::Count(format!("own-{}", self.number), by, None);
                    self.call(call).await;
                }
                7 => self.count_once().await,
                8 => {
                    let by = self.rng.random_range(1..5);
                    let by = if self.rng.random_bool(0.3) { -by } else { by };
                    self.call(Call::Count(SHARED.to_owned(), by, None)).await;
                }
                _ => self.read(which).await,
            }
            if self.rng.random_bool(0.4) {
                self.hop();
                self.read(which).await;
            }
        }
        self.history
    }

    fn hop(&mut self) {
        self.node = (self.node + self.rng.random_range(1..NODES)) % NODES;
    }

    fn key(&self, which: usize) -> String {
        format!("/v1/kv/c{}-{which}-{}", self.number, self.keys[which].0)
    }

    fn contact(&self, which: usize) -> String {
        let generation = self.contacts[which].0;
        format!("/v1/contacts/c{}-{which}-{generation}", self.number)
    }

    fn keyed(&self) -> String {
        format!(
            "keyed-{}-{}",
            self.number,
            self.idempotent / KEYS_PER_COUNTER
        )
    }

    fn fresh(&mut self) -> String {
        self.written += 1;
        format!("w{}", self.written)
    }

    async fn write_key(&mut self, which: usize) {
        let path = self.key(which);
        let put = !self.keys[which].1 || self.rng.random_bool(0.75);
        let call = if put {
            Call::Put(path, State::from([("value".to_owned(), self.fresh())]))
        } else {
            Call::Remove(path)
        };
        match self.call(call.clone()).await {
            Answer::Done => self.keys[which].1 = put,
            Answer::Indeterminate(_) => {
                self.again(call).await;
                self.keys[which] = (self.keys[which].0 + 1, false);
            }
            Answer::Refused(_) | Answer::Shown(_) | Answer::Counted(_) => {}
        }
    }

    async fn write_contact(&mut self, which: usize) {
        let path = self.contact(which);
        let there = self.contacts[which].1;
        let removes = there && self.rng.random_bool(0.15);
        let patches = there && !removes && self.rng.random_bool(0.7);
        let call = if removes {
            Call::Remove(path)
        } else if patches {
            let field = ["name", "title", "note"][self.rng.random_range(0..3)];
            Call::Patch(path, State::from([(field.to_owned(), self.fresh())]))
        } else {
            let mut state = State::new();
            for field in ["name", "title", "note"] {
                state.insert(field.to_owned(), self.fresh());
            }
            Call::Put(path, state)
        };
        match self.call(call.clone()).await {
            Answer::Done => {
                self.contacts[which].1 = !removes;
            }
            Answer::Indeterminate(_) => {
                if !removes {
                    self.again(call).await;
                }
                self.contacts[which] = (self.contacts[which].0 + 1, false);
            }
            Answer::Refused(_) | Answer::Shown(_) | Answer::Counted(_) => {}
        }
    }

    /// The same once more, through other nodes, until one acknowledges it.
    async fn again(&mut self, call: Call) {
        for _ in 0..RETRIES {
            self.hop();
            if matches!(self.call(call.clone()).await, Answer::Done) {
                return;
            }
        }
    }

    async fn count_once(&mut self) {
        let by = self.rng.random_range(1..5);
        let call = Call::Count(self.keyed(), by, Some(format!("k{}", self.idempotent)));
        for _ in 0..KEYED_RETRIES {
            let answer = self.call(call.clone()).await;
            // Now and then one that was answered is repeated, as if the answer had been lost.
            if matches!(answer, Answer::Done) && self.rng.random_bool(0.7) {
                break;
            }
            self.hop();
        }
        self.idempotent += 1;
    }

    async fn read(&mut self, which: usize) {
        let call = match self.rng.random_range(0..6) {
            0..2 => Call::Read(self.key(which)),
            2..4 => Call::Read(self.contact(which)),
            4 => Call::ReadCounter(format!("own-{}", self.number)),
            _ => Call::ReadCounter(self.keyed()),
        };
        self.call(call).await;
    }

    /// Does one request on the node where we are, and notes it.
    async fn call(&mut self, call: Call) -> Answer {
        let answer = match self.ask(&call).await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => {
                Answer::Indeterminate("no answer in time".to_owned())
            }
            Err(_) => Answer::Indeterminate("torn off".to_owned()),
        };
        let pause = match &answer {
            Answer::Indeterminate(_) => PAUSE_AFTER_NOTHING,
            Answer::Done | Answer::Shown(_) | Answer::Counted(_) | Answer::Refused(_) => PAUSE,
        };
        let full = matches!(&answer, Answer::Refused(why) if why == "token-full");
        self.note(call, answer.clone());
        if full {
            self.token = None;
            self.note(Call::NewSession, Answer::Done);
            for (generation, there) in self.keys.iter_mut().chain(&mut self.contacts) {
                (*generation, *there) = (*generation + 1, false);
            }
        }
        tokio::time::sleep(pause).await;
        answer
    }

    fn note(&mut self, call: Call, answer: Answer) {
        self.history.push(Entry {
            at_ms: self.began.elapsed().as_millis(),
            node: self.node,
            call,
            answer,
        });
    }

    fn request(&self, call: &Call) -> RequestBuilder {
        let request = |method, path: &str| {
            let url = format!("{}{path}", self.urls[self.node]);
            self.http.request(method, url)
        };
        match call {
            Call::NewSession => unreachable!("it is no request"),
            Call::Put(path, state) if path.starts_with("/v1/kv/") => request(Method::PUT, path)
                .header("content-type", "text/plain")
                .body(state["value"].clone()),
            Call::Put(path, state) => request(Method::PUT, path).json(state),
            Call::Patch(path, fields) => request(Method::PATCH, path)
                .header("content-type", "application/merge-patch+json")
                .body(json!(fields).to_string()),
            Call::Remove(path) => request(Method::DELETE, path),
            Call::Read(path) => request(Method::GET, path),
            Call::Count(counter, by, key) => {
                let way = if *by < 0 { "decrement" } else { "increment" };
                let path = format!("/v1/counters/{counter}/{way}");
                let request = request(Method::POST, &path).json(&json!({ "by": by.abs() }));
                match key {
                    Some(key) => request.header("idempotency-key", key),
                    None => request,
                }
            }
            Call::ReadCounter(counter) => request(Method::GET, &format!("/v1/counters/{counter}")),
        }
    }

    async fn ask(&mut self, call: &Call) -> reqwest::Result<Answer> {
        let mut request = self.request(call);
        let sends = !self.forgetful || call.is_write();
        if let Some(token) = self.token.as_ref().filter(|_| sends) {
            request = request.header(TOKEN, token);
        }
        let response = request.send().await?;
        let status = response.status();
        let token = response.headers().get(TOKEN).cloned();
        let bytes = response.bytes().await?;
        if !status.is_success() {
            return Ok(refusal(call, status, &bytes));
        }
        if call.is_write() {
            let token = token.as_ref().and_then(|token| token.to_str().ok());
            self.token = Some(token.expect("every write answers with one").to_owned());
            return Ok(Answer::Done);
        }
        Ok(shown(call, &bytes))
    }
}

fn refusal(call: &Call, status: StatusCode, bytes: &[u8]) -> Answer {
    if status == StatusCode::NOT_FOUND && matches!(call, Call::Read(_)) {
        return Answer::Shown(None);
    }
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let kind = problem["type"].as_str().unwrap_or_default();
    let kind = kind.rsplit(':').next().unwrap_or_default().to_owned();
    match kind.as_str() {
        "timeout" | "unavailable" | "insufficient-storage" => Answer::Indeterminate(kind),
        _ => Answer::Refused(kind),
    }
}

/// What the answer to a read says.
pub(crate) fn shown(call: &Call, bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    match call {
        Call::Read(path) if path.starts_with("/v1/kv/") => {
            Answer::Shown(Some(State::from([("value".to_owned(), text)])))
        }
        Call::Read(_) => {
            let contact: Value = serde_json::from_str(&text).expect("a contact is JSON");
            let field = |name: &str| Some((name.to_owned(), contact[name].as_str()?.to_owned()));
            let fields = ["name", "title", "note"].into_iter().filter_map(field);
            Answer::Shown(Some(fields.collect()))
        }
        Call::ReadCounter(_) => {
            let counter: Value = serde_json::from_str(&text).expect("a counter is JSON");
            Answer::Counted(counter["value"].as_i64().expect("a value is an integer"))
        }
        Call::NewSession | Call::Put(..) | Call::Patch(..) | Call::Remove(_) | Call::Count(..) => {
            Answer::Done
        }
    }
}
