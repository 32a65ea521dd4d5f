//! The HTTP API against a real listener: every status, every bound, and every kind of bad input.

#[path = "../support/events.rs"]
mod events;

mod address_book;
mod batch;
mod burst;
mod cluster;
mod conflicts;
mod contacts;
mod cors;
mod counters;
mod csv;
mod elements;
mod expiry;
mod export;
mod history;
mod import;
mod import_large;
mod kv;
mod lists;
mod live;
mod phones;
mod photo;
mod problems;
mod sessions;
mod support;
mod topics;
