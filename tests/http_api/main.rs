//! The HTTP API against a real listener: every status, every bound, and every kind of bad input.

mod address_book;
mod burst;
mod cluster;
mod conflicts;
mod contacts;
mod counters;
mod import;
mod kv;
mod lists;
mod problems;
mod sessions;
mod support;
