//! Headers that every answer carries, so that no browser is talked into anything.
//!
//! Values are the bytes of users under the content types of users, HTML and scripts among them. A browser that opens
//! one shows it in a sandbox without scripts, forms or an origin, guesses no other type, and lets no page of another
//! origin load it.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, STRICT_TRANSPORT_SECURITY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// Nothing is loaded, framed or run.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// What has a tag may be kept by the client and is asked for again each time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Two years. Other services of the host are not ours to speak for, so without `includeSubDomains`.
const TLS_ALONE: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Adds them to an answer; what the handler said of itself stays. `tls` says whether the answer travels over TLS.
pub(super) fn dress(headers: &mut HeaderMap, tls: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    if !headers.contains_key(CACHE_CONTROL) {
        let cache = if headers.contains_key(ETAG) {
            ASK_AGAIN
        } else {
            NO_STORE
        };
        headers.insert(CACHE_CONTROL, cache);
    }
    if tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, TLS_ALONE);
    }
}
