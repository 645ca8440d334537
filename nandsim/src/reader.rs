//! The readers whose word counts.

use jffs2_tx::scan::Rules;
use jffs2_tx::wire::Endian;

/// One thing for each kind of reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByReader<T> {
    /// Linux with `CONFIG_JFFS2_SUMMARY`.
    pub with_summaries: T,
    /// Linux without it, and most boot firmware.
    pub without_summaries: T,
}

impl<T> ByReader<T> {
    /// Both, with what to call the reader.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &T)> {
        [("reader with summaries", &self.with_summaries), ("reader without summaries", &self.without_summaries)]
            .into_iter()
    }

    /// The same made of each.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> ByReader<U> {
        ByReader { with_summaries: f(self.with_summaries), without_summaries: f(self.without_summaries) }
    }
}

impl ByReader<Rules> {
    /// The rules that each reader sees the flash by.
    #[must_use]
    pub fn rules(endian: Endian) -> Self {
        Self {
            with_summaries: Rules { endian, summaries: true },
            without_summaries: Rules { endian, summaries: false },
        }
    }
}
