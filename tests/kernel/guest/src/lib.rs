//! What the rig on the host and the first process of the guest must agree on:
//! the job on the disk ([`script`], [`scenario`]) and the text form of a tree ([`listing`], [`manifest`]), also of the one
//! that this project's reader sees ([`ours`]).

pub mod listing;
pub mod manifest;
pub mod ours;
pub mod scenario;
pub mod script;
