//! Where JFFS2 file systems stand in a file of anything: firmware, whole flashes, dumps.
//!
//! One pass finds the nodes that belong together, another over each file system what it is like.

use std::fs::File;
use std::vec::Vec;

use crate::detect::{DetectError, Detected, Survey, walk};
use crate::flash::Container;

mod node;
mod regions;
#[cfg(test)]
mod tests;

use regions::{Region, Regions};

/// Most file systems that are looked for in one file.
pub const MAX_FOUND: usize = 1024;
/// Bytes of a file system that are looked at for where its first eraseblock starts, if its first node does not.
const MAX_ALIGN: u64 = 16 << 20;
/// Bytes between two calls for progress.
const PROGRESS: u64 = 4 << 20;

/// File systems in a file.
#[derive(Clone, Debug, Default)]
pub struct Finds {
    /// Ascending by offset.
    pub all: Vec<Found>,
    /// There are more than [`MAX_FOUND`].
    pub more: bool,
}

/// A file system in a file.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it stands: whole eraseblocks, unless the file or the next file system starts before.
    pub container: Container,
    /// What it is.
    pub detected: Detected,
    /// Valid nodes in it.
    pub nodes: u64,
    /// An end mark (`de ad c0 de`) stands behind it.
    pub marked: bool,
}

/// Finds the file systems in a file; `progress` gets the offset now and then. Two in the same byte order and on the
/// same grid are told apart by nodes that contradict each other. Memory: 8 MiB, whatever the file's size.
///
/// # Errors
/// [`DetectError::Io`].
pub fn find(file: &File, mut progress: impl FnMut(u64)) -> Result<Finds, DetectError> {
    let whole = Container::whole(u64::MAX);
    let (mut regions, mut next) = (Regions::default(), 0);
    let size = walk(whole.reader(file, |_, _| {}), |at, rest| {
        if at >= next {
            progress(at);
            next = at + PROGRESS;
        }
        regions.step(at, &rest)
    })?;
    regions.finish();
    let mut finds = Finds { all: Vec::new(), more: regions.more };
    let starts: Vec<u64> = regions.done.iter().skip(1).map(|region| region.start).chain([size]).collect();
    let mut floor = 0;
    for (region, next) in regions.done.iter().zip(starts) {
        let limit = region.mark.unwrap_or(next).min(next);
        let found = look(file, region, limit, floor)?;
        if let Some(found) = found {
            floor = found.container.offset + found.container.length;
            finds.all.push(found);
        }
    }
    Ok(finds)
}

/// What the file system of `region` is, and where it starts: between `floor` and its first node.
fn look(file: &File, region: &Region, limit: u64, floor: u64) -> Result<Option<Found>, DetectError> {
    let Some(found) = look_from(file, region, region.start, limit, u64::MAX)? else { return Ok(None) };
    if found.detected.sure {
        return Ok(Some(found));
    }
    // Its first eraseblock may have a blank head, or be damaged.
    for start in other_starts(region.start).filter(|start| *start >= floor) {
        let better = look_from(file, region, start, limit, MAX_ALIGN)?.filter(|better| better.detected.sure);
        if better.is_some() {
            return look_from(file, region, start, limit, u64::MAX);
        }
    }
    Ok(Some(found))
}

/// Starts of eraseblocks that could hold a first node there: behind a blank head, or on the file's own grid.
fn other_starts(first: u64) -> impl Iterator<Item = u64> {
    let heads = [1024, 2048, 4096, 8192].into_iter().filter_map(move |head| first.checked_sub(head));
    let grid = (12..=20).map(move |bits| first >> bits << bits).filter(move |start| *start < first);
    grid.chain(heads)
}

/// The file system as it is if it starts there; at most `most` bytes of it are read.
fn look_from(file: &File, region: &Region, start: u64, limit: u64, most: u64) -> Result<Option<Found>, DetectError> {
    let (at, len) = (region.last.0 - start, region.last.1);
    let room = limit.saturating_sub(start);
    let mut container = Container { offset: start, length: (at + len).min(room).min(most), oob: None };
    let mut survey = Survey::of_file(file, container, Some(None))?;
    let mut end = at + len;
    if let Some(oob) = survey.dump() {
        end = oob.layout.in_data(at).unwrap_or(at) + len;
        container.oob = Some(oob.layout);
        container.length = oob.layout.dump_len(end).min(room).min(most);
        survey = Survey::of_dump(file, container, oob)?;
    }
    let Ok(detected) = survey.detect() else { return Ok(None) };
    let whole = end.next_multiple_of(u64::from(detected.eraseblock));
    container.length = container.oob.map_or(whole, |oob| oob.dump_len(whole)).min(room);
    let nodes = survey.nodes(detected.endian);
    Ok(Some(Found { container, detected, nodes, marked: region.mark == Some(limit) }))
}
