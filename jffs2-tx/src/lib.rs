//! jffs2-tx.
