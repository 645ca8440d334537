//! Compressors by name, as mkfs.jffs2 switches and ranks them.

use std::cmp::Reverse;
use std::fmt;

use anyhow::{Result, bail};
use jffs2_mkimage::{Compress, Method, Pick};

use super::Failure;

/// Which are used, in which order.
pub(super) struct Compressors {
    known: [Compressor; 4],
    /// `None` stores everything as it is.
    pick: Option<Pick>,
}

#[derive(Clone, Copy)]
struct Compressor {
    name: &'static str,
    method: Method,
    priority: u32,
    enabled: bool,
}

impl Default for Compressors {
    /// mkfs.jffs2's defaults; lzma is only known to OpenWrt's.
    fn default() -> Self {
        let of = |name, method, priority, enabled| Compressor { name, method, priority, enabled };
        let known = [
            of("lzo", Method::Lzo, 80, false),
            of("lzma", Method::Lzma, 70, false),
            of("zlib", Method::Zlib(7), 60, true),
            of("rtime", Method::Rtime, 50, true),
        ];
        Self { known, pick: Some(Pick::First) }
    }
}

impl Compressors {
    pub(super) fn set_mode(&mut self, mode: &str) -> Result<()> {
        self.pick = match mode {
            "none" => None,
            "priority" => Some(Pick::First),
            // What mkfs.jffs2 says nothing of: there, LZO may be somewhat larger than the smallest.
            "size" | "favourlzo" => Some(Pick::Smallest),
            _ => bail!("--compression-mode {mode}: give none, priority or size"),
        };
        Ok(())
    }

    pub(super) fn enable(&mut self, name: &str, enabled: bool) -> Result<()> {
        match self.find(name) {
            Some(compressor) => compressor.enabled = enabled,
            None => bail!("no compressor is called {name}: -L lists them"),
        }
        Ok(())
    }

    /// From `PRIORITY:NAME`.
    pub(super) fn rank(&mut self, text: &str) -> Result<(), Failure> {
        let (priority, name) = text.split_once(':').unwrap_or((text, ""));
        let Ok(priority) = priority.parse() else {
            return Err(anyhow::anyhow!("--compressor-priority {text}: give a number, a colon and a name").into());
        };
        let compressor = self.find(name).ok_or_else(|| Failure::Compressor(name.into()))?;
        compressor.priority = priority;
        Ok(())
    }

    fn find(&mut self, name: &str) -> Option<&mut Compressor> {
        self.known.iter_mut().find(|compressor| compressor.name == name)
    }

    fn by_priority(&self) -> [Compressor; 4] {
        let mut sorted = self.known;
        sorted.sort_by_key(|compressor| Reverse(compressor.priority));
        sorted
    }

    pub(super) fn compress(&self) -> Compress {
        let Some(pick) = self.pick else { return Compress::none() };
        let enabled = self.by_priority().into_iter().filter(|compressor| compressor.enabled);
        Compress { candidates: enabled.map(|compressor| compressor.method).collect(), pick }
    }
}

impl fmt::Display for Compressors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Compressor { name, priority, enabled, .. } in self.by_priority() {
            let state = if enabled { "enabled" } else { "disabled" };
            writeln!(f, "{name:>10} priority:{priority} {state}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Method::{Lzo, Rtime, Zlib};

    fn compress(change: impl FnOnce(&mut Compressors)) -> Compress {
        let mut compressors = Compressors::default();
        change(&mut compressors);
        compressors.compress()
    }

    #[test]
    fn modes_switches_and_priorities() {
        let first = |candidates: &[Method]| Compress { candidates: candidates.to_vec(), pick: Pick::First };
        assert_eq!(compress(|_| ()), first(&[Zlib(7), Rtime]));
        assert_eq!(compress(|all| all.set_mode("none").unwrap()), Compress::none());
        assert_eq!(compress(|all| all.set_mode("size").unwrap()).pick, Pick::Smallest);
        assert_eq!(compress(|all| all.enable("zlib", false).unwrap()), first(&[Rtime]));
        assert_eq!(compress(|all| all.enable("lzo", true).unwrap()), first(&[Lzo, Zlib(7), Rtime]));
        let last = compress(|all| {
            all.enable("lzo", true).unwrap();
            assert!(all.rank("7:lzo").is_ok());
        });
        assert_eq!(last, first(&[Zlib(7), Rtime, Lzo]));
        assert_eq!(compress(|all| assert!(all.rank("60:rtime").is_ok())), first(&[Zlib(7), Rtime]), "equal ones stay");
    }

    #[test]
    fn refuses() {
        let mut all = Compressors::default();
        assert!(all.set_mode("Size").is_err() && all.enable("lz", true).is_err());
        for text in ["x:zlib", ":zlib", "-5:zlib", "", "5000000000:zlib"] {
            assert!(matches!(all.rank(text), Err(Failure::Other(_))), "{text}");
        }
        for text in ["5", "5:", "5:lz", "5:zlib:"] {
            assert!(matches!(all.rank(text), Err(Failure::Compressor(_))), "{text}");
        }
    }

    #[test]
    fn lists_by_priority() {
        let mut all = Compressors::default();
        assert!(all.rank("90:rtime").is_ok());
        let list = all.to_string();
        let names: Vec<_> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(names, ["rtime", "lzo", "lzma", "zlib"]);
        assert!(list.contains(" lzo priority:80 disabled\n"));
    }
}
