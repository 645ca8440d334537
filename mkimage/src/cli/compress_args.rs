//! How file data is compressed, and by how many threads.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use jffs2_mkimage::{Compress, Method};

/// Options of the command line.
#[derive(Args)]
pub(crate) struct CompressArgs {
    /// How file data is compressed
    #[arg(long = "compress", value_name = "HOW", value_enum, default_value_t = How::Default)]
    how: How,

    /// Threads that compress; the image is the same for any number [default: as many as there are CPUs]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum How {
    /// Quickest that is no larger than mkfs.jffs2's
    Fast,
    /// Smaller and quicker than mkfs.jffs2
    Default,
    /// Smallest that every reader knows: zlib and rtime
    Best,
    /// Not at all
    None,
    /// zlib alone, as `default` does it
    Zlib,
    /// LZO: quick to read; Linux and U-Boot have to be built with it, Open Firmware aborts on it
    Lzo,
    /// rtime: weak, the quickest of all to write
    Rtime,
    /// LZMA: OpenWrt's Linux only
    Lzma,
}

impl CompressArgs {
    pub(crate) fn compress(&self) -> Compress {
        match self.how {
            How::Fast => Compress::fast(),
            How::Default | How::Zlib => Compress::default(),
            How::Best => Compress::best(),
            How::None => Compress::none(),
            How::Lzo => Compress::only(Method::Lzo),
            How::Rtime => Compress::only(Method::Rtime),
            How::Lzma => Compress::only(Method::Lzma),
        }
    }

    pub(crate) fn threads(&self) -> Option<NonZeroUsize> {
        self.threads
    }
}
