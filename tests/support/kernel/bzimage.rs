//! The kernel inside a `vmlinuz`: QEMU can start it right away, while unpacking itself under emulation takes it longer
//! than all the rest of the boot.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Error;
use super::debian::output;

/// How a packed kernel begins, the program that unpacks it, and the Debian package of the program.
const PACKERS: [(&[u8], &str, &str); 2] = [(b"\xfd7zXZ\0", "xz", "xz-utils"), (b"\x28\xb5\x2f\xfd", "zstd", "zstd")];

/// Writes the kernel to boot: unpacked if it is packed as Debian's are, else the image as it is.
pub(super) fn write_kernel(image: &Path, work: &Path, kernel: &Path) -> Result<(), Error> {
    let bytes = fs::read(image).map_err(Error::file(image))?;
    let content = match payload(&bytes).and_then(packer) {
        Some((packed, program, package)) => {
            let file = work.join("payload");
            fs::write(&file, packed).map_err(Error::file(&file))?;
            output(Command::new(program).arg("-dc").arg(&file), program, package)?
        }
        None => bytes,
    };
    fs::write(kernel, content).map_err(Error::file(kernel))
}

fn packer(payload: &[u8]) -> Option<(&[u8], &'static str, &'static str)> {
    // Behind the packed kernel is its unpacked length.
    let packed = payload.get(..payload.len().checked_sub(4)?)?;
    let (_, program, package) = PACKERS.into_iter().find(|(magic, ..)| packed.starts_with(magic))?;
    Some((packed, program, package))
}

/// The packed kernel, found by the fields of the boot protocol's setup header (version 2.08 and later).
fn payload(image: &[u8]) -> Option<&[u8]> {
    const SECTOR: usize = 512;
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    (image.get(0x202..0x206)? == b"HdrS").then_some(())?;
    let setup_sectors = match *image.get(0x1f1)? {
        0 => 4,
        count => usize::from(count),
    };
    let start = (setup_sectors + 1) * SECTOR + word(0x248)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}
