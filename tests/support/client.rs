//! HTTP to a node, as a user's program would speak it.

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a request brought no answer of success: what a user's program would see.
#[derive(Debug)]
pub struct Refused(pub String);

/// One node, by its address.
#[derive(Clone, Debug)]
pub struct NodeClient {
    url: String,
    http: Client,
}

impl NodeClient {
    pub fn new(url: impl Into<String>) -> Self {
        let http = Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()
            .expect("a client needs nothing from outside");
        Self {
            url: url.into(),
            http,
        }
    }

    /// Any request; its answer whatever the status.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response, Refused> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some((content_type, bytes)) = body {
            request = request.header("content-type", content_type).body(bytes);
        }
        request
            .send()
            .await
            .map_err(|error| Refused(format!("{path}: {error:?}")))
    }

    /// Any request; the bytes of its answer if it succeeded.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Vec<u8>, Refused> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| Refused(format!("{path}: {error:?}")))?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let text = String::from_utf8_lossy(&bytes);
        Err(Refused(format!("{path}: {status}: {text}")))
    }

    /// Any request with JSON; its JSON answer if it succeeded.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Refused> {
        let merge_patch = method == Method::PATCH;
        let body = body.map(|body| {
            let content_type = if merge_patch {
                "application/merge-patch+json"
            } else {
                "application/json"
            };
            (content_type, body.to_string().into_bytes())
        });
        let bytes = self.bytes(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| Refused(format!("{path}: {error}")))
    }

    pub async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.json(Method::GET, path, None).await
    }

    pub async fn put_kv(&self, key: &str, value: &str) -> Result<(), Refused> {
        let body = Some(("text/plain", value.as_bytes().to_vec()));
        self.bytes(Method::PUT, &format!("/v1/kv/{key}"), body)
            .await
            .map(drop)
    }

    /// `None` if the node answers that there is no such key.
    pub async fn get_kv(&self, key: &str) -> Result<Option<String>, Refused> {
        let path = format!("/v1/kv/{key}");
        let response = self.send(Method::GET, &path, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = response
            .error_for_status()
            .map_err(|error| Refused(format!("{path}: {error}")))?;
        let text = response
            .text()
            .await
            .map_err(|error| Refused(format!("{path}: {error}")))?;
        Ok(Some(text))
    }

    pub async fn increment(&self, counter: &str, by: u64) -> Result<(), Refused> {
        self.json(
            Method::POST,
            &format!("/v1/counters/{counter}/increment"),
            Some(json!({ "by": by })),
        )
        .await
        .map(drop)
    }

    pub async fn decrement(&self, counter: &str, by: u64) -> Result<(), Refused> {
        self.json(
            Method::POST,
            &format!("/v1/counters/{counter}/decrement"),
            Some(json!({ "by": by })),
        )
        .await
        .map(drop)
    }

    /// Counts under an idempotency key.
    pub async fn increment_keyed(&self, counter: &str, key: &str, by: u64) -> Result<(), Refused> {
        let path = format!("/v1/counters/{counter}/increment");
        let request = self.http.post(format!("{}{path}", self.url));
        let request = request.header("idempotency-key", key);
        let answer = request.json(&json!({ "by": by })).send().await;
        answer
            .and_then(Response::error_for_status)
            .map(drop)
            .map_err(|error| Refused(format!("{path}: {error:?}")))
    }

    /// Tells the count of an outside writer.
    pub async fn tally(&self, counter: &str, writer: &str, value: u64) -> Result<(), Refused> {
        let path = format!("/v1/counters/{counter}/tallies/{writer}");
        let body = Some(json!({ "value": value }));
        self.json(Method::PUT, &path, body).await.map(drop)
    }

    pub async fn reset(&self, counter: &str) -> Result<(), Refused> {
        let path = format!("/v1/counters/{counter}/reset");
        self.json(Method::POST, &path, None).await.map(drop)
    }

    pub async fn delete_counter(&self, counter: &str) -> Result<(), Refused> {
        let path = format!("/v1/counters/{counter}");
        self.bytes(Method::DELETE, &path, None).await.map(drop)
    }

    pub async fn counter(&self, counter: &str) -> Result<i64, Refused> {
        let path = format!("/v1/counters/{counter}");
        let answer = self.get(&path).await?;
        answer["value"]
            .as_i64()
            .ok_or_else(|| Refused(format!("{path}: {answer}")))
    }

    /// Makes a contact; yields its id.
    pub async fn create_contact(&self, contact: Value) -> Result<String, Refused> {
        let answer = self
            .json(Method::POST, "/v1/contacts", Some(contact))
            .await?;
        answer["id"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Refused(format!("no id in {answer}")))
    }

    pub async fn patch_contact(&self, id: &str, patch: Value) -> Result<Value, Refused> {
        self.json(Method::PATCH, &format!("/v1/contacts/{id}"), Some(patch))
            .await
    }

    pub async fn delete_contact(&self, id: &str) -> Result<(), Refused> {
        self.bytes(Method::DELETE, &format!("/v1/contacts/{id}"), None)
            .await
            .map(drop)
    }

    pub async fn contact(&self, id: &str) -> Result<Value, Refused> {
        self.get(&format!("/v1/contacts/{id}")).await
    }

    /// Every byte of every page of a list.
    pub async fn whole_list(&self, path: &str) -> Result<Vec<Value>, Refused> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                Some(cursor) => format!("{path}{separator}cursor={cursor}"),
                None => path.to_owned(),
            };
            let answer = self.get(&page).await?;
            let page = answer["items"]
                .as_array()
                .ok_or_else(|| Refused(format!("{path}: no items in {answer}")))?;
            items.extend(page.iter().cloned());
            match answer["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }
}
