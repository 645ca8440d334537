//! What extraction could not recreate, counted, to be said once.

/// Counts of what was left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) owners: u32,
    pub(super) set_ids: u32,
    pub(super) devices: u32,
    pub(super) sockets: u32,
}

impl LeftOut {
    /// One line, or `None` if nothing was left out.
    pub(super) fn text(&self) -> Option<String> {
        let counts = [
            (self.owners, "owners"),
            (self.set_ids, "set-uid or set-gid modes"),
            (self.devices, "device nodes"),
            (self.sockets, "sockets"),
        ];
        let said: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let hint = if self.owners + self.set_ids + self.devices > 0 { " (needs root)" } else { "" };
        (!said.is_empty()).then(|| format!("{}{hint}", said.join(", ")))
    }
}
