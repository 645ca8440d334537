//! The first process of the test kernel.
fn main() {}
