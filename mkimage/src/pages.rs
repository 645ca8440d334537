//! Files' contents in pages, in batches: read on one thread, compressed on several, taken in order.

use std::io::{self, Read};

use jffs2_tx::source::{Content, NodeId, SourceKind, SourceTree};
use jffs2_tx::wire::Compression;

use crate::BuildError;
use crate::compress::Encoder;
use crate::plan::Plan;

/// Bytes that go from one thread to another at once: compressing them takes long beside handing them over.
const BATCH_BYTES: usize = 128 << 10;
/// The same for many tiny files.
const BATCH_PAGES: usize = 1024;

/// Pages of files, one after the other.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// The pages' lengths. 0 marks the end of a file that is as long as it should be.
    lengths: Vec<usize>,
    /// Why nothing comes after these pages.
    failure: Option<BuildError>,
}

/// A batch with what its nodes store.
#[derive(Default)]
pub(crate) struct Compressed {
    batch: Batch,
    stored: Vec<u8>,
    /// For each length: by what, and how many bytes of `stored`; none for what is stored as it is.
    forms: Vec<(Compression, usize)>,
}

/// A page of a file.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) data: &'a [u8],
    /// [`Compression::Zero`] if all bytes are zero: then nothing is stored.
    pub(crate) compression: Compression,
    pub(crate) stored: &'a [u8],
}

/// Why reading ends before the last file does.
enum Stop {
    Read(io::Error),
    /// It is not as long as was said.
    Changed,
    /// Nobody wants more.
    Unwanted,
}

/// Bytes in the tree's files, hard links counted once: what progress counts up to.
#[must_use]
pub fn data_bytes(tree: &SourceTree) -> u64 {
    let sizes = tree.nodes().iter().map(|node| match node.kind {
        SourceKind::File { size, .. } => u64::from(size),
        _ => 0,
    });
    sizes.sum()
}

/// About how many batches the tree's files make: more threads would have nothing to do.
pub(crate) fn batches(tree: &SourceTree) -> usize {
    usize::try_from(data_bytes(tree) / BATCH_BYTES as u64 + 1).unwrap_or(usize::MAX)
}

/// Reads the plan's files and hands them out, until told `false`.
pub(crate) fn read_files(tree: &SourceTree, plan: &Plan, page_size: u32, hand_out: &mut dyn FnMut(Batch) -> bool) {
    let mut reader = Reader { batch: Batch::default(), page_size, hand_out };
    for &id in &plan.order {
        let SourceKind::File { size, content } = &tree.node(id).kind else { continue };
        if let Err(stop) = reader.file(*size, content) {
            reader.batch.failure = stop.into_error(|| path_of(tree, id, content));
            break;
        }
    }
    (reader.hand_out)(reader.batch);
}

struct Reader<'a> {
    batch: Batch,
    page_size: u32,
    hand_out: &'a mut dyn FnMut(Batch) -> bool,
}

impl Reader<'_> {
    fn file(&mut self, size: u32, content: &Content) -> Result<(), Stop> {
        let mut content = content.open().map_err(Stop::Read)?;
        let mut left = size as usize;
        while left > 0 {
            let len = self.room().min(left);
            self.pages(len, &mut content)?;
            left -= len;
        }
        if content.read(&mut [0]).map_err(Stop::Read)? != 0 {
            return Err(Stop::Changed);
        }
        self.batch.lengths.push(0);
        self.hand_out_full()
    }

    /// Bytes of whole pages that fill the batch: one page at least.
    fn room(&self) -> usize {
        let room = BATCH_BYTES.saturating_sub(self.batch.bytes.len());
        room.max(1).next_multiple_of(self.page_size as usize)
    }

    /// Reads so many bytes, which may end within a page only at the file's end.
    fn pages(&mut self, len: usize, content: &mut dyn Read) -> Result<(), Stop> {
        let start = self.batch.bytes.len();
        self.batch.bytes.resize(start + len, 0);
        content.read_exact(&mut self.batch.bytes[start..]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Stop::Changed,
            _ => Stop::Read(error),
        })?;
        let pages = self.batch.bytes[start..].chunks(self.page_size as usize);
        self.batch.lengths.extend(pages.map(<[u8]>::len));
        self.hand_out_full()
    }

    fn hand_out_full(&mut self) -> Result<(), Stop> {
        if self.batch.bytes.len() < BATCH_BYTES && self.batch.lengths.len() < BATCH_PAGES {
            return Ok(());
        }
        let wanted = (self.hand_out)(std::mem::take(&mut self.batch));
        if wanted { Ok(()) } else { Err(Stop::Unwanted) }
    }
}

