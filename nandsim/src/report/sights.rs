//! What each reader sees as an update goes on, and where it turns.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::chip::Chip;
use crate::cut::{Cut, Tear, Walker};
use crate::harness::Eye;
use crate::trace::Trace;
use crate::verdict::Verdict;

/// Of longer traces not every state is looked at, only those around where something changes.
const LOOKED_AT: usize = 256;

/// What each reader sees after how many operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sights {
    /// One for each reader.
    pub tracks: Vec<Track>,
}

/// What one reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The reader.
    pub reader: &'static str,
    /// From so many operations on it sees that; the first is 0.
    pub spans: Vec<(usize, Verdict)>,
}

/// What readers see of a state, by name.
type Seen = Arc<[(&'static str, Verdict)]>;

impl Sights {
    /// Looks at the states that `trace` leads through from `start`.
    ///
    /// # Panics
    /// As [`Walker`] does.
    pub fn of(start: &Chip, trace: &Trace, eye: &mut impl Eye) -> Self {
        let last = trace.ops.len();
        let stride = last.div_ceil(LOOKED_AT).max(1);
        let mut seen = BTreeMap::new();
        let mut look = |ops: &mut dyn Iterator<Item = usize>, seen: &mut BTreeMap<usize, Seen>| {
            let cuts = ops.map(|op| Cut { op, tear: Tear::Before });
            seen.extend(Walker::new(start.clone(), trace, 0, cuts).map(|(cut, chip)| (cut.op, eye.see(&chip).readers)));
        };
        look(&mut (0..last).step_by(stride).chain([last]), &mut seen);
        let known: Vec<(usize, &Seen)> = seen.iter().map(|(op, seen)| (*op, seen)).collect();
        let turns = known.windows(2).filter(|pair| pair[0].1 != pair[1].1);
        let gaps: Vec<usize> = turns.flat_map(|pair| pair[0].0 + 1..pair[1].0).collect();
        look(&mut gaps.into_iter(), &mut seen);
        Self { tracks: tracks(&seen) }
    }

    /// The operation that first shows a reader the new tree: the commit point.
    #[must_use]
    pub fn commit(&self) -> Option<usize> {
        let first = |track: &Track| track.spans.iter().find(|(_, verdict)| *verdict == Verdict::New).map(|(op, _)| *op);
        self.tracks.iter().filter_map(first).min()?.checked_sub(1)
    }
}

impl fmt::Display for Sights {
    /// A line for each reader.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for track in &self.tracks {
            let span = |(ops, verdict): &(usize, Verdict)| match ops.checked_sub(1) {
                None => format!("{verdict} at first"),
                Some(op) => format!("{verdict} from operation {op} on"),
            };
            let spans: Vec<String> = track.spans.iter().map(span).collect();
            writeln!(f, "{}: {}", track.reader, spans.join(", "))?;
        }
        Ok(())
    }
}

fn tracks(seen: &BTreeMap<usize, Seen>) -> Vec<Track> {
    let readers: &[_] = seen.first_key_value().map_or(&[], |(_, seen)| seen);
    let track = |(i, (reader, _)): (usize, &(&'static str, Verdict))| {
        let mut spans: Vec<(usize, Verdict)> =
            seen.iter().filter_map(|(op, seen)| Some((*op, seen.get(i)?.1.clone()))).collect();
        spans.dedup_by(|next, last| next.1 == last.1);
        Track { reader, spans }
    };
    readers.iter().enumerate().map(track).collect()
}
