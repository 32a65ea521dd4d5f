//! The store as a whole, each test named after the danger it guards against.

mod copies;
mod faults;
mod fixture;
mod group;
mod model;
mod readers;
mod restart;
