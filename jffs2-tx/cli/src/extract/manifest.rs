//! `--manifest`: what was extracted, or would be, for `jffs2-mkimage` to build the image again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::iter::Peekable;

use jffs2_tx::flash::{Flash, Geometry};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::manifest::{Entry, Header, Type, VERSION, escape, to_hex};
use jffs2_tx::tree::{Stat, Tree};
use jffs2_tx::wire::{self, Endian, HEADER_SIZE, SUMMARY_MAGIC, nodetype};

use super::contents::data_runs;
use super::outcome::{Outcome, Trouble};
use super::plan::Plan;
use crate::image::Image;
use crate::show;
use crate::target::{Target, TargetError};

/// Holes, too, are hashed, and a few bytes of flash can be 4 GiB of them: of all files together no more than this is
/// hashed, bytes, and none of the files behind.
pub(super) const MAX_HASHED: u64 = 2 << 30;

/// The items before this one are hashed: their sizes keep to [`MAX_HASHED`].
pub(super) fn hash_until(plan: &Plan<'_>, tree: Tree<'_, Target>) -> usize {
    let mut left = MAX_HASHED;
    let too_much = |item: &super::plan::Item<'_>| {
        let size =
            if item.kind == FileKind::File && item.first.is_none() { tree.index().inode(item.ino).size } else { 0 };
        let fits = left.checked_sub(u64::from(size));
        left = fits.unwrap_or(left);
        fits.is_none()
    };
    plan.items.iter().position(too_much).unwrap_or(plan.items.len())
}

/// Writes all lines. Names whose metadata cannot be read are left out: that has been said.
pub(super) fn write(
    out: &mut impl Write,
    image: &Image,
    plan: &Plan<'_>,
    outcome: &Outcome,
    with_xattrs: bool,
) -> io::Result<()> {
    let tree = image.tree();
    line(out, &header(image)?)?;
    let mut digests = outcome.digests.iter().peekable();
    let mut lost = outcome.troubles.iter().peekable();
    for at in 0..plan.items.len() {
        let item = &plan.items[at];
        let path = show::path(&plan.path(at));
        if let Some(first) = item.first {
            let to = Some(show::path(&plan.path(first.get() as usize)));
            line(out, &Entry { path, r#type: Type::Link, to, ..Entry::default() })?;
            continue;
        }
        let Ok(stat) = tree.stat(item.ino) else { continue };
        let mut entry = Entry { path, r#type: item.kind.into(), ..metadata(&stat) };
        match item.kind {
            FileKind::File => {
                let Ok(file) = tree.open(item.ino) else { continue };
                entry.data = Some(data_runs(&file));
                entry.sha256 = of_item(&mut digests, at).next().map(|digest| to_hex(digest));
                let ranges: Vec<(u32, u32)> = of_item(&mut lost, at).filter_map(range).collect();
                entry.lost = (!ranges.is_empty()).then_some(ranges);
            }
            FileKind::Symlink => {
                let Ok(target) = tree.read_link(item.ino) else { continue };
                entry.target = Some(escape(&target));
            }
            _ => {}
        }
        if with_xattrs {
            let found = tree.xattrs(item.ino).unwrap_or_default();
            entry.xattrs =
                found.iter().map(|xattr| (escape(&xattr.name), to_hex(&xattr.value))).collect::<BTreeMap<_, _>>();
        }
        line(out, &entry)?;
    }
    out.flush()
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// What a sorted list says of an item, when asked in ascending order.
fn of_item<'a, T: 'a>(
    list: &mut Peekable<impl Iterator<Item = &'a (usize, T)>>,
    item: usize,
) -> impl Iterator<Item = &'a T> {
    while list.next_if(|entry| entry.0 < item).is_some() {}
    std::iter::from_fn(move || list.next_if(|entry| entry.0 == item).map(|entry| &entry.1))
}

fn range(trouble: &Trouble) -> Option<(u32, u32)> {
    match trouble {
        Trouble::Lost(lost) => Some((lost.start, lost.end)),
        Trouble::Damaged(_) | Trouble::Host(_) => None,
    }
}

fn metadata(stat: &Stat) -> Entry {
    Entry {
        mode: Some(format!("{:04o}", stat.meta.mode)),
        uid: Some(stat.meta.uid),
        gid: Some(stat.meta.gid),
        mtime: Some(stat.meta.mtime),
        atime: Some(stat.atime),
        ctime: Some(stat.ctime),
        size: (stat.kind == FileKind::File).then_some(stat.size),
        major: stat.device.map(|device| device.major),
        minor: stat.device.map(|device| device.minor),
        ..Entry::default()
    }
}

fn header(image: &Image) -> io::Result<Header> {
    let geometry = image.flash.geometry();
    let endian = image.index.rules().endian;
    let cleanmarkers = any_block(geometry, |block| starts_with_cleanmarker(&image.flash, endian, block))?;
    let summaries = any_block(geometry, |block| ends_in_summary(&image.flash, endian, block))?;
    Ok(Header {
        manifest: VERSION,
        endian: endian.into(),
        eraseblock: geometry.eraseblock(),
        flash: geometry.kind().into(),
        page_size: geometry.write_size(),
        size: geometry.size().into(),
        cleanmarkers,
        summaries,
    })
}

fn any_block(geometry: &Geometry, mut has: impl FnMut(u32) -> Result<bool, TargetError>) -> io::Result<bool> {
    for block in 0..geometry.blocks() {
        if has(geometry.offset_of(block)).map_err(io::Error::other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn starts_with_cleanmarker(flash: &Target, endian: Endian, block: u32) -> Result<bool, TargetError> {
    let mut start = [0; HEADER_SIZE];
    flash.read(block, &mut start)?;
    Ok(wire::Header::parse(endian, &start).is_ok_and(|header| header.nodetype == nodetype::CLEANMARKER))
}

fn ends_in_summary(flash: &Target, endian: Endian, block: u32) -> Result<bool, TargetError> {
    let mut end = [0; 4];
    flash.read(block + flash.geometry().eraseblock() - 4, &mut end)?;
    Ok(endian.u32(&end, 0) == SUMMARY_MAGIC)
}
