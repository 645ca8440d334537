//! What extraction could not recreate, counted, to be said once.

/// Counts of what was left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) owners: u32,
    pub(super) set_ids: u32,
    pub(super) devices: u32,
    pub(super) sockets: u32,
    pub(super) xattrs: u32,
}

impl LeftOut {
    /// One line, or `None` if nothing was left out.
    pub(super) fn text(&self) -> Option<String> {
        let counts = [
            (self.owners, "owners (needs root)"),
            (self.set_ids, "set-uid or set-gid modes"),
            (self.devices, "device nodes (needs root)"),
            (self.sockets, "sockets"),
            (self.xattrs, "nodes of extended attributes"),
        ];
        let said: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}
