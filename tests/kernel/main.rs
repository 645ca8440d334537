//! What a stock Linux kernel in QEMU makes of it all. One program, so that two cores have two machines to run at all times.
//!
//! One suite: `cargo test --release -p jffs2-tx-tests --test kernel cuts::`. How one case is run by name, with the kernel's
//! log: `tests/support/kernel.rs`.

mod aged;
mod agent;
mod alternate;
mod bad_flash;
mod built;
mod cuts;
mod gc;
mod handlers;
mod refuse;
mod rules;
mod stock;
mod work;
