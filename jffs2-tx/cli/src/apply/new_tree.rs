//! The new tree: a directory, or an archive that is fed to the transaction entry by entry.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

use indicatif::{ProgressBar, ProgressBarIter};
use jffs2_archive::{Archive, ArchiveError, Kind};
use jffs2_tx::flash::FlashMut;
use jffs2_tx::source::{SourceNode, SourceTree};
use jffs2_tx::tx::{ReplaceReport, Stream, Transaction, TxError};

use crate::failure::{Exit, Failure, note};
use crate::{progress, show};

/// Bytes of an archive that are read at once.
const BUFFER: usize = 64 << 10;

pub(super) enum NewTree {
    Dir(SourceTree),
    Tar(Box<Tar>),
}

pub(super) struct Tar {
    archive: Archive<ProgressBarIter<BufReader<File>>>,
    bar: ProgressBar,
    /// What messages call it.
    name: String,
}

impl NewTree {
    /// A directory's tree is read now; of an archive the first record.
    pub(super) fn open(root: Option<&Path>, tar: Option<&Path>) -> Result<Self, Failure> {
        match (root, tar) {
            (_, Some(path)) => Tar::open(path).map(|tar| Self::Tar(Box::new(tar))),
            (root, None) => {
                let tree = SourceTree::from_dir(root.unwrap_or(Path::new(".")));
                tree.map(Self::Dir).map_err(|error| Failure::new(Exit::Io, error))
            }
        }
    }

    pub(super) fn replace<F: FlashMut>(self, tx: &mut Transaction<'_, F>) -> Result<ReplaceReport, Failure> {
        match self {
            Self::Dir(tree) => {
                let bar = progress::inodes(tree.nodes().len());
                let replaced = tx.replace_tree(&tree, &mut |done, _| bar.set_position(u64::from(done)));
                bar.finish_and_clear();
                Ok(replaced?)
            }
            Self::Tar(mut tar) => {
                let replaced = tar.feed(tx.replace_stream());
                tar.bar.finish_and_clear();
                replaced
            }
        }
    }
}

impl Tar {
    fn open(path: &Path) -> Result<Self, Failure> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".into() } else { show::text(path.as_os_str().as_encoded_bytes()) };
        Self::try_open(path, is_stdin, name.clone()).map_err(|error| failure(&error).about(name))
    }

    fn try_open(path: &Path, is_stdin: bool, name: String) -> Result<Self, ArchiveError> {
        let file = if is_stdin { io::stdin().as_fd().try_clone_to_owned()?.into() } else { File::open(path)? };
        let metadata = file.metadata()?;
        let bar = progress::bytes(metadata.is_file().then_some(metadata.len()));
        let archive = Archive::open(bar.wrap_read(BufReader::with_capacity(BUFFER, file)))?;
        Ok(Self { archive, bar, name })
    }

    fn feed<F: FlashMut>(&mut self, mut stream: Stream<'_, '_, F>) -> Result<ReplaceReport, Failure> {
        let (mut entries, mut with_attributes) = (0_u64, 0_u64);
        while let Some(member) = self.archive.next().map_err(|error| self.failure(&error))? {
            let (path, has_attributes) = (&member.path, member.has_attributes());
            let taken = match member.kind {
                Kind::File(size) => stream.file(path, member.meta, size, &mut self.archive.contents()),
                Kind::Link(target) => stream.link(path, &target),
                Kind::Special(kind) => stream.node(path, SourceNode { meta: member.meta, kind }),
            };
            taken.map_err(|error| match error {
                TxError::Source { .. } => Failure::from(error).about(&self.name),
                other => other.into(),
            })?;
            entries += 1;
            with_attributes += u64::from(has_attributes);
        }
        if entries == 0 {
            let text = "the archive has no entries: that would remove everything";
            return Err(Failure::new(Exit::Io, text).about(&self.name));
        }
        if with_attributes > 0 {
            note(&format!("{}: extended attributes of {with_attributes} entries are left out", self.name));
        }
        Ok(stream.finish()?)
    }

    fn failure(&self, error: &ArchiveError) -> Failure {
        failure(error).about(&self.name)
    }
}

fn failure(error: &ArchiveError) -> Failure {
    let ArchiveError::Compressed { by, reader } = error else { return Failure::new(Exit::Io, error) };
    let text = format!("compressed by {by}: pipe it in, `{reader} FILE | jffs2-tx apply IMG --tar -`");
    Failure::new(Exit::Unsupported, text)
}
