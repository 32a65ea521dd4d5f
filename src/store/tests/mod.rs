//! The store as a whole, each test named after the danger it guards against.

mod changes;
mod copies;
mod crash;
mod damage;
mod faults;
mod fixture;
mod floors;
mod formats;
mod group;
mod history;
mod kernel;
mod lives;
mod model;
mod offline;
mod readers;
mod restart;
mod search;
