//! The dangers: somebody is let in who shows no token, another one's, a revoked one, or one that is for less; a token
//! for a part of the data shows another part; a node does not hear that access was closed; whoever must get in cannot.

#[path = "../support/mod.rs"]
mod support;

mod bad_tokens;
mod first_token;
mod limits;
mod pages;
mod roles;
mod world;
