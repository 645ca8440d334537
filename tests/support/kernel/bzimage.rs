//! The kernel inside a `vmlinuz`: QEMU can start it right away, while unpacking itself under emulation takes it longer
//! than all the rest of the boot.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Error;
use super::debian::output;

const XZ: &[u8] = b"\xfd7zXZ\0";

/// Writes the kernel to boot: unpacked if it is packed by xz, as Debian's are, else the image as it is.
pub(super) fn write_kernel(image: &Path, work: &Path, kernel: &Path) -> Result<(), Error> {
    let bytes = fs::read(image).map_err(Error::file(image))?;
    let content = match payload(&bytes) {
        Some(packed) if packed.starts_with(XZ) => unpack(packed, &work.join("payload.xz"))?,
        _ => bytes,
    };
    fs::write(kernel, content).map_err(Error::file(kernel))
}

/// The packed kernel, found by the fields of the boot protocol's setup header (version 2.08 and later).
fn payload(image: &[u8]) -> Option<&[u8]> {
    const SECTOR: usize = 512;
    let word =
        |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    (image.get(0x202..0x206)? == b"HdrS").then_some(())?;
    let setup_sectors = match *image.get(0x1f1)? {
        0 => 4,
        count => usize::from(count),
    };
    let start = (setup_sectors + 1) * SECTOR + word(0x248)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}

fn unpack(packed: &[u8], file: &Path) -> Result<Vec<u8>, Error> {
    fs::write(file, packed).map_err(Error::file(file))?;
    // Behind the stream the image has its unpacked size, which xz must not take for a second stream.
    output(
        Command::new("xz")
            .args(["-dc", "--single-stream"])
            .arg(file),
        "xz",
        "xz-utils",
    )
}
