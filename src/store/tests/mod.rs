//! The store as a whole, each test named after the danger it guards against.

mod fixture;
mod restart;
