//! What extraction could not recreate, counted, to be said once.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts of what was left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct LeftOut {
    /// Owners and groups that could not be set.
    pub(super) owners: u64,
    /// Set-uid and set-gid bits of files whose owner could not be set.
    pub(super) set_ids: u64,
    /// Device nodes.
    pub(super) devices: u64,
    /// Sockets.
    pub(super) sockets: u64,
    /// Extended attributes by namespace: `user`, `security`, `system`, `trusted`.
    pub(super) xattrs: BTreeMap<String, u64>,
}

impl LeftOut {
    pub(super) fn add(&mut self, other: Self) {
        self.owners += other.owners;
        self.set_ids += other.set_ids;
        self.devices += other.devices;
        self.sockets += other.sockets;
        for (namespace, count) in other.xattrs {
            *self.xattrs.entry(namespace).or_default() += count;
        }
    }

    pub(super) fn xattr(&mut self, name: &[u8]) {
        let namespace = name.split(|byte| *byte == b'.').next().unwrap_or_default();
        *self.xattrs.entry(String::from_utf8_lossy(namespace).into_owned()).or_default() += 1;
    }

    /// One line, or `None` if nothing was left out.
    pub(super) fn text(&self) -> Option<String> {
        let counts = [
            (self.owners, "owners (needs root)"),
            (self.set_ids, "set-uid or set-gid modes"),
            (self.devices, "device nodes (needs root)"),
            (self.sockets, "sockets"),
        ];
        let mut said: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        said.extend(self.xattrs.iter().map(|(namespace, count)| format!("{count} attributes {namespace}.*")));
        (!said.is_empty()).then(|| said.join(", "))
    }
}
