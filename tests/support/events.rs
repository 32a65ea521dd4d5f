//! Server-sent events, read from an answer one by one.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// How long a test waits for an event that must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// What comes, and where it has got to.
pub(crate) struct Events {
    response: Response,
    text: String,
    /// What a client would tell when it comes back.
    pub(crate) last_id: Option<String>,
    /// How many comments came.
    pub(crate) beats: usize,
}

impl Events {
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status().as_u16(), 200);
        let content_type = &response.headers()["content-type"];
        assert_eq!(content_type, "text/event-stream");
        Self {
            response,
            text: String::new(),
            last_id: None,
            beats: 0,
        }
    }

    /// Reads until the answer says how far it has got.
    pub(crate) async fn position(&mut self) -> String {
        loop {
            if let Some(id) = &self.last_id {
                return id.clone();
            }
            let block = self.block().await.expect("the answer goes on");
            assert_eq!(block, None, "no event is awaited");
        }
    }

    /// Reads one block, which must be no event.
    pub(crate) async fn beat(&mut self) {
        let block = self.block().await.expect("the answer goes on");
        assert_eq!(block, None, "no event is awaited");
    }

    /// The next event; `None` if the answer ends.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.block().await? {
                return Some(event);
            }
        }
    }

    /// The next event, which must come.
    pub(crate) async fn expect(&mut self) -> Event {
        self.next().await.expect("the answer goes on")
    }

    /// Reads one block; yields the event that it is, if it is one. `None` at the end.
    #[allow(
        clippy::option_option,
        reason = "the end, a block that is no event, or an event"
    )]
    async fn block(&mut self) -> Option<Option<Event>> {
        let block = loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                break block;
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk());
            let chunk = chunk.await.expect("something comes in time");
            let chunk = chunk.ok().flatten()?;
            self.text
                .push_str(core::str::from_utf8(&chunk).expect("events are text"));
        };
        let (mut name, mut data) = ("message".to_owned(), None);
        for line in block.lines() {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("event", text) => text.clone_into(&mut name),
                ("data", text) => data = Some(serde_json::from_str(text).expect("JSON")),
                ("id", text) => self.last_id = Some(text.to_owned()),
                ("" | ":", _) => self.beats += 1,
                (line, _) => panic!("no such line: {line}"),
            }
        }
        Some(data.map(|data| Event { name, data }))
    }
}