impl Stop {
    fn into_error(self, path: impl FnOnce() -> String) -> Option<BuildError> {
        match self {
            Self::Read(source) => Some(BuildError::Read { path: path(), source }),
            Self::Changed => Some(BuildError::Changed { path: path() }),
            Self::Unwanted => None,
        }
    }
}

fn path_of(tree: &SourceTree, id: NodeId, content: &Content) -> String {
    content.path().map_or_else(|| tree.path_of(id), |path| path.display().to_string())
}

/// In steps that the compiler turns into a few instructions: large sparse files are looked through whole.
fn is_zero(page: &[u8]) -> bool {
    page.chunks(256).all(|part| part.iter().fold(0, |bits, byte| bits | byte) == 0)
}

impl Batch {
    pub(crate) fn compress(self, encoder: &mut Encoder) -> Compressed {
        let mut stored = Vec::with_capacity(self.bytes.len());
        let mut forms = Vec::with_capacity(self.lengths.len());
        let mut rest = self.bytes.as_slice();
        for &len in &self.lengths {
            let (page, after) = rest.split_at(len);
            rest = after;
            if is_zero(page) {
                forms.push((Compression::Zero, 0));
                continue;
            }
            let (compression, bytes) = encoder.encode(page);
            if compression == Compression::None {
                forms.push((compression, 0));
            } else {
                stored.extend_from_slice(bytes);
                forms.push((compression, bytes.len()));
            }
        }
        Compressed { batch: self, stored, forms }
    }
}

/// The pages of the plan's files, in order.
pub(crate) struct Pages<'p, I> {
    batches: I,
    current: Compressed,
    taken: Taken,
    /// Bytes of files in the batches before.
    done: u64,
    progress: &'p mut dyn FnMut(u64),
}

/// What of a batch has been taken.
#[derive(Clone, Copy, Default)]
struct Taken {
    lengths: usize,
    bytes: usize,
    stored: usize,
}

impl<'p, I: Iterator<Item = Compressed>> Pages<'p, I> {
    pub(crate) fn new(batches: I, progress: &'p mut dyn FnMut(u64)) -> Self {
        Self { batches, current: Compressed::default(), taken: Taken::default(), done: 0, progress }
    }

    /// The next page of the current file; `None` at its end, once.
    pub(crate) fn next(&mut self) -> Result<Option<Page<'_>>, BuildError> {
        while self.taken.lengths == self.current.forms.len() {
            self.next_batch()?;
        }
        let Compressed { batch, stored, forms } = &self.current;
        let Taken { lengths: at, bytes: start, stored: stored_start } = self.taken;
        let (len, (compression, stored_len)) = (batch.lengths[at], forms[at]);
        self.taken = Taken { lengths: at + 1, bytes: start + len, stored: stored_start + stored_len };
        let data = &batch.bytes[start..start + len];
        let stored = match compression {
            Compression::None => data,
            _ => &stored[stored_start..stored_start + stored_len],
        };
        Ok((len > 0).then_some(Page { data, compression, stored }))
    }

    /// After the last file.
    pub(crate) fn finish(mut self) {
        self.report();
    }

    fn next_batch(&mut self) -> Result<(), BuildError> {
        if let Some(failure) = self.current.batch.failure.take() {
            return Err(failure);
        }
        self.report();
        self.current = self.batches.next().expect("the last batch ends in a file's end or a failure");
        self.taken = Taken::default();
        Ok(())
    }

    fn report(&mut self) {
        self.done += self.taken.bytes as u64;
        (self.progress)(self.done);
    }
}
