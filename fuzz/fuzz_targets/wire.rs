//! Node parsers and decoders on any bytes; what parses comes out again as the same fields.
#![no_main]

use jffs2_tx::codec::decode;
use jffs2_tx::wire::{Compression, Dirent, Endian, Header, Inode, Marker, Summary, Xattr, Xref};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for endian in [Endian::Little, Endian::Big] {
        let _ = (Header::parse(endian, data), Summary::parse(endian, data), Summary::locate(endian, data));
        let _ = (Xattr::parse(endian, data), Xref::parse(endian, data));
        let mut out = Vec::new();
        if let Ok(dirent) = Dirent::parse(endian, data) {
            if dirent.name.len() <= 254 {
                dirent.emit(endian, &mut out);
                assert_eq!(Dirent::parse(endian, &out), Ok(dirent));
            }
        }
        out.clear();
        if let Ok(marker) = Marker::parse(endian, data) {
            if marker.label.len() <= 64 {
                marker.emit(endian, &mut out);
                assert_eq!(Marker::parse(endian, &out), Ok(marker));
            }
        }
        if let Ok(inode) = Inode::parse(endian, data) {
            let _ = inode.data_is_good(data);
        }
    }
    if let [compression, low, high, stored @ ..] = data {
        let dsize = u32::from(*low) | u32::from(*high) << 8;
        let mut out = Vec::new();
        if decode(Compression::from_id(*compression), stored, dsize, &mut out).is_ok() {
            assert_eq!(out.len(), dsize as usize);
        }
    }
});
