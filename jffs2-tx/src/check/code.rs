//! What findings are called. Codes are part of the interface: they do not change.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Something was lost or left over; the tree can be read.
    Warning,
    /// A part of the tree cannot be read, or is not what was written last.
    Error,
}

/// What becomes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It stays as it is.
    Stays,
    /// A kernel that mounts the flash drops or repairs it by itself; nothing is lost.
    Repaired,
    /// What the finding names is lost.
    Lost,
    /// Something may be lost; what it was is not known.
    Unknown,
}

impl Fate {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Repaired => "repaired",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident, $fate:ident;)*) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* #[doc = concat!("`", $text, "`")] $name,)*
        }

        impl Code {
            /// The word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// How bad it usually is, and what usually becomes of it.
            #[must_use]
            pub fn usual(self) -> (Severity, Fate) {
                match self {
                    $(Self::$name => (Severity::$severity, Fate::$fate),)*
                }
            }
        }
    };
}

codes! {
    /// Fewer eraseblocks than Linux mounts.
    FewEraseblocks = "few-eraseblocks", Note, Stays;
    /// Fewer free eraseblocks than Linux wants before it lets anyone write.
    FewFree = "few-free-eraseblocks", Note, Stays;
    /// The image file ends inside an eraseblock; the rest reads as blank.
    ShortImage = "short-image", Note, Stays;
    /// An eraseblock is marked bad.
    BadEraseblock = "bad-eraseblock", Note, Stays;
    /// A node of an unknown type allows reading only.
    ReadOnlyNode = "read-only-node", Note, Stays;
    /// An eraseblock that no reader sees anything in is not blank.
    HiddenEraseblock = "hidden-eraseblock", Warning, Repaired;
    /// Only readers that believe summaries see an eraseblock's nodes.
    SummaryOnly = "summary-only", Note, Stays;
    /// A summary is damaged: readers look at the nodes themselves.
    BadSummary = "bad-summary", Note, Repaired;
    /// A good summary lists a node that is damaged or gone: Linux takes its word for it when it mounts.
    ListedNode = "listed-node-damaged", Error, Lost;
    /// An eraseblock has pages that ECC cannot correct.
    Uncorrectable = "uncorrectable", Warning, Unknown;
    /// A damaged node that is of no use any more, or of which nothing is lost.
    DamagedObsolete = "damaged-obsolete", Note, Repaired;
    /// A damaged node; what is lost with it is not known.
    DamagedNode = "damaged-node", Warning, Unknown;
    /// Bytes that are no node, where nodes should be.
    Garbage = "garbage", Warning, Unknown;
    /// More zeros than fill a page up: nodes may be gone.
    Zeros = "zeros", Warning, Unknown;
    /// Blank bytes between nodes: nodes may be gone.
    BlankGap = "blank-gap", Warning, Unknown;
    /// More places of damage in an eraseblock than are listed.
    MoreDamage = "more-damage", Warning, Unknown;
    /// Inodes that no name leads to.
    Orphans = "orphan-inodes", Note, Repaired;
    /// A directory with names in it that no name leads to: its name is lost, or the kernel has not cleaned up all of it.
    LostDirectory = "lost-directory", Note, Unknown;
    /// A range of a file is not what was written last: older bytes or zeros are read.
    LostData = "lost-data", Error, Lost;
    /// Data of a compressor that is not supported here.
    Unsupported = "unsupported-compressor", Warning, Stays;
    /// The newest node of an inode is damaged: mode, owner, times or size are older.
    LostMetadata = "lost-metadata", Error, Lost;
    /// A name is gone, or leads to what it led to before.
    LostName = "lost-name", Error, Lost;
    /// A name was deleted, or renamed, and shows again.
    LostDeletion = "lost-deletion", Error, Lost;
    /// A name leads to an inode that is not there: Linux drops it.
    DanglingName = "dangling-name", Warning, Lost;
    /// A name leads to an inode without a readable node.
    NoNode = "no-readable-node", Error, Lost;
    /// An inode is not of any type, or a special inode is not as Linux wants it.
    BadInode = "bad-inode", Error, Lost;
    /// A name that no path leads to.
    ImpossibleName = "impossible-name", Error, Stays;
    /// The type in a name differs from its inode's.
    TypeMismatch = "type-mismatch", Warning, Stays;
    /// A directory with two names.
    TwoNames = "directory-two-names", Error, Stays;
    /// A directory that is inside itself.
    Loop = "directory-loop", Error, Stays;
    /// A path that is too long to be followed.
    LongPath = "long-path", Warning, Stays;
    /// An extended attribute is gone, or cannot be shown.
    LostXattr = "lost-xattr", Error, Lost;
    /// A tie of an extended attribute to an inode, but no such attribute: Linux drops it.
    DanglingXattr = "dangling-xattr", Note, Unknown;
    /// Versions of an inode's nodes come near the end of their range.
    HighVersion = "high-version", Note, Stays;
}
