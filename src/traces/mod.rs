//! Traces: spans of requests, of writes and of what is taken in from peers, told to a collector by OTLP.
//!
//! They are built with the feature `otlp` alone. Without it everything here is empty, and costs nothing.
//!
//! A write is followed from node to node by its name, and no message carries anything for it: partition and dot name one
//! write for ever, and the ids of its trace and of the span of its commit follow from them alone (`write_name`). So the
//! node that wrote tells a span `commit` under those ids, linked with the span of the request both ways, and whoever takes the
//! write in tells a span `apply` below it, without having been told.
//!
//! Invariants: no span waits for a collector, nor holds up who makes it: they wait in a bounded queue, and what exceeds it is
//! dropped. No span tells a key, a value or a token.

#[cfg(feature = "otlp")]
mod carrier;
#[cfg(feature = "otlp")]
mod collector;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(feature = "otlp")]
mod write_name;

#[cfg(feature = "otlp")]
pub use collector::{Traces, TracesError};
#[cfg(not(feature = "otlp"))]
pub use off::{ApplySpans, RequestSpan, Traces, TracesError, WriteSpans};
#[cfg(feature = "otlp")]
pub use spans::{ApplySpans, RequestSpan, WriteSpans};
