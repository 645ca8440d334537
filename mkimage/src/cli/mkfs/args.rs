//! The command line, read option by option in its order, as getopt_long does.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::anyhow;
use jffs2_mkimage::size::{parse_eraseblock, parse_size, parse_u32};
use jffs2_mkimage::source::host_xattrs::Which;
use jffs2_mkimage::{Options, Pad};
use jffs2_tx::wire::Endian;
use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

use super::compressors::Compressors;
use super::{Failure, HELP, note, size};
use crate::cli::getopt::{letter_of, once};

const VERSION: &str = concat!("mkfs.jffs2 (jffs2-mkimage) ", env!("CARGO_PKG_VERSION"), "\n");

/// mkfs.jffs2 writes all files anew, in dirents that an older one may overrule, and takes no name away.
const NOT_INCREMENTAL: &str = "build the whole image, or let jffs2-tx change the one that is on the flash";

/// Smallest eraseblock that mkfs.jffs2 makes, bytes.
const MIN_ERASEBLOCK: u32 = 8 << 10;

/// Long options and their letters; digits stand for those that have no short form.
const LONG: [(&str, char); 27] = [
    ("pad", 'p'),
    ("root", 'r'),
    ("pagesize", 's'),
    ("eraseblock", 'e'),
    ("cleanmarker", 'c'),
    ("compression-mode", 'm'),
    ("disable-compressor", 'x'),
    ("enable-compressor", 'X'),
    ("compressor-priority", 'y'),
    ("list-compressors", 'L'),
    ("test-compression", 't'),
    ("no-cleanmarkers", 'n'),
    ("output", 'o'),
    ("little-endian", 'l'),
    ("big-endian", 'b'),
    ("devtable", 'D'),
    ("faketime", 'f'),
    ("squash", 'q'),
    ("squash-uids", 'U'),
    ("squash-perms", 'P'),
    ("with-xattr", '1'),
    ("with-selinux", '2'),
    ("with-posix-acl", '3'),
    ("help", 'h'),
    ("verbose", 'v'),
    ("version", 'V'),
    ("incremental", 'i'),
];

/// What is to be done.
pub(super) enum Command {
    Print(&'static str),
    ListCompressors(Compressors),
    Build(Box<Args>),
}

pub(super) struct Args {
    pub(super) root: PathBuf,
    pub(super) devtable: Option<PathBuf>,
    pub(super) squash_owners: bool,
    pub(super) squash_permissions: bool,
    pub(super) fake_times: bool,
    pub(super) xattrs: Which,
    /// `-` is standard output.
    pub(super) output: PathBuf,
    pub(super) options: Options,
    /// Whether the image is read back.
    pub(super) test: bool,
    pub(super) verbose: bool,
}

pub(super) fn parse(parser: Parser) -> Result<Command, Failure> {
    Parsing::new(parser).run()
}

struct Parsing {
    parser: Parser,
    root: Option<PathBuf>,
    output: Option<PathBuf>,
    compressors: Compressors,
    args: Args,
}

impl Parsing {
    fn new(parser: Parser) -> Self {
        let endian = if cfg!(target_endian = "little") { Endian::Little } else { Endian::Big };
        let args = Args {
            root: ".".into(),
            devtable: None,
            squash_owners: false,
            squash_permissions: false,
            fake_times: false,
            xattrs: Which::default(),
            output: "-".into(),
            options: Options { endian, ..Options::default() },
            test: false,
            verbose: false,
        };
        Self { parser, root: None, output: None, compressors: Compressors::default(), args }
    }

    fn run(mut self) -> Result<Command, Failure> {
        while let Some(arg) = self.parser.next()? {
            let letter = match arg {
                Short(letter) if !letter.is_ascii_digit() => letter,
                Short(letter) => return Err(Short(letter).unexpected().into()),
                Long(name) => letter_of(&LONG, name)?,
                Value(value) => {
                    note(&format!("{} is not used: values stand behind their option's =", value.to_string_lossy()));
                    continue;
                }
            };
            match letter {
                'h' => return Ok(Command::Print(HELP)),
                'V' => return Ok(Command::Print(VERSION)),
                'L' => return Ok(Command::ListCompressors(self.compressors)),
                letter => self.option(letter)?,
            }
        }
        self.finish()
    }

    fn option(&mut self, letter: char) -> Result<(), Failure> {
        let Args { options, xattrs, .. } = &mut self.args;
        match letter {
            'r' | 'd' => once(&mut self.root, self.parser.value()?, "directory")?,
            'o' => once(&mut self.output, self.parser.value()?, "output")?,
            'D' => self.args.devtable = Some(self.parser.value()?.into()),
            'e' => self.eraseblock()?,
            's' => options.page_size = size::parse(&self.parser.value()?, parse_u32, "--pagesize")?,
            'c' => options.cleanmarker_size = size::parse(&self.parser.value()?, parse_u32, "--cleanmarker")?,
            'p' => self.pad()?,
            'n' => options.cleanmarkers = false,
            'l' => options.endian = Endian::Little,
            'b' => options.endian = Endian::Big,
            'm' => self.compressors.set_mode(&text(self.parser.value()?))?,
            'x' => self.compressors.enable(&text(self.parser.value()?), false)?,
            'X' => self.compressors.enable(&text(self.parser.value()?), true)?,
            'y' => self.compressors.rank(&text(self.parser.value()?))?,
            't' => self.args.test = true,
            'f' => self.args.fake_times = true,
            'q' => (self.args.squash_owners, self.args.squash_permissions) = (true, true),
            'U' => self.args.squash_owners = true,
            'P' => self.args.squash_permissions = true,
            'v' => self.args.verbose = true,
            'i' => return Err(anyhow!("--incremental {}: {NOT_INCREMENTAL}", text(self.parser.value()?)).into()),
            '1' => xattrs.all = true,
            '2' => xattrs.security = true,
            '3' => xattrs.acls = true,
            letter => return Err(Short(letter).unexpected().into()),
        }
        Ok(())
    }

    fn eraseblock(&mut self) -> Result<(), Failure> {
        let size = size::parse(&self.parser.value()?, parse_eraseblock, "--eraseblock")?;
        if size == 0 {
            return Err(anyhow!("--eraseblock 0: take the flash's own").into());
        }
        if size < MIN_ERASEBLOCK {
            note(&format!("eraseblocks of {size} bytes are too small: taking 8 KiB"));
        }
        self.args.options.eraseblock = size.max(MIN_ERASEBLOCK);
        Ok(())
    }

    fn pad(&mut self) -> Result<(), Failure> {
        self.args.options.pad = match self.parser.optional_value() {
            None => Pad::Eraseblock,
            Some(value) => match size::parse(&value, parse_size, "--pad")? {
                0 => Pad::None,
                size => Pad::AtLeast(size),
            },
        };
        Ok(())
    }

    fn finish(mut self) -> Result<Command, Failure> {
        if let Some(root) = self.root {
            self.args.root = root;
        }
        match self.output {
            // What mkfs.jffs2 makes a file of.
            Some(output) if output.as_os_str() == "-" => self.args.output = "./-".into(),
            Some(output) => self.args.output = output,
            None if io::stdout().is_terminal() => {
                return Err(anyhow!("standard output is a terminal: name an image with -o").into());
            }
            None => {}
        }
        self.args.options.compress = self.compressors.compress();
        Ok(Command::Build(Box::new(self.args)))
    }
}

fn text(value: OsString) -> String {
    value.to_string_lossy().into_owned()
}
