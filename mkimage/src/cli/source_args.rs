//! What the image is built from: sources in the order of the command line.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{ArgGroup, ArgMatches, Command, FromArgMatches};
use jffs2_archive::ArchiveError;
use jffs2_mkimage::manifest::{self, Described};
use jffs2_mkimage::source::devtable::{self, OnNoParent};
use jffs2_mkimage::source::exclude::{self, Excludes};
use jffs2_mkimage::source::host_xattrs::{self, Which};
use jffs2_mkimage::source::overlay::{Layer, overlay};
use jffs2_mkimage::source::squash;
use jffs2_mkimage::source::swing::swing;
use jffs2_mkimage::source::tar::{self, TarError};
use jffs2_tx::inode_kind::Meta;
use jffs2_tx::manifest::Header;
use jffs2_tx::source::{FromDir, SourceTree};

/// The root of a tree that no source says anything of.
const ROOT_META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

/// Sources and what is done to them.
pub(crate) struct SourceArgs {
    given: Given,
    steps: Vec<Step>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sources")]
#[command(group = ArgGroup::new("sources").required(true).multiple(true).args(["root", "tar", "manifest", "devtable"]))]
struct Given {
    /// Directory that becomes the root of the file system; next to a --manifest, where the contents of its files are
    #[arg(short, long, short_alias = 'd', value_name = "DIR")]
    root: Vec<PathBuf>,

    /// Tar archive: ustar, GNU or pax, sparse files and extended attributes included; - for standard input. A pipe is kept
    /// in a file without a name in TMPDIR (/tmp) until the image is built
    #[arg(long, value_name = "FILE")]
    tar: Vec<PathBuf>,

    /// What `jffs2-tx extract --manifest` wrote: names, owners, modes, times, devices, links and extended attributes, and
    /// the defaults of -e, -l, -b, -n and --summary
    #[arg(long, value_name = "FILE")]
    manifest: Vec<PathBuf>,

    /// Device table, as for mkfs.jffs2: devices and directories to make, owners and modes to change in what the sources
    /// before it have
    #[arg(short = 'D', long, value_name = "FILE")]
    devtable: Vec<PathBuf>,

    /// Give all files to root, but for what device tables say, and take away set-ID bits and the right of others to write
    #[arg(short = 'q', long)]
    squash: bool,

    /// Give all files to root, but for what device tables say
    #[arg(short = 'U', long)]
    squash_uids: bool,

    /// Take away set-ID bits and the right of group and others to write
    #[arg(short = 'P', long)]
    squash_perms: bool,

    /// Take over the extended attributes of files in directories, ACLs and SELinux labels included (archives' and
    /// manifests' always are)
    #[arg(long)]
    with_xattr: bool,

    /// Of the extended attributes in directories take over security.*
    #[arg(long)]
    with_selinux: bool,

    /// Of the extended attributes in directories take over POSIX ACLs
    #[arg(long)]
    with_posix_acl: bool,

    /// Leave out what the pattern matches, with all that is below: * ? [a-z] {a,b}, and ** for any directories. A pattern
    /// without a slash matches names anywhere, one with a slash paths from the root, one with a slash at its end
    /// directories only
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// Patterns from a file, one a line; empty lines and lines that start with # do not count
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,

    /// Put everything into the directory /NAME, and symlinks to it into the root: every later update then commits by one
    /// directory entry, on any flash. Directories that hold nothing but directories stay in the root: they are mount points
    #[arg(long, value_name = "NAME")]
    swing: Option<OsString>,
}

impl Given {
    /// Who gets everything: then it may have had any owners.
    fn owner(&self) -> Option<(u16, u16)> {
        (self.squash || self.squash_uids).then_some((0, 0))
    }
}

/// One source.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Dir(PathBuf),
    Tar(PathBuf),
    /// A manifest, and the directory with the contents of its files.
    Manifest(PathBuf, Option<PathBuf>),
    Table(PathBuf),
}

impl clap::Args for SourceArgs {
    fn augment_args(command: Command) -> Command {
        Given::augment_args(command).next_help_heading(None)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Given::augment_args_for_update(command)
    }
}

impl FromArgMatches for SourceArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Given::from_arg_matches(matches)?;
        let of = |id: &str, paths: &[PathBuf], step: fn(PathBuf) -> Step| -> Vec<(usize, Step)> {
            let at = matches.indices_of(id).into_iter().flatten();
            at.zip(paths.iter().cloned().map(step)).collect()
        };
        let mut steps = of("root", &given.root, Step::Dir);
        steps.extend(of("tar", &given.tar, Step::Tar));
        steps.extend(of("manifest", &given.manifest, |path| Step::Manifest(path, None)));
        steps.extend(of("devtable", &given.devtable, Step::Table));
        steps.sort_by_key(|(at, _)| *at);
        let steps = with_contents(steps.into_iter().map(|(_, step)| step));
        Ok(Self { given, steps })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Gives each manifest the directory right behind it, else the one right before it.
fn with_contents(given: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut given = given.peekable();
    while let Some(mut step) = given.next() {
        if let Step::Manifest(_, contents) = &mut step {
            let next = given.next_if(|next| matches!(next, Step::Dir(_)));
            let neighbour = next.or_else(|| steps.pop_if(|last| matches!(last, Step::Dir(_))));
            if let Some(Step::Dir(dir)) = neighbour {
                *contents = Some(dir);
            }
        }
        steps.push(step);
    }
    steps
}

