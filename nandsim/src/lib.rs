//! nandsim.
