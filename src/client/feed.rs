//! What a node tells as it happens: server-sent events, gone on with after a cut where they ended.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    header::{ACCEPT, HeaderName},
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::{call::Call, client::Client, error::ClientError};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What a node says before it cuts off who reads too slowly.
const OVERFLOW: &str = "overflow";
/// A node that said nothing for so long is asked anew: it says something every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a feed rests before it begins again.
const PAUSE: Duration = Duration::from_millis(100);
/// The most bytes of one event.
const MAX_EVENT_BYTES: usize = 16 * 1_024 * 1_024;

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    data: String,
    id: Option<String>,
}

/// What happens, one thing after another, without end. Nothing is missed when a node goes away; something may be told
/// twice.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    /// How it begins, and how it goes on once there is a place to go on from.
    first: Call,
    again: Call,
    last_id: Option<String>,
    body: Option<(String, Incoming)>,
    begun: bool,
    parser: Parser,
}

impl Feed {
    /// `first` is asked until an event has an id, then `again` with that.
    pub(super) fn new(client: &Client, first: Call, again: Call) -> Self {
        Self {
            client: client.clone(),
            first,
            again,
            last_id: None,
            body: None,
            begun: false,
            parser: Parser::default(),
        }
    }

    /// What happens next. An error says that no node tells it any more.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        loop {
            while let Some(event) = self.parser.events.pop_front() {
                self.last_id = event.id.or(self.last_id.take());
                if event.kind == OVERFLOW {
                    self.body = None;
                } else if !event.data.is_empty() {
                    return serde_json::from_str(&event.data)
                        .map_err(|error| self.unexpected(&error.to_string()));
                }
            }
            let Some((_, body)) = &mut self.body else {
                self.begin().await?;
                continue;
            };
            let frame = timeout(SILENCE, body.frame()).await;
            let Ok(Some(Ok(frame))) = frame else {
                self.body = None;
                continue;
            };
            if let Ok(bytes) = frame.into_data() {
                self.parser.push(&bytes);
                if self.parser.waiting.len() > MAX_EVENT_BYTES {
                    return Err(self.unexpected("an event without an end"));
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), ClientError> {
        if self.begun {
            sleep(PAUSE).await;
        }
        self.begun = true;
        self.parser = Parser::default();
        let call = match &self.last_id {
            Some(id) => self.again.clone().header(LAST_EVENT_ID, id)?,
            None => self.first.clone(),
        };
        let call = call.header(ACCEPT, "text/event-stream")?;
        let (node, response) = self.client.stream(&call).await?;
        self.body = Some((node, response.into_body()));
        Ok(())
    }

    fn unexpected(&self, why: &str) -> ClientError {
        let node = self.body.as_ref().map(|(node, _)| node.clone());
        ClientError::Unexpected {
            node: node.unwrap_or_default(),
            why: why.to_owned(),
        }
    }
}

/// Makes events of bytes, as the HTML standard says (section 9.2.6).
#[derive(Debug, Default)]
struct Parser {
    waiting: Vec<u8>,
    current: Event,
    events: VecDeque<Event>,
}

impl Parser {
    fn push(&mut self, bytes: &Bytes) {
        self.waiting.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(length) = self.waiting[taken..].iter().position(|byte| *byte == b'\n') {
            let line = &self.waiting[taken..taken + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = String::from_utf8_lossy(line).into_owned();
            taken += length + 1;
            self.line(&line);
        }
        self.waiting.drain(..taken);
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            self.events.push_back(std::mem::take(&mut self.current));
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.current.kind),
            "id" => self.current.id = Some(value.to_owned()),
            "data" => {
                if !self.current.data.is_empty() {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let text = ": beat\n\nevent: change\r\ndata: {\"a\":\ndata: \"ü\"}\nid: 7\n\nid: 8\n\n";
        let read = |pieces: &[&[u8]]| {
            let mut parser = Parser::default();
            for piece in pieces {
                parser.push(&Bytes::copy_from_slice(piece));
            }
            Vec::from(parser.events)
        };
        let whole = read(&[text.as_bytes()]);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[1].kind, "change");
        assert_eq!(whole[1].data, "{\"a\":\n\"ü\"}");
        assert_eq!(whole[2].id.as_deref(), Some("8"));
        for cut in 0..text.len() {
            let (one, two) = text.as_bytes().split_at(cut);
            assert_eq!(read(&[one, two]), whole, "cut at {cut}");
        }
    }
}