impl SourceArgs {
    /// What is to be in the image, and what an image of it was like if there is a manifest: of several the last counts.
    /// With `verify`, files must have the contents that manifests have.
    pub(crate) fn read(&self, verify: bool) -> Result<(SourceTree, Option<Header>)> {
        let excludes = self.excludes()?;
        let mut tree = None;
        let mut last_header = None;
        for step in &self.steps {
            match step {
                Step::Dir(path) => self.lay(&mut tree, self.read_dir(path, &excludes)?.into())?,
                Step::Tar(path) => self.lay(&mut tree, read_tar(path, self.given.owner())?)?,
                Step::Manifest(path, contents) => {
                    let (header, layer) = read_manifest(path, contents.as_deref(), verify)?;
                    self.lay(&mut tree, layer.into())?;
                    last_header = Some(header);
                }
                Step::Table(path) => apply_table(tree.get_or_insert_with(|| SourceTree::new(ROOT_META)), path)?,
            }
        }
        let mut tree = tree.unwrap_or_else(|| SourceTree::new(ROOT_META));
        if !excludes.is_empty() {
            tree = excludes.apply(&tree)?;
        }
        match &self.given.swing {
            Some(name) => Ok((swing(&tree, name.as_bytes()).context("--swing")?, last_header)),
            None => Ok((tree, last_header)),
        }
    }

    fn read_dir(&self, path: &Path, excludes: &Excludes) -> Result<SourceTree> {
        let alike = FromDir { owner: self.given.owner(), ..FromDir::default() };
        let mut tree = alike.read_wanted(path, |path, is_directory| !excludes.matches(path, is_directory))?;
        let Given { with_xattr: all, with_selinux: security, with_posix_acl: acls, .. } = self.given;
        if all || security || acls {
            host_xattrs::read(&mut tree, path, Which { all, security, acls })?;
        }
        Ok(tree)
    }

    fn excludes(&self) -> Result<Excludes> {
        let mut patterns = self.given.exclude.clone();
        for path in &self.given.exclude_from {
            let read = File::open(path).and_then(|file| exclude::patterns(BufReader::new(file)));
            patterns.extend(read.with_context(|| path.display().to_string())?);
        }
        Excludes::new(patterns).context("--exclude")
    }

    /// Lays a tree over those before it.
    fn lay(&self, tree: &mut Option<SourceTree>, mut layer: Layer) -> Result<()> {
        let Given { squash, squash_perms, .. } = self.given;
        if self.given.owner().is_some() {
            squash::owners(&mut layer.tree);
        }
        if squash || squash_perms {
            squash::permissions(&mut layer.tree);
        }
        *tree = Some(match tree.take() {
            Some(base) => overlay(&base, &layer)?,
            None => layer.tree,
        });
        Ok(())
    }
}

fn read_tar(path: &Path, owner: Option<(u16, u16)>) -> Result<Layer> {
    let is_stdin = path == Path::new("-");
    let shown = || if is_stdin { "standard input".into() } else { path.display().to_string() };
    let file = if is_stdin {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(path).with_context(shown)?
    };
    let host = file.metadata().with_context(shown)?;
    ensure!(!host.is_dir(), "{}: a directory, no archive: give it to --root", shown());
    let is_at_start = host.is_file() && (&file).stream_position().with_context(shown)? == 0;
    let file = if is_at_start { file } else { spool(file).with_context(shown)? };
    tar::read(file, owner).map_err(with_command).with_context(shown)
}

/// Keeps what comes through a pipe.
fn spool(pipe: File) -> Result<File> {
    let dir = std::env::temp_dir();
    tar::spool(pipe, &dir).with_context(|| format!("cannot be kept in {}", dir.display()))
}

/// What to do about a compressed archive.
fn with_command(error: TarError) -> anyhow::Error {
    match error {
        TarError::Archive(ArchiveError::Compressed { by, reader }) => {
            anyhow!("compressed by {by}: pipe it in, `{reader} FILE | jffs2-mkimage --tar - ...`")
        }
        other => other.into(),
    }
}

fn read_manifest(path: &Path, contents: Option<&Path>, verify: bool) -> Result<(Header, SourceTree)> {
    let shown = || path.display().to_string();
    let file = BufReader::new(File::open(path).with_context(shown)?);
    let Described { header, tree, unnamed } = manifest::read(file, contents, verify).with_context(shown)?;
    if let Some(first) = unnamed.first() {
        let more = unnamed.len() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        eprintln!("jffs2-mkimage: note: {first}{more}: not in the manifest, left out");
    }
    Ok((header, tree))
}

fn apply_table(tree: &mut SourceTree, path: &Path) -> Result<()> {
    let shown = || path.display().to_string();
    let file = BufReader::new(File::open(path).with_context(shown)?);
    devtable::apply(tree, file, OnNoParent::Refuse).with_context(shown)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sources: SourceArgs,
    }

    fn steps(args: &str) -> Vec<Step> {
        Cli::try_parse_from(["x"].into_iter().chain(args.split_whitespace())).unwrap().sources.steps
    }

    #[test]
    fn order_and_contents_of_manifests() {
        let dir = |path: &str| Step::Dir(path.into());
        let manifest = |path: &str, contents: Option<&str>| Step::Manifest(path.into(), contents.map(PathBuf::from));
        let table = |path: &str| Step::Table(path.into());
        assert_eq!(steps("-r a -D t -d b --devtable u"), [dir("a"), table("t"), dir("b"), table("u")]);
        assert_eq!(steps("--manifest m -r a -r b"), [manifest("m", Some("a")), dir("b")]);
        assert_eq!(steps("-r a -r b --manifest m"), [dir("a"), manifest("m", Some("b"))]);
        assert_eq!(
            steps("-r a -D t --manifest m -D u -r b"),
            [dir("a"), table("t"), manifest("m", None), table("u"), dir("b")]
        );
        assert_eq!(steps("--manifest m -r a --manifest n"), [manifest("m", Some("a")), manifest("n", None)]);
        assert!(Cli::try_parse_from(["x", "-q"]).is_err());
    }
}
