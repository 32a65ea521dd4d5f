//! Lists, page by page.

use serde::{Deserialize, de::DeserializeOwned};
use std::collections::VecDeque;

use super::{call::Call, client::Client, error::ClientError};

/// How many items are asked for at once.
const PAGE_ITEMS: u32 = 500;

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// A list that is fetched as it is read.
#[derive(Debug)]
pub struct List<T> {
    client: Client,
    call: Call,
    cursor: Option<String>,
    held: VecDeque<T>,
    ended: bool,
    /// Whether it comes in pages; else the one answer is all of it.
    paged: bool,
}

impl<T: DeserializeOwned> List<T> {
    pub(super) fn new(client: &Client, call: Call) -> Self {
        Self {
            client: client.clone(),
            call,
            cursor: None,
            held: VecDeque::new(),
            ended: false,
            paged: true,
        }
    }

    /// A list that is so short that nodes tell it whole.
    pub(super) fn whole(client: &Client, call: Call) -> Self {
        Self {
            paged: false,
            ..Self::new(client, call)
        }
    }

    /// The next item; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        while self.held.is_empty() && !self.ended {
            let mut call = self.call.clone();
            if self.paged {
                call = call.parameter("limit", &PAGE_ITEMS.to_string());
            }
            if let Some(cursor) = &self.cursor {
                call = call.parameter("cursor", cursor);
            }
            let page: Page<T> = self.client.send(call).await?.json()?;
            self.held = page.items.into();
            self.ended = page.next.is_none();
            self.cursor = page.next;
        }
        Ok(self.held.pop_front())
    }

    /// At most `most` of what is left.
    pub async fn take(&mut self, most: usize) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        while items.len() < most {
            match self.next().await? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Ok(items)
    }
}
